"""Believable script output (``message``) for runs that went well and runs that did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

TIMEOUT = (
    "[INFO] still working, {seconds} s elapsed",
    "execute script timeout: the script did not end within {seconds} s and was killed (signal 9)",
)

FAILURES: tuple[tuple[str, ...], ...] = (
    (
        "Reading package lists...",
        "E: You don't have enough free space in /var/cache/apt/archives/.",
        "write error: /var/log/{script}.log: No space left on device",
        "exit status 1",
    ),
    ("/root/{script}.sh: line 14: /etc/{script}.conf: Permission denied", "exit status 126"),
    ("Reading package lists...", "E: Unable to locate package lib{script}-compat", "exit status 100"),
    ("/root/{script}.sh: line 9: jq: command not found", "exit status 127"),
    (
        "[{elapsed}] Out of memory: Killed process {pid} ({script}) total-vm:2097152kB, anon-rss:1843200kB",
        "/root/{script}.sh: line 31: {pid} Killed",
        "exit status 137",
    ),
    (
        "curl: (7) Failed to connect to mirrors.example.com port 443: Network is unreachable",
        "exit status 7",
    ),
    (
        "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process {pid} (unattended-upgr)",
        "E: Unable to acquire the dpkg frontend lock, is another process using it?",
        "exit status 100",
    ),
    ("Another app is currently holding the yum lock; waiting for it to exit...", "exit status 1"),
    ("[ERROR] check {pid} of {script} failed on {host}", "script exited with a non-zero exit code: 3"),
)
"""Disk full, permissions, package, command, memory, network, dpkg lock, yum lock, exit code."""

_SUCCESS = (
    "[INFO] {script} begins on {host}",
    "[INFO] step {step}/3 done",
    "0 upgraded, {step} newly installed, 0 to remove and 0 not upgraded.",
    "[INFO] configuration unchanged",
    "[INFO] service restarted, pid {pid}",
)


def message(throw: Random, outcome: str, *, script: str, host: str, seconds: float, timeout: float) -> str:
    """Return what the script printed in a run of ``seconds`` that ended as ``outcome``."""
    known = {"script": script, "host": host, "pid": throw.randint(300, 32_000), "step": throw.randint(1, 3)}
    lines = [line.format(**known) for line in throw.sample(_SUCCESS, throw.randint(1, len(_SUCCESS)))]
    if outcome == "ABNORMAL" and seconds >= timeout:
        lines += [line.format(**known, seconds=round(timeout)) for line in TIMEOUT]
    elif outcome == "ABNORMAL":
        lines += [line.format(**known, elapsed=f"{seconds:.6f}") for line in throw.choice(FAILURES)]
    else:
        lines.append(_LAST_WORD[outcome])
    return "\n".join(lines) + "\n"


_LAST_WORD = {
    "FINISHED": "done",
    "CANCELED": "script was cancelled by the operator (signal 15)",
    "ROLLBACKED": "[WARN] verification failed, changes rolled back",
}
