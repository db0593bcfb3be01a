"""
The demo stack as plain processes: exporter, Prometheus with our rules, Alertmanager. Ctrl-C stops all.

    python tests/stack.py [PORT_OF_EXPORTER PORT_OF_PROMETHEUS PORT_OF_ALERTMANAGER]
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tools import ROOT, Process, running, tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILES = ROOT / "docs/stack"
PORTS = ("10262", "9090", "9093")
STOPPING = {signal.SIGINT, signal.SIGTERM}

Alerts = dict[str, tuple[str, str]]
"""By what tells an alert from the others: its state, and its description."""


def prometheus(data: Path, config: Path, address: str) -> list[str | Path]:
    """Return the command that runs Prometheus as the compose file does."""
    return [
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]


def alertmanager(data: Path, config: Path, address: str) -> list[str | Path]:
    """Return the command that runs Alertmanager as the compose file does."""
    return [
        tool("alertmanager"),
        f"--config.file={config}",
        f"--storage.path={data}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]


def alerts(url: str) -> Alerts:
    """Return the alerts that are pending or firing in a Prometheus."""
    with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=5) as answer:
        shown: list[dict[str, Any]] = json.load(answer)["data"]["alerts"]
    return {
        " ".join([alert["labels"].pop("alertname"), *(f"{name}={value}" for name, value in alert["labels"].items())]): (
            alert["state"],
            alert["annotations"]["description"],
        )
        for alert in shown
    }


def changes(before: Alerts, now: Alerts) -> Iterator[str]:
    """Yield a line for each alert that began to wait, fired, or ended."""
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, ("", ""))[0], now.get(name, ("", ""))[0]
        if old != new:
            told = f": {now[name][1]}" if new == "firing" else ""
            over = "RESOLVED" if old == "firing" else "OVER"
            yield f"{new.upper() or over:8} {name}{told}"


def watch(url: str, processes: Iterable[Process]) -> int:
    """Print what becomes of alerts until told to stop; return 1 when a process ended on its own."""
    seen: Alerts = {}
    while signal.sigtimedwait(STOPPING, 2.0) is None:
        for process in processes:
            if process.popen.poll() is not None:
                sys.stderr.write(f"{process.log.stem} ended:\n{process.text()[-2000:]}")
                return 1
        try:
            now = alerts(url)
        except OSError:
            continue  # not up yet
        for line in changes(seen, now):
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        sys.stdout.flush()
        seen = now
    return 0


def scraping(folder: Path, ports: tuple[str, ...]) -> Path:
    """Return the configuration of Prometheus: the committed file, or with other ports a copy."""
    file = FILES / "prometheus.yaml"
    if ports == PORTS:
        return file
    text = file.read_text().replace("../..", str(ROOT))
    for usual, port in zip(PORTS, ports, strict=True):
        text = text.replace(f'"localhost:{usual}"', f'"localhost:{port}"')
    (folder / "prometheus.yaml").write_text(text)
    return folder / "prometheus.yaml"


def main(ports: tuple[str, ...]) -> int:
    """Run the stack until interrupted."""
    shown, asked, sent = (f"127.0.0.1:{port}" for port in ports)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder)
        commands = {
            "exporter": [sys.executable, "-m", "exporter", "serve", "--demo", f"--web.listen-address={shown}"],
            "prometheus": prometheus(data / "prometheus", scraping(data, ports), asked),
            "alertmanager": alertmanager(data / "alertmanager", FILES / "alertmanager.yaml", sent),
        }
        started = [stack.enter_context(running(command, data / f"{name}.log")) for name, command in commands.items()]
        # From here on they are waited for; blocked any sooner, the processes would inherit it and not stop.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        played = started[0].find(r"COC API, played: +(\S+)")[1]
        sys.stdout.write(
            f"make it misbehave:  {played}   (docs/alerts.md tells which switch fires which alert)\n"
            f"tickets:            http://{shown}/\n"
            f"prometheus:         http://{asked}/api/v1/alerts\n"
            f"alertmanager:       http://{sent}/api/v2/alerts\n"
            f"logs:               {data}\n"
            "Ctrl-C stops all. Alerts, as they change:\n"
        )
        sys.stdout.flush()
        return watch(f"http://{asked}", started)


if __name__ == "__main__":
    try:
        sys.exit(main(tuple(sys.argv[1:]) or PORTS))
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        sys.exit(f"make stack: {missing}")
