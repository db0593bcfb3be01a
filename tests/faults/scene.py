"""
The world of one case of the matrix, and the exporter in it.

``SCT-victim`` meets the fault, ``SCT-beside`` is of the same account, ``SCT-calm`` of another one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conftest import FakeClock

from exporter import config, simulator
from exporter.cli.wiring import Exporter
from exporter.telemetry import Telemetry
from faults.answers import ANSWERS
from faults.certificates import authority
from faults.readings import shown, truth
from faults.server import SHUT, Door, Played, unresolvable

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

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
_BEFORE = {"ticket": "statistics", "batches": "ticket", "batch_page": "batches", "metadata_key": "metadata_token"}
SIGN_INS = {"iam_token": 86_401.0, "metadata_token": 21_601.0, "metadata_key": 21_601.0}
"""Seconds after which what was fetched there has expired."""

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
poll: {{interval: 30s, request_timeout: {timeout}ms, max_attempts: {attempts}, full_refresh: 20s,
  stale_after: {stale_after}s, requests_per_second: 200, concurrency: {concurrency}}}
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
            # Whatever comes in its place is a token, and a 503 means that there is none: the next step is refused.
            return reasons | {"unauthorized"}
        return reasons

    @property
    def waits(self) -> bool:
        """Whether a request is waited for until its time is over."""
        return "timeout" in self.reasons

    @property
    def attempts(self) -> int:
        return 1 if self.waits else 2

    @property
    def timeout(self) -> int:
        """Milliseconds of ``request_timeout``: few where they are waited for, many for a busy machine elsewhere."""
        return 800 if self.waits else 3000

    @property
    def longest(self) -> float:
        """Seconds that the poll may last: every attempt at every endpoint, and some for a busy machine."""
        return self.attempts * len(ENDPOINTS) * self.timeout / 1000 + 10.0

    @property
    def step(self) -> float:
        """Seconds between two polls: long enough that the endpoint is asked in each."""
        return SIGN_INS.get(self.endpoint, 30.0)


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
            if self.case.endpoint in SIGN_INS
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
            attempts=case.attempts,
            stale_after=int(case.step * 10),
            concurrency=1 if self.alone else 8,
        )
        return Exporter(config.parse(text, folder=folder), Telemetry(process=False), self.clock)

    def break_it(self, stack: ExitStack) -> None:
        case = self.case
        if case.fault == "name does not resolve":
            self.door.shut("refused", after="")
            stack.enter_context(unresolvable(self.door))
        elif case.fault in SHUT:
            self.door.shut(case.fault, after=_BEFORE.get(case.endpoint, ""))
        else:
            of_ticket = case.endpoint not in SIGN_INS and not self.discovers
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
