"""
Start a program in a folder as a strict cluster would: ``contain.py ROOT USER WORKDIR PROGRAM [ARGUMENT ...]``.

The folder is its root and read-only; it has no capability, cannot get one, and is nobody but USER. It must be started
in a mount namespace of its own (``unshare --mount``): what is mounted here goes when the program ends.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


def mount(*arguments: str | Path) -> None:
    """Run mount(8)."""
    subprocess.run(["/bin/mount", *arguments], check=True)


def prctl(option: int, argument: int) -> None:
    """Call prctl(2)."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option} {argument}")


def main(root: Path, user: int, workdir: str, program: list[str]) -> None:
    """Give up everything and become the program."""
    mount("--bind", root, root)
    mount("--rbind", "/dev", root / "dev")
    mount("-t", "proc", "proc", root / "proc")
    mount("-o", "remount,bind,ro", root)
    highest = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    os.chroot(root)
    os.chdir(workdir)
    os.setgroups([])
    os.setgid(user)
    for capability in range(highest + 1):
        prctl(PR_CAPBSET_DROP, capability)
    os.setuid(user)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.execvp(program[0], program)  # noqa: S606  a shell is what the image does not have


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
