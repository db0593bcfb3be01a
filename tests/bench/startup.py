"""From the start of the process to an answer: ``--version``, and the first accepted connection of ``serve``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.report import Row, Section
from bench.sides import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.scale import Scale

_LISTENING = 0.5
_VERSION = 0.15
_CONFIG = """
accounts:
  - {name: bench, endpoint: "http://127.0.0.1:9", auth: {token: {token: t}}, tickets: [{execute_uuid: SCT1}]}
"""
_SDK = "import huaweicloudsdkcoc.v1, huaweicloudsdkcore.auth.credentials, prometheus_client"


def run(scale: Scale) -> Section:
    """Measure each many times, in turn; the fastest is what the machine can do, the median what a user sees."""
    section = Section("Start-up")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(_CONFIG)
        ours = [sys.executable, "-m", "exporter"]
        kinds = {
            "an empty Python program": lambda: _ended([sys.executable, "-c", ""]),
            "--version": lambda: _ended([*ours, "--version"]),
            "start to listening": lambda: _listening(
                [*ours, "serve", f"--config.file={config}", "--web.listen-address=127.0.0.1:0"]
            ),
            "the imports of an SDK script": lambda: _ended([sys.executable, "-c", _SDK]),
        }
        told: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(3 if scale.quick else 15):
            for name, measure in kinds.items():
                told[name].append(measure())
    goals = {"--version": _VERSION, "start to listening": _LISTENING}
    for name, spent in told.items():
        section.rows.append(Row(name, median(spent), "s", goals.get(name), note=f"fastest {min(spent):.3f} s"))
    section.raw = told
    return section


def _ended(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
    return time.perf_counter() - began


def _listening(command: Sequence[str]) -> float:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    try:
        for line in process.stdout:
            if "Listening on" in line:
                return time.perf_counter() - began
        raise RuntimeError("serve ended before it listened")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
