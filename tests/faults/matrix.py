"""
Every fault at every endpoint, at the first read and at a later one: what came of it, and what should have.

The world has three tickets: ``SCT-victim`` meets the fault, ``SCT-beside`` is of the same account, ``SCT-calm`` of
another one. A case is a poll with the fault, one after ``stale_after``, and one when all is mended.
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

import httpx
from conftest import FakeClock
from faults.certificates import authority
from faults.readings import shown, truth
from faults.server import ANSWERS, SHUT, Door, Played, unresolvable

from exporter import config, simulator
from exporter.cli.wiring import Exporter
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.readings import Exposition

ENDPOINTS = (
    "statistics",
    "ticket",
    "batches",
    "batch_page",
    "list_tickets",
    "iam_token",
    "metadata_token",
    "metadata_key",
)
PHASES = ("first read", "later poll")
_BEFORE = {"ticket": "statistics", "batches": "ticket", "batch_page": "batches", "metadata_key": "metadata_token"}
_SIGN_INS = {"iam_token": 86_401.0, "metadata_token": 21_601.0, "metadata_key": 21_601.0}
"""Seconds after which what was fetched there has expired."""

MEMORY = 256 * 1024 * 1024
"""Bytes by which a fault may swell the process, ours and the faulty server's side of it."""

VICTIM, BESIDE, CALM = "SCT-victim", "SCT-beside", "SCT-calm"

CONFIG = """
accounts:
  - name: prod
    endpoint: {api}
    iam_endpoint: {iam}
    tls: {{ca_file: {ca}}}
    auth: {auth}
    tickets: [{tickets}]
{discovery}
  - name: other
    endpoint: {calm}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{{execute_uuid: SCT-calm}}]
poll: {{interval: 30s, request_timeout: {timeout}ms, max_attempts: 2, full_refresh: 20s, stale_after: {stale_after}s,
  requests_per_second: 200, concurrency: {concurrency}}}
"""
_AUTH = {
    "iam_token": "{password: {domain: demo-domain, username: demo-user, password: demo-password, project: cn-north-4}}",
    "metadata_token": "{ecs_metadata: {endpoint: '%s'}}",
    "metadata_key": "{ecs_metadata: {endpoint: '%s'}}",
}


@dataclass(frozen=True)
class Case:
    """One fault at one endpoint in one phase."""

    fault: str
    endpoint: str
    phase: str

    def __str__(self) -> str:
        return f"{self.fault}, {self.endpoint}, {self.phase}"

    @property
    def reasons(self) -> frozenset[str]:
        if self.fault in SHUT:
            return SHUT[self.fault]
        reasons = ANSWERS[self.fault].reasons
        if self.endpoint == "metadata_token" and reasons & {"malformed", "server_error"}:
            # What comes in place of this token is a token, and a 503 means that there is none: the next step is refused.
            return reasons | {"unauthorized"}
        return reasons

    @property
    def timeout(self) -> int:
        """Milliseconds of ``request_timeout``: few where they are waited for, many for a busy machine elsewhere."""
        return 400 if "timeout" in self.reasons else 3000

    @property
    def step(self) -> float:
        """Seconds between two polls: long enough that the endpoint is asked in each."""
        return _SIGN_INS.get(self.endpoint, 30.0)


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


class Scene:
    """World, doors and exporter of one case."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.clock = FakeClock()
        self.world = simulator.Script(self.clock.time)
        self.played = Played(self.world, self.clock.time)
        tls = case.fault.startswith("TLS")
        self.doors = {name: Door(self.played, tls=tls) for name in ("api", "iam", "metadata")}
        self.doors["calm"] = Door(self.played)
        self.exporter = self._exporter(folder)
        for uuid in (VICTIM, BESIDE, CALM)[0 if self.discovers else 1 :]:
            self._ticket(uuid)
        if VICTIM not in {ticket.head.uuid for ticket in self.world.tickets(0)}:
            self._ticket(VICTIM)

    @property
    def discovers(self) -> bool:
        return self.case.endpoint == "list_tickets"

    @property
    def alone(self) -> bool:
        """Whether the victim is its account's only ticket: a whole address fails just before its turn."""
        return self.case.fault in SHUT

    @property
    def door(self) -> Door:
        """The address that the fault is at."""
        return self.doors[
            {"iam_token": "iam"}.get(self.case.endpoint, self.case.endpoint.partition("_")[0])
            if self.case.endpoint in _SIGN_INS
            else "api"
        ]

    def _ticket(self, uuid: str) -> None:
        ticket = self.world.ticket(uuid, batches=[2, 1], name=f"name of {uuid}")
        ticket.set(ticket.ids()[0], "PROCESSING")

    def _exporter(self, folder: Path) -> Exporter:
        ca = folder / "ca.pem"
        ca.write_bytes(authority().pem)
        case = self.case
        auth = _AUTH.get(case.endpoint, "{token: {token: demo-token}}")
        tickets = [] if self.alone else [BESIDE]
        tickets += [] if self.discovers else [VICTIM]
        text = CONFIG.format(
            api=self.doors["api"].url,
            iam=self.doors["iam"].url,
            calm=self.doors["calm"].url,
            ca=ca,
            auth=auth % self.doors["metadata"].url if "%s" in auth else auth,
            tickets=", ".join(f"{{execute_uuid: {uuid}}}" for uuid in tickets),
            discovery=f"    discovery: {{name_regex: '{VICTIM}$'}}" if self.discovers else "",
            timeout=case.timeout,
            stale_after=int(case.step * 10),
            concurrency=1 if self.alone else 8,
        )
        return Exporter(config.parse(text, folder=folder), Telemetry(process=False), self.clock)

    def break_it(self, stack: ExitStack) -> None:
        case = self.case
        if case.fault == "name does not resolve":
            self.door.shut("refused", after="")
            stack.enter_context(unresolvable())
        elif case.fault in SHUT:
            self.door.shut(case.fault, after=_BEFORE.get(case.endpoint, ""))
        else:
            of_ticket = case.endpoint not in _SIGN_INS and not self.discovers
            self.door.damage(case.endpoint, VICTIM if of_ticket else "", case.fault)

    def go_on(self) -> None:
        """Let something happen in every ticket."""
        self.clock.advance(self.case.step)
        for ticket in self.world.tickets(0):
            waiting = [row for row in ticket.ids() if ticket.instance(row).status == "READY"]
            running = [row for row in ticket.ids() if ticket.instance(row).status == "PROCESSING"]
            for row in running[:1]:
                ticket.set(row, "ABNORMAL", log="No space left on device")
            for row in waiting[:1]:
                ticket.set(row, "PROCESSING")

    def truths(self) -> dict[str, dict[tuple[str, str], float]]:
        return {ticket.head.uuid: truth(ticket) for ticket in self.world.tickets(0)}

    async def poll(self) -> Exposition:
        await self.exporter.poller.once()
        return await shown(self.exporter)

    def faults(self) -> set[str]:
        """Return the reasons that are given now, of the account that the fault is at and of its tickets."""
        account = self.exporter.poller.accounts[0]
        held = [reading.fault for reading in account.readings.values() if reading.watch.execute_uuid == VICTIM]
        return {fault.reason for fault in (account.state.fault, *held) if fault is not None}

    async def close(self) -> None:
        await self.exporter.aclose()
        for door in self.doors.values():
            await asyncio.to_thread(door.close)


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


def _judge_broken(scene: Scene, outcome: Outcome, seen: Exposition, known: dict) -> None:
    case, now = scene.case, scene.truths()
    # 2 requests at once, tried twice, for each of four steps and the listing; then some.
    if outcome.seconds > 6.0:  # noqa: PLR2004
        outcome.died.append(f"the poll took {outcome.seconds:.1f} s")
    _compare(outcome, seen, CALM, now[CALM], 1.0)
    if not case.reasons:
        _compare(outcome, seen, VICTIM, now[VICTIM], 1.0)
        return
    if not scene.faults() & case.reasons or scene.faults() - case.reasons - {"paused"}:
        outcome.lies.append(f"the reason given is {scene.faults()}, not one of {set(case.reasons)}")
    signed_in = case.endpoint not in _SIGN_INS
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
        outcome.lost.append("coc_up is not 1 when all is mended")
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
