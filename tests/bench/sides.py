"""
The sides of a comparison: a process each, told in turn to do the same piece of work, measuring itself.

A side is a generator function named ``module:function``. It is given keyword arguments, makes ready up to its first
``yield``, then does the work once for every ``next`` and yields a dict of what it measured.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent

Figures = dict[str, Any]

_FEWEST = 3


def environment() -> dict[str, str]:
    """Return the environment of every process of a benchmark: loopback only, our modules found."""
    quiet = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return quiet | {"PYTHONPATH": f"{TESTS}{os.pathsep}{ROOT}", "NO_PROXY": "*"}


class Side:
    """A process that does its work when told to."""

    def __init__(self, function: str, **arguments: Any) -> None:
        command = [sys.executable, "-m", "bench.sides", function, json.dumps(arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=TESTS
        )
        self.ready = self._answer()

    def work(self) -> Figures:
        """Let it do its work once; return what it measured."""
        self.begin()
        return self.ended()

    def begin(self) -> None:
        """Let it do its work once, beside others."""
        self._process.stdin.write("work\n")
        self._process.stdin.flush()

    def ended(self) -> Figures:
        """Wait for the end of the work; return what was measured."""
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> Figures:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a side ended with {self._process.wait()}: its message stands above")
        return json.loads(line)


@contextmanager
def sides(**functions: tuple[str, Mapping[str, Any]]) -> Iterator[dict[str, Side]]:
    """Yield the named sides, started; end them all."""
    with ExitStack() as stack:
        started = {}
        for name, (function, arguments) in functions.items():
            started[name] = Side(function, **arguments)
            stack.callback(started[name].close)
        yield started


@dataclass(frozen=True)
class Program:
    """A running program of ours that serves."""

    url: str
    pid: int


@contextmanager
def play(*command: str) -> Iterator[Program]:
    """Run a module of ours that prints its URL first."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, env=environment(), cwd=TESTS
    )
    try:
        yield Program(process.stdout.readline().strip(), process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def program(*command: str) -> Iterator[str]:
    """Run a module of ours that prints its URL first; yield the URL."""
    with play(*command) as running:
        yield running.url


def rounds(started: Mapping[str, Side], times: int, within: float = inf) -> list[dict[str, Figures]]:
    """Let every side work once a round, in an order that changes; end early when ``within`` seconds are over."""
    names = list(started)
    told: list[dict[str, Figures]] = []
    until = time.monotonic() + within
    for turn in range(times):
        if len(told) >= _FEWEST and time.monotonic() > until:
            break
        order = names[turn % len(names) :] + names[: turn % len(names)]
        told.append({name: started[name].work() for name in order})
    return told


def ratio(told: list[dict[str, Figures]], ours: str, theirs: str, figure: str) -> float:
    """Return the median over the rounds of one side's figure over another's."""
    return median(each[ours][figure] / each[theirs][figure] for each in told)


def typical(told: list[dict[str, Figures]], name: str, figure: str) -> float:
    """Return the median of a side's figure."""
    return median(each[name][figure] for each in told)


def cpu() -> float:
    """Return the CPU seconds of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def measured(into: Figures) -> Iterator[None]:
    """Write ``cpu`` and ``wall`` seconds of the block into a dict."""
    gc.collect()
    began, used = time.perf_counter(), cpu()
    yield
    into["cpu"], into["wall"] = cpu() - used, time.perf_counter() - began


def resident() -> int:
    """Return the bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Be a side: work for each line on stdin."""
    module, _, function = sys.argv[1].partition(":")
    # What a side prints by accident must not be taken for figures.
    told, sys.stdout = sys.stdout, sys.stderr
    work = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))
    for line in _and_one_before(sys.stdin):
        if line is not None and line != "work\n":
            break
        told.write(json.dumps(next(work)) + "\n")
        told.flush()
    work.close()


def _and_one_before(lines: Any) -> Iterator[str | None]:
    yield None
    yield from lines


if __name__ == "__main__":
    main()
