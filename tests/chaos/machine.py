"""The machine: what can happen, in any order; what must hold after each step is told by ``claims``."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx
from conftest import FakeClock
from faults.answers import ANSWERS
from faults.readings import shown
from faults.server import Door
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaos import claims
from chaos.api import Moving
from chaos.model import ENDED, Known
from exporter import config, simulator
from exporter.cli.reload import Reloader
from exporter.cli.wiring import Exporter
from exporter.errors import ExporterError
from exporter.exposition import Format
from exporter.storage import Storage
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    from exporter.simulator import ScriptedTicket

TALLY: Counter[str] = Counter()
"""What was done in all runs, for the table at their end."""

SECONDS = st.sampled_from([30.0, 30.0, 0.0, 31.0, 301.0, 4000.0])
"""Until the next poll; 0 for no poll."""

LOGS = st.sampled_from(["disk", "Permission denied", "?"])
# Those that are over at once: what waits for a timeout has its own tests.
QUICK = sorted(
    name
    for name, fault in ANSWERS.items()
    if name not in {"429", "503", "gzip bomb"} and "timeout" not in fault.reasons
)
HARMLESS: list[dict[str, Any]] = [
    {"page_cap": 1},
    {"descending": True},
    {"overlap": True},
    {"null_pages": True},
    {"unknown_batch_empty": True},
    {"page_cap": 2, "descending": True},
]
HARMFUL: list[dict[str, Any]] = [
    # Its pages repeat, or end before their total: no more than some of it can be read.
    {"stuck_marker": True},
    {"page_cap": 2, "descending": True, "overlap": True},
    {"errors": 0.3},
    {"errors": 1.0},
    {"throttle": 0.5},
    {"html": True},
    {"empty_answers": True},
    {"empty_site": True},
    {"api_down": "503"},
    {"api_down": "close"},
]
CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{listed}]
    discovery: {{name_regex: "^found"}}
poll: {{interval: 30s, request_timeout: 20s, stale_after: 300s, full_refresh: {full}s, requests_per_second: 200}}
metrics: {{per_batch: {per_batch}, abnormal_instances: 2}}
web: {{show_logs: {show_logs}}}
failure_reasons: [{{reason: special, pattern: "{pattern}"}}]
"""
CHANGES: list[dict[str, Any]] = [
    {"per_batch": "false"},
    {"per_batch": "true"},
    {"show_logs": "false"},
    {"show_logs": "true"},
    {"pattern": "denied"},
    {"pattern": "disk"},
]


class Chaos(RuleBasedStateMachine):
    """One exporter, one API, and the model of what was read; ``theirs`` and ``ours`` are the two clocks."""

    def __init__(self) -> None:
        super().__init__()
        TALLY["runs"] += 1
        self.stack = ExitStack()
        # Reading a hundred authorities takes longer than a poll here.
        self.stack.enter_context(patch.object(httpx, "create_ssl_context", _any_context))
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.loop = asyncio.new_event_loop()
        self.theirs, self.ours = FakeClock(), FakeClock()
        self.world = simulator.Script(self.theirs.time)
        self.api = Moving(self.world, self.theirs.time)
        self.door = Door(self.api)
        self.listed = ["SCT-1", "SCT-2"]
        self.gone: set[str] = set()
        self.known: defaultdict[str, Known] = defaultdict(Known)
        self.seen: Any = None
        self.healthy = True

    @initialize(stored=st.booleans(), full=st.booleans())
    def start(self, stored: bool, full: bool) -> None:
        self.stored = self.folder / "coc.db" if stored else None
        self.exact = full
        self.settings = {"full": 20 if full else 3600, "per_batch": "true", "show_logs": "true", "pattern": "disk"}
        for uuid in self.listed:
            self.world.ticket(uuid, batches=[1, 1], name="listed")
        self.begin()
        self.poll(30)

    def begin(self) -> None:
        """Start an exporter, as the process does."""
        path = self.folder / "config.yaml"
        path.write_text(self.config())
        storage = None if self.stored is None else Storage(self.stored)
        self.telemetry = Telemetry(process=False)
        self.exporter = Exporter(config.load(path), self.telemetry, self.ours, storage=storage)
        self.reloader = Reloader(self.exporter.config, path, self.telemetry, self.exporter.apply)
        self.run(self.exporter.publish(self.exporter.poller.snapshot()))

    def config(self) -> str:
        listed = ", ".join(f"{{execute_uuid: {uuid}}}" for uuid in self.listed)
        return CONFIG.format(url=self.door.url, listed=listed, **self.settings)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def reason_of(self, log: str) -> str:
        if self.settings["pattern"] in log:
            return "special"
        return "permission_denied" if log == "Permission denied" else "other"

    def alive(self) -> list[ScriptedTicket]:
        return [ticket for ticket in self.world.tickets(0) if ticket.head.status not in {"FINISHED", "CANCELED"}]

    # The world lives.

    @precondition(lambda self: self.alive())
    @rule(rounds=st.lists(st.tuples(st.integers(0, 1000), LOGS, SECONDS), min_size=1, max_size=5))
    def live(self, rounds: list[tuple[int, str, float]]) -> None:
        """Instances go on, and a poll sees each step, or does not."""
        for number, text, seconds in rounds:
            self.go_on(number, text)
            self.maybe_poll(seconds)

    def go_on(self, number: int, text: str) -> None:
        """Move an instance of each ticket as they do: READY, PROCESSING, an end, and again what failed."""
        for ticket in self.alive():
            row = ticket.ids()[number % len(ticket.ids())]
            self.theirs.advance(1.5)
            if ticket.instance(row).status == "PROCESSING":
                ticket.set(row, ENDED[number % 3], log=text)
            elif ticket.instance(row).status in {"READY", "ABNORMAL"}:
                ticket.set(row, "PROCESSING")

    @precondition(lambda self: self.alive())
    @rule(moves=st.dictionaries(st.integers(1, 12), st.tuples(st.integers(0, 1000), LOGS), min_size=1, max_size=3))
    def move_while_read(self, moves: dict[int, tuple[int, str]]) -> None:
        """Instances go on between the requests of one poll."""
        TALLY["polls of a world that moved meanwhile"] += 1
        for requests, (number, text) in moves.items():
            self.api.move_after(requests, lambda number=number, text=text: self.go_on(number, text))
        self.poll(30)

    @precondition(lambda self: self.alive())
    @rule(data=st.data())
    def grow_or_end(self, data: Any) -> None:
        ticket = data.draw(st.sampled_from(self.alive()))
        self.theirs.advance(1.5)
        match data.draw(st.sampled_from(["batch", "instance", "pause", "go on", "finish", "cancel"])):
            case "batch" if len(ticket.batches) < 5:
                ticket.add_batch(2)
            case "instance":
                ticket.add(1)
            case "pause":
                ticket.status("PAUSED")
            case "go on":
                ticket.status("PROCESSING")
            case "finish":
                ticket.finish()
            case "cancel":
                ticket.finish("CANCELED")

    @rule(number=st.integers(10, 13))
    def churn(self, number: int) -> None:
        """A ticket that discovery finds comes, or goes for good."""
        uuid = f"SCT-{number}"
        if uuid in self.gone:
            return
        TALLY["tickets that came or went"] += 1
        if self.world.find(uuid, 0) is None:
            self.world.ticket(uuid, batches=[2], name=f"found {uuid}")
        else:
            self.world.remove(uuid)
            self.gone.add(uuid)

    # The API misbehaves.

    @rule(position=st.sampled_from([*HARMLESS, *HARMFUL]), seconds=SECONDS)
    def misbehave(self, position: dict[str, Any], seconds: float) -> None:
        TALLY["switches turned"] += 1
        self.api.controls.reset()
        self.api.controls.set(**position)
        self.healthy = self.healthy and position in HARMLESS
        self.maybe_poll(seconds)

    @rule(
        operation=st.sampled_from(["statistics", "ticket", "batches", "batch_page", "list_tickets"]),
        uuid=st.sampled_from(["", "SCT-1", "SCT-10"]),
        fault=st.sampled_from(QUICK),
        seconds=SECONDS,
    )
    def damage(self, operation: str, uuid: str, fault: str, seconds: float) -> None:
        self.door.damage(operation, "" if operation == "list_tickets" else uuid, fault)
        self.healthy = False
        self.maybe_poll(seconds)

    @rule()
    def mend(self) -> None:
        self.api.controls.reset()
        self.door.mend()
        self.healthy = True

    # We poll, reload and restart; our clock jumps.

    @rule(seconds=st.sampled_from([30.0, 45.0, 299.0]))
    def poll(self, seconds: float) -> None:
        TALLY["polls"] += 1
        for clock in (self.theirs, self.ours):
            clock.advance(seconds)
        began, before = self.ours.time(), self.seen
        self.api.begin()
        self.run(self.exporter.poller.once())
        self.api.end()
        self.look()
        self.learn(began)
        claims.ages(self, began, before)
        if self.healthy:
            claims.all_is_read(self, began)

    def maybe_poll(self, seconds: float) -> None:
        if seconds:
            self.poll(seconds)

    def learn(self, began: float) -> None:
        """Take over into the model what this poll says that it has read."""
        for uuid in self.shown_uuids():
            read_at = self.seen.read_at(uuid)
            # Not by the time alone: a clock that was set back can pass the time of the last reading again.
            if read_at == self.known[uuid].read_at:
                continue
            assert began <= read_at <= self.ours.time(), f"{uuid} is told to be read at another time"
            moments = self.api.moments.get(uuid)
            assert moments, f"{uuid} was read though the API does not know it"
            self.known[uuid].learn(list(moments), read_at, self.reason_of)
            assert self.seen.up(uuid) == 1

    @rule(seconds=st.sampled_from([-4000.37, -301.11, -7.53, 13.71, 299.23, 5000.59, 1e7 + 0.83]))
    def jump(self, seconds: float) -> None:
        """Set our clock without any time passing; never back to a moment that it has shown."""
        TALLY["clock jumps"] += 1
        self.ours.now += seconds

    @rule(change=st.sampled_from(CHANGES), second=st.booleans())
    def reload(self, change: dict[str, Any], second: bool) -> None:
        TALLY["reloads"] += 1
        same_labels = change.get("per_batch", self.settings["per_batch"]) == self.settings["per_batch"]
        self.settings |= change
        self.listed = ["SCT-1", "SCT-2"] if second else ["SCT-1"]
        (self.folder / "config.yaml").write_text(self.config())
        self.run(self.reloader.reload())
        self.run(self.exporter.publish(self.exporter.poller.snapshot()))
        self.look(follows=same_labels)

    @rule(text=st.sampled_from(["", "accounts: [", "accounts: []\npolls: 1\n", "\x00"]))
    def reload_what_is_broken(self, text: str) -> None:
        """A config with faults changes nothing."""
        TALLY["reloads refused"] += 1
        path = self.folder / "config.yaml"
        path.write_text(text)
        with suppress(ExporterError):
            self.run(self.reloader.reload())
            raise AssertionError("a broken config was taken")
        path.write_text(self.config())
        self.run(self.exporter.publish(self.exporter.poller.snapshot()))
        self.look()
        assert self.seen.value("coc_exporter_config_last_reload_successful") == 0

    @rule(manner=st.sampled_from(["stopped", "killed", "file lost"]), seconds=st.sampled_from([0.0, 31.0, 4000.0]))
    def restart(self, manner: str, seconds: float) -> None:
        TALLY[f"restarts: {manner}"] += 1
        left = _left_by_a_kill(self.stored) if self.stored and manner == "killed" else None
        self.run(self.exporter.aclose())
        for clock in (self.theirs, self.ours):
            clock.advance(seconds)
        if self.stored and manner == "file lost":
            self.stored.unlink()
        if left is not None:
            self.stored = left
        if self.stored is None or manner == "file lost":
            self.known.clear()
            self.seen = None
        self.begin()
        self.look(same_process=False)

    # What must hold.

    def look(self, *, follows: bool = True, same_process: bool = True) -> None:
        """Scrape in both formats; ``follows`` when every series of a ticket must go on from the last time."""
        TALLY["expositions parsed"] += 2
        before, self.seen = self.seen, self.run(shown(self.exporter))
        claims.formats_agree(self.seen, self.run(shown(self.exporter, Format.OPENMETRICS)))
        for uuid in set(self.known) - self.shown_uuids():
            del self.known[uuid]
        if before is not None:
            claims.nothing_falls(before, self.seen, tickets=follows, own=same_process)

    def shown_uuids(self) -> set[str]:
        return {dict(labels)["execute_uuid"] for labels in self.seen.of("coc_ticket_up", account="prod")}

    @invariant()
    def nothing_is_made_up(self) -> None:
        for uuid in sorted(self.shown_uuids()):
            TALLY["tickets compared"] += 1
            claims.ticket_is_told_as_read(self, uuid, self.known[uuid])

    def teardown(self) -> None:
        if hasattr(self, "exporter"):
            self.run(self.exporter.aclose())
        TALLY["answers spoilt"] += self.door.injected
        self.door.close()
        self.loop.close()
        self.stack.close()


@cache
def _any_context(**_options: object) -> ssl.SSLContext:
    return ssl.create_default_context()


def _left_by_a_kill(stored: Path) -> Path:
    """Copy what a process that is killed now would leave."""
    number = len(list(stored.parent.glob("*.db")))
    for part in stored.parent.glob(f"{stored.name}*"):
        shutil.copy(part, part.with_name(part.name.replace(stored.name, f"left-{number}.db")))
    return stored.with_name(f"left-{number}.db")
