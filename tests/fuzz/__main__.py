"""
``python tests/fuzz [seconds]``: fuzz each target with atheris so long, and end in a table.

``python tests/fuzz TARGET [flags of libFuzzer]`` fuzzes one. What is found is kept below ``build/fuzz``; a case that
broke something belongs into ``corpus``, where every run of the tests meets it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import atheris

TARGETS = ("api_answer", "config_text", "accept", "web_config", "failure_pattern")
FOUND = Path("build/fuzz")
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED = re.compile(r"cov: (\d+)")


def main() -> int:
    """Return 1 when something broke."""
    if len(sys.argv) > 1 and sys.argv[1] in TARGETS:
        _fuzz(sys.argv.pop(1))
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    if not seconds.isdecimal():
        sys.exit(f"usage: python tests/fuzz [SECONDS | {{{','.join(TARGETS)}}} [flags of libFuzzer]]")
    sys.stdout.write(f"{'target':<18}{'runs':>10}{'seconds':>9}{'branches':>10}{'broken':>8}\n")
    return max(_tried(name, seconds) for name in TARGETS)


def _fuzz(name: str) -> None:
    with atheris.instrument_imports(include=["exporter"]):
        from fuzz import targets  # noqa: PLC0415  instrumented as it is imported, and only where it is fuzzed
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    flags = [f"-artifact_prefix={found}/broken-", "-timeout=20", "-rss_limit_mb=1024"]
    atheris.Setup([*sys.argv, *flags, str(found), str(targets.CORPUS / name)], targets.TARGETS[name])
    atheris.Fuzz()


def _tried(name: str, seconds: str) -> int:
    command = [sys.executable, __file__, name, f"-max_total_time={seconds}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    told = _DONE.search(done.stderr)
    runs, spent = (int(told[1]), told[2]) if told else (0, "?")
    covered = _COVERED.findall(done.stderr)
    broken = int(done.returncode != 0)
    sys.stdout.write(f"{name:<18}{runs:>10,}{spent:>9}{(covered or ['?'])[-1]:>10}{broken:>8}\n")
    if broken:
        sys.stdout.write(done.stderr[-3000:] + "\n")
    return broken


if __name__ == "__main__":
    sys.exit(main())
