"""The real programs that tests run, and real processes of ours."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
"""Seconds after which a program that should have done something is taken to have failed."""


def missing(reason: str) -> NoReturn:
    """Skip the test by name; where everything must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI=true: nothing may be missing)")
    pytest.skip(reason)


@cache
def _built(name: str) -> Path | str:
    """Return a program built from its pinned module, or why there is none."""
    if shutil.which("go") is None:
        return f"{name} needs a Go toolchain to be built"
    done = subprocess.run(["/bin/sh", str(ROOT / ".ci/tools/build"), name], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{name} could not be built: {done.stderr.strip().splitlines()[-1]}"
    return Path(done.stdout.strip()) / name


def tool(name: str) -> Path:
    """Return the path of a program; skip the test where it cannot be had."""
    found = _built(name)
    return found if isinstance(found, Path) else missing(found)


def debian(name: str) -> Path:
    """Return the path of a program of Debian's packages; skip the test where it is not installed."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return Path(found) if found else missing(f"{name} is not installed")


def free_port() -> int:
    """Return a port that was free a moment ago, for programs that cannot report the one they took."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(condition, what: str, patience: float = PATIENCE):
    """Return the first true value of ``condition()``; fail after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        # Nothing can be awaited here: another process decides.
        select.select([], [], [], 0.05)
    pytest.fail(f"{what}: not within {patience:.0f} s")


class Process:
    """A program of ours or another's, with its log at hand."""

    def __init__(self, arguments: Sequence[str | Path], log: Path, **extra) -> None:
        self.log = log
        self._file = log.open("wb")
        self.popen = subprocess.Popen(
            [str(argument) for argument in arguments], stdout=self._file, stderr=subprocess.STDOUT, **extra
        )

    def text(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text(errors="replace")

    def find(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Return the first match in its log, waited for."""

        def look():
            found = re.search(pattern, self.text())
            if found is None and self.popen.poll() is not None:
                pytest.fail(f"ended with {self.popen.returncode} before {pattern!r}:\n{self.text()}")
            return found

        return until(look, f"{pattern!r} in {self.log.name}", patience)

    def stop(self, patience: float = 15.0) -> int:
        """Ask it to end, and return its exit code."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise
        finally:
            self._file.close()


@contextmanager
def running(arguments: Sequence[str | Path], log: Path, **extra) -> Iterator[Process]:
    """Run a program for as long as the block lasts."""
    process = Process(arguments, log, **extra)
    try:
        yield process
    finally:
        process.stop()


def exporter(*arguments: str | Path) -> list[str | Path]:
    """Return the command that runs our exporter."""
    return [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "exporter", *arguments]


def listening(process: Process) -> str:
    """Return the URL that an exporter's log says it listens on."""
    address = process.find(r'msg="Listening on" address=(\S+)')[1]
    return f"http://{address}"


@contextmanager
def prometheus(folder: Path, config: str, *flags: str):
    """Run Prometheus with a configuration, its data in ``folder``; yield a function that asks it."""
    file = folder / "prometheus.yaml"
    file.write_text(config)
    address = f"127.0.0.1:{free_port()}"
    data = f"--storage.tsdb.path={folder / 'data'}"
    command = [tool("prometheus"), f"--config.file={file}", data, f"--web.listen-address={address}", *flags]
    with running(command, folder / "prometheus.log"):
        yield Asking(f"http://{address}")


class Asking:
    """Ask a Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str):
        """Return the data of an answer; empty while nothing answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}") as answer:
                return json.load(answer)["data"]
        except OSError:
            return {}

    def __call__(self, query: str) -> dict[frozenset, float]:
        """Return ``{labels: value}`` of an instant query."""
        rows = self.get("query", query=query).get("result", [])
        return {frozenset(row["metric"].items()): float(row["value"][1]) for row in rows}
