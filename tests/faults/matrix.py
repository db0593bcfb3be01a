"""
Every fault at every endpoint, at the first read and at a later one: what came of it, and what should have.

A case is a poll with the fault, one after ``stale_after``, and one when all is mended.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import ssl
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import aiohttp  # noqa: F401  the exporter loads it with its first request, whose time is short here
import httpx

from faults.answers import ANSWERS
from faults.scene import BESIDE, CALM, ENDPOINTS, SIGN_INS, VICTIM, Case, Scene
from faults.server import SHUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.readings import Exposition

PHASES = ("first read", "later poll")
MEMORY = 192 * 1024 * 1024
"""Bytes by which a fault may swell the process: two pages of 64 MiB side by side, and the faulty server's own."""


@dataclass
class Outcome:
    """What came of a case; each list holds sentences, and none of them should."""

    case: Case
    injected: int = 0
    seconds: float = 0.0
    swollen: int = 0
    died: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @property
    def troubles(self) -> list[str]:
        return [*self.died, *self.lost, *self.lies, *self.leaks]


def every_case() -> Iterator[Case]:
    yield from (Case(*each) for each in product((*ANSWERS, *SHUT), ENDPOINTS, PHASES))


def some_cases() -> Iterator[Case]:
    """Yield every fault at one endpoint of a ticket and at one of the account, each endpoint and phase in turn."""
    ours, accounts = ENDPOINTS[:4], ENDPOINTS[4:]
    for number, fault in enumerate((*ANSWERS, *SHUT)):
        yield Case(fault, ours[number % 4], PHASES[number // 4 % 2])
        yield Case(fault, accounts[number % 4], PHASES[(number // 4 + 1) % 2])


async def tried(case: Case, folder: Path) -> Outcome:
    """Play one case from beginning to end."""
    outcome = Outcome(case)
    gc.collect()
    before = descriptors()
    _forget_peak()
    began_at = _peak()
    with hurried(case):
        scene = Scene(case, folder)
    try:
        with ExitStack() as stack:
            await _play(scene, outcome, stack)
        if scene.door.trapped:
            outcome.lies.append("a redirect was followed")
        outcome.injected = scene.door.injected
        if not outcome.injected:
            outcome.died.append("the fault was never met")
    except Exception as error:  # noqa: BLE001  the table tells of it
        outcome.died.append(f"the poll raised {error!r}")
    finally:
        await scene.close()
    outcome.swollen = _peak() - began_at
    if outcome.swollen > MEMORY:
        outcome.leaks.append(f"swelled by {outcome.swollen >> 20} MiB")
    gc.collect()
    if descriptors() > before:
        outcome.leaks.append(f"{descriptors() - before} descriptors are left")
    return outcome


@contextmanager
def hurried(case: Case) -> Iterator[None]:
    """Make an exporter without what only costs time here."""
    with ExitStack() as stack:
        # The true one is of seconds, and cannot be configured.
        stack.enter_context(patch.object(sys.modules["exporter.api.connect"], "_METADATA_TIMEOUT", case.timeout / 1000))
        if not case.fault.startswith("TLS"):
            # Reading a hundred authorities takes longer than the case itself.
            stack.enter_context(patch.object(httpx, "create_ssl_context", _any_context))
        yield


@cache
def _any_context(**_options: object) -> ssl.SSLContext:
    return ssl.create_default_context()


async def _play(scene: Scene, outcome: Outcome, stack: ExitStack) -> None:
    case = scene.case
    known: dict[str, dict[tuple[str, str], float]] = {}
    if case.phase == "later poll":
        await scene.poll()
        known = scene.truths()
        scene.go_on()
    tasks = len(asyncio.all_tasks())
    scene.break_it(stack)
    await _noticed()
    began = time.monotonic()
    seen = await scene.poll()
    outcome.seconds = time.monotonic() - began
    _judge_broken(scene, outcome, seen, known)
    if case.reasons and known:
        await _outlast(scene, outcome)
    stack.close()
    scene.door.mend()
    scene.go_on()
    seen = await scene.poll()
    _judge_mended(scene, outcome, seen)
    scene.door.hang_up_idle()
    if len(asyncio.all_tasks()) > tasks:
        outcome.leaks.append(f"{len(asyncio.all_tasks()) - tasks} tasks are left")


async def _noticed() -> None:
    """Let the loop see which idle connections were closed: else a request on one of them meets that, not the fault."""
    for _ in range(10):
        await asyncio.sleep(0)


def _judge_broken(scene: Scene, outcome: Outcome, seen: Exposition, known: dict) -> None:
    case, now = scene.case, scene.truths()
    if outcome.seconds > case.longest:
        outcome.died.append(f"the poll took {outcome.seconds:.1f} s")
    _compare(outcome, seen, CALM, now[CALM], 1.0)
    if not case.reasons:
        _compare(outcome, seen, VICTIM, now[VICTIM], 1.0)
        return
    if not scene.faults() & case.reasons or scene.faults() - case.reasons - {"paused"}:
        outcome.lies.append(f"the reason given is {scene.faults()}, not one of {set(case.reasons)}")
    signed_in = case.endpoint not in SIGN_INS
    if not scene.alone:
        _compare(outcome, seen, BESIDE, now[BESIDE] if signed_in else known.get(BESIDE), float(signed_in))
    if scene.discovers and not scene.alone:
        _compare(outcome, seen, VICTIM, now[VICTIM] if known else None, 1.0 if known else None)
    elif scene.discovers:
        _compare(outcome, seen, VICTIM, known.get(VICTIM), 0.0 if known else None)
    else:
        _compare(outcome, seen, VICTIM, known.get(VICTIM), 0.0)
    failures = sum(seen.of("coc_exporter_poll_failures_total").values())
    if not failures:
        outcome.lies.append("no failure was counted")


async def _outlast(scene: Scene, outcome: Outcome) -> None:
    """Poll again when the last good data is too old."""
    scene.clock.advance(scene.case.step * 10)
    if scene.discovers and not scene.alone:
        return
    seen = await scene.poll()
    _compare(outcome, seen, VICTIM, None, 0.0)
    _compare(outcome, seen, CALM, scene.truths()[CALM], 1.0)


def _judge_mended(scene: Scene, outcome: Outcome, seen: Exposition) -> None:
    for uuid, counts in scene.truths().items():
        if uuid != BESIDE or not scene.alone:
            _compare(outcome, seen, uuid, counts, 1.0)
    if seen.value("coc_up", account="prod") != 1.0:
        outcome.lost.append(f"coc_up is not 1 when all is mended: {scene.faults()}")
    if seen.samples.get(("coc_exporter_poll_failures_total", frozenset({("reason", "internal")}))):
        outcome.died.append("a fault of the exporter itself was counted")


def _compare(outcome: Outcome, seen: Exposition, uuid: str, counts: dict | None, up: float | None) -> None:
    """Note where the exposition says other than it should of one ticket."""
    told = seen.counts(uuid)
    if told != counts:
        kind = outcome.lost if told is None else outcome.lies
        kind.append(f"{uuid} shows {told}, not {counts}")
    if seen.up(uuid) != up:
        kind = outcome.lost if seen.up(uuid) == 0 else outcome.lies
        kind.append(f"{uuid}: coc_ticket_up is {seen.up(uuid)}, not {up}")


def descriptors() -> int:
    """Return how many files, sockets and pipes the process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names alone are wanted


def _peak() -> int:
    """Return the largest memory in use since it was last forgotten, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def table(outcomes: list[Outcome]) -> str:
    """Return the last word: what was done, and what came of it."""
    totals = {
        "cases": len(outcomes),
        "faults injected": sum(outcome.injected for outcome in outcomes),
        "cases survived": sum(not outcome.died for outcome in outcomes),
        "data lost": sum(len(outcome.lost) for outcome in outcomes),
        "lies told": sum(len(outcome.lies) for outcome in outcomes),
        "leaks": sum(len(outcome.leaks) for outcome in outcomes),
        "longest poll, s": round(max(outcome.seconds for outcome in outcomes), 2),
        "most memory, MiB": max(outcome.swollen for outcome in outcomes) >> 20,
    }
    width = max(map(len, totals))
    return "".join(f"{name:<{width}}  {value}\n" for name, value in totals.items())
