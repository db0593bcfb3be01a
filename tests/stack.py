"""The demo stack as plain processes: exporter, Prometheus with our rules, Alertmanager. Ctrl-C stops all."""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tools import ROOT, exporter, running, tool

FILES = ROOT / "docs/stack"
PROMETHEUS, ALERTMANAGER, EXPORTER = "127.0.0.1:9090", "127.0.0.1:9093", "127.0.0.1:10262"


def prometheus(data: Path, config: Path = FILES / "prometheus.yaml", address: str = PROMETHEUS) -> list[str | Path]:
    """Return the command that runs Prometheus as the compose file does."""
    return [
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]


def alertmanager(
    data: Path, config: Path = FILES / "alertmanager.yaml", address: str = ALERTMANAGER
) -> list[str | Path]:
    """Return the command that runs Alertmanager as the compose file does."""
    return [
        tool("alertmanager"),
        f"--config.file={config}",
        f"--storage.path={data}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]


def main() -> None:
    """Run the stack until interrupted."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder)
        flags = ("serve", "--demo", f"--web.listen-address={EXPORTER}")
        commands = {
            "exporter": exporter(*flags),
            "prometheus": prometheus(data / "prometheus"),
            "alertmanager": alertmanager(data / "alertmanager"),
        }
        for name, command in commands.items():
            stack.enter_context(running(command, data / f"{name}.log"))
        process = (data / "exporter.log").read_text
        sys.stdout.write(
            f"tickets:       http://{EXPORTER}/\n"
            f"alerts:        http://{PROMETHEUS}/api/v1/alerts\n"
            f"alertmanager:  http://{ALERTMANAGER}/api/v2/alerts\n"
            f"logs:          {data}   (the simulated API's address is in exporter.log)\n"
            f"Ctrl-C stops all.\n{process()}"
        )
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    # Taken by sigwait, so that they do not interrupt.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
