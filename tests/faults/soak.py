"""
``python tests/faults/soak.py``: days of polling in minutes, with churn, faults, scrapes and reloads.

Time is turned by hand, so that a poll follows the last at once; sockets, bytes and threads are real. Ends in a table,
and in a picture of memory, tasks and descriptors.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from conftest import FakeClock

from exporter import config, simulator
from exporter.cli.wiring import Exporter
from exporter.exposition import Encoding, Format, Variant
from exporter.storage import Storage
from exporter.telemetry import Telemetry
from faults.answers import ANSWERS
from faults.matrix import descriptors
from faults.readings import shown, truth
from faults.server import Door, Played

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.readings import Exposition

CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    discovery: {{}}
poll: {{interval: 30s, request_timeout: 5s, requests_per_second: 200, keep_finished: 10m, stale_after: 5m}}
web: {{show_logs: {show_logs}}}
"""
ALIVE = 4
"""Tickets that run at a time; each is over after some ten polls, and another takes its place."""

FAULTS = sorted(
    name for name in ANSWERS if ANSWERS[name].reasons and not ANSWERS[name].reasons & {"timeout", "too_large"}
)
ENDS = ("FINISHED", "FINISHED", "FINISHED", "ABNORMAL", "CANCELED")


@dataclass
class Soak:
    """What was measured: at each of ``at`` polls, bytes of memory, tasks and descriptors."""

    at: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    tickets: int = 0
    requests: int = 0
    faults: int = 0
    died: int = 0
    looks: int = 0
    lost: int = 0
    lies: int = 0
    seconds: float = 0.0

    def measure(self, poll: int) -> None:
        gc.collect()
        self.at.append(poll)
        self.memory.append(_memory())
        self.tasks.append(len(asyncio.all_tasks()))
        self.files.append(descriptors())

    def growth(self, values: Sequence[int]) -> float:
        """Return how much the last third lies above the second: the first warms up."""
        third = len(values) // 3
        return median(values[-third:]) - median(values[third : 2 * third])

    def table(self) -> str:
        figures = {
            "polls": self.at[-1],
            "days of polling": round(self.at[-1] * 30 / 86_400, 1),
            "tickets that came and went": self.tickets,
            "requests": self.requests,
            "faults injected": self.faults,
            "polls survived": self.at[-1] - self.died,
            "expositions judged": self.looks,
            "data lost": self.lost,
            "lies told": self.lies,
            "memory grew by, MiB": round(self.growth(self.memory) / 2**20, 2),
            "tasks grew by": self.growth(self.tasks),
            "descriptors grew by": self.growth(self.files),
            "took, s": round(self.seconds),
        }
        width = max(map(len, figures))
        return "".join(f"{name:<{width}}  {value}\n" for name, value in figures.items())


class Life:
    """A world in which tickets come, run and go."""

    def __init__(self, clock: FakeClock, seed: int) -> None:
        self.world = simulator.Script(clock.time)
        self.made = 0
        self._chance = random.Random(seed)  # noqa: S311  no secret is made of it
        self._clock = clock
        self._over: list[tuple[float, str]] = []

    def go_on(self) -> None:
        """Let half a minute happen."""
        alive = [ticket for ticket in self.world.tickets(0) if ticket.head.status == "PROCESSING"]
        for _ in range(ALIVE - len(alive)):
            self.made += 1
            self.world.ticket(f"SCT-{self.made}", batches=[3, 2], name=f"nightly-{self.made % 7}")
        for ticket in alive:
            self._go_on(ticket)
        while self._over and self._over[0][0] < self._clock.time() - 3600:
            self.world.remove(self._over.pop(0)[1])

    def _go_on(self, ticket) -> None:
        rows = [ticket.instance(row) for row in ticket.ids()]
        waiting = [row.id for row in rows if row.status in ("READY", "PROCESSING")]
        for row in waiting[:1]:
            running = ticket.instance(row).status == "PROCESSING"
            ticket.set(row, self._chance.choice(ENDS) if running else "PROCESSING", log="exit status 1")
        failed = [row.id for row in rows if row.status == "ABNORMAL"]
        if failed and self._chance.random() < 0.2:
            ticket.retry(failed[0])
        if not waiting:
            ticket.finish()
            self._over.append((self._clock.time(), ticket.head.uuid))


class Days:
    """An exporter over such a world, polled by hand: every fifth time with a fault, every fiftieth after a reload."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.soak = Soak()
        self._clock = FakeClock()
        self._chance = random.Random(seed)  # noqa: S311  likewise
        self._life = Life(self._clock, seed)
        self._played = Played(self._life.world, self._clock.time)
        self._door = Door(self._played)
        self._past: dict[str, set[frozenset]] = {}
        self._made = Exporter(self._config(0), Telemetry(), self._clock, storage=Storage(folder / "coc.db"))

    def _config(self, poll: int) -> config.Config:
        return config.parse(CONFIG.format(url=self._door.url, show_logs=str(poll % 100 == 0).lower()))

    async def poll(self, poll: int) -> None:
        """Let half a minute happen, and look at it as the API allows."""
        self._clock.advance(30)
        self._life.go_on()
        self._door.mend()
        if poll % 5 == 0:
            place = self._chance.choice(("statistics", "batch_page", "list_tickets"))
            self._door.damage(place, "", self._chance.choice(FAULTS))
        self._remember()
        try:
            await self._made.poller.once()
        except Exception:  # noqa: BLE001  counted, whatever it is
            self.soak.died += 1
        await self._made.board.body(Variant(self._chance.choice(list(Format)), self._chance.choice(list(Encoding))))
        if poll % 5 < 2:
            self._check(await shown(self._made, self._chance.choice(list(Format))), whole=poll % 5 == 1)
        if poll % 50 == 0:
            await self._reload(poll)

    def _remember(self) -> None:
        now = {ticket.head.uuid: frozenset(truth(ticket).items()) for ticket in self._life.world.tickets(0)}
        self._past = {uuid: self._past.get(uuid, set()) | {counts} for uuid, counts in now.items()}

    def _check(self, seen: Exposition, *, whole: bool) -> None:
        """Judge what is shown: when ``whole``, by what is true now, else by what was true at any poll."""
        self.soak.looks += 1
        for ticket in self._life.world.tickets(0):
            uuid = ticket.head.uuid
            told = seen.counts(uuid)
            if told is None:
                self.soak.lost += whole and ticket.head.finished is None
            elif whole:
                self.soak.lies += told != truth(ticket) or seen.up(uuid) != 1
            else:
                self.soak.lies += frozenset(told.items()) not in self._past[uuid]

    async def _reload(self, poll: int) -> None:
        await self._made.apply(self._config(poll))
        while self._made._retired:
            await self._made._retired.pop().aclose()

    async def close(self) -> None:
        seen = await shown(self._made)
        self.soak.died += int(seen.value("coc_exporter_poll_failures_total", reason="internal") or 0)
        await self._made.aclose()
        await asyncio.to_thread(self._door.close)
        self.soak.tickets, self.soak.requests = self._life.made, sum(self._played.simulator.requests.values())
        self.soak.faults = self._door.injected


async def soaked(polls: int, folder: Path, *, seed: int = 1, every: int = 10) -> Soak:
    """Poll so often; measure at each ``every`` polls."""
    began = time.monotonic()
    days = Days(folder, seed)
    try:
        for poll in range(1, polls + 1):
            await days.poll(poll)
            if poll % every == 0:
                days.soak.measure(poll)
    finally:
        await days.close()
    days.soak.seconds = time.monotonic() - began
    return days.soak


def _memory() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


_WIDTH, _HEIGHT, _LEFT = 760, 130, 60


def picture(soak: Soak) -> str:
    """Return the curves as SVG."""
    curves = (
        ("memory, MiB", [value / 2**20 for value in soak.memory]),
        ("tasks", soak.tasks),
        ("descriptors", soak.files),
    )
    panels = "".join(_panel(title, soak.at, values, top * _HEIGHT) for top, (title, values) in enumerate(curves))
    height = _HEIGHT * len(curves) + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>Memory, tasks and descriptors over {soak.at[-1]:,} polls</title>'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>{panels}'
        f'<text x="{_WIDTH - 10}" y="{height - 10}" text-anchor="end">{soak.at[-1]:,} polls</text></svg>\n'
    )


def _panel(title: str, at: Sequence[int], values: Sequence[float], top: int) -> str:
    highest = max(*values, 1) * 1.15
    across = (_WIDTH - _LEFT - 10) / at[-1]
    base, room = top + _HEIGHT - 5, _HEIGHT - 30
    last = base - values[-1] / highest * room + 4
    points = " ".join(
        f"{_LEFT + poll * across:.1f},{base - value / highest * room:.1f}"
        for poll, value in zip(at, values, strict=True)
    )
    return (
        f'<text x="{_LEFT}" y="{top + 18}">{title}</text>'
        f'<path d="M{_LEFT} {base - room}V{base}H{_WIDTH - 10}" fill="none" stroke="#999"/>'
        f'<text x="{_LEFT - 6}" y="{last:.1f}" text-anchor="end">{values[-1]:.0f}</text>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>'
        f'<polyline points="{points}" fill="none" stroke="#0072b2" stroke-width="1.5"/>'
    )


def main() -> int:
    """Return 1 when something grew or a lie was told."""
    parser = argparse.ArgumentParser(prog="soak", description="Days of polling in minutes.")
    parser.add_argument("--polls", type=int, default=5000)
    parser.add_argument("--picture", type=Path, help="where to write the curves as SVG")
    asked = parser.parse_args()
    logging.disable()
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    with TemporaryDirectory() as folder:
        soak = asyncio.run(soaked(asked.polls, Path(folder), every=max(1, asked.polls // 200)))
    if asked.picture is not None:
        asked.picture.write_text(picture(soak))
    sys.stdout.write(soak.table())
    flat = soak.growth(soak.memory) < 8 * 2**20 and soak.growth(soak.tasks) <= 0 and soak.growth(soak.files) <= 2
    return 0 if flat and not soak.died + soak.lost + soak.lies else 1


if __name__ == "__main__":
    sys.exit(main())
