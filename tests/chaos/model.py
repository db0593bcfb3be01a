"""What the exposition must say of a ticket, told by the moments in which the exporter can have read it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from math import fsum, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.simulator import ScriptedTicket

Fact = tuple[int, int | None]
"""What is counted once: an instance and the end of one of its runs."""

Place = tuple[str, str]
"""A batch and a status."""

ENDED = ("ABNORMAL", "FINISHED", "ROLLBACKED", "CANCELED")
BOUNDS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, inf)


@dataclass(frozen=True)
class Moment:
    """A ticket as the world has it at one moment; times in seconds."""

    status: str
    created: float
    places: dict[int, Place]
    logs: dict[Fact, str]
    runs: dict[Fact, tuple[str, float]]
    oldest: float | None

    @classmethod
    def of(cls, ticket: ScriptedTicket) -> Moment:
        rows = {row.id: (str(batch.index), row) for batch in ticket.batches for row in ticket.instances(batch.index)}
        told = [row for _, row in rows.values()]
        return cls(
            ticket.head.status,
            ticket.head.created / 1000,
            {number: (batch, row.status) for number, (batch, row) in rows.items()},
            {(row.id, row.finished): row.message or "" for row in told if row.status == "ABNORMAL"},
            {
                (row.id, row.finished): (row.status, (row.finished - row.created) / 1000)
                for row in told
                if row.status in ENDED
            },
            min((row.created / 1000 for row in told if row.status == "PROCESSING"), default=None),
        )


class Known:
    """
    What was read of one ticket, and what must follow from it.

    ``still`` tells that the ticket did not move while it was last read, ``certain`` that it never did, so that every
    figure is known to the last digit and not only within bounds.
    """

    def __init__(self) -> None:
        self.read_at: float | None = None
        self.moments: Sequence[Moment] = ()
        self.certain = True
        self.failures: dict[Fact, str] = {}
        self.runs: dict[Fact, tuple[str, float]] = {}
        self._sure_failures: set[Fact] = set()
        self._sure_runs: set[Fact] = set()

    @property
    def still(self) -> bool:
        return len(self.moments) == 1

    @property
    def last(self) -> Moment:
        return self.moments[-1]

    def learn(self, moments: Sequence[Moment], read_at: float, reason_of: Callable[[str], str]) -> None:
        """Note that the ticket was read at some of these moments, or across them."""
        self.moments, self.read_at = moments, read_at
        self.certain = self.certain and len(moments) == 1
        for moment in moments:
            for fact, log in moment.logs.items():
                self.failures.setdefault(fact, reason_of(log))
            for fact, run in moment.runs.items():
                self.runs.setdefault(fact, run)
        self._sure_failures |= set.intersection(*(set(moment.logs) for moment in moments))
        self._sure_runs |= set.intersection(*(set(moment.runs) for moment in moments))

    def counts(self) -> Counter[Place]:
        return Counter(self.last.places.values())

    def bounds(self) -> tuple[Counter[Place], Counter[Place]]:
        """Return the fewest and the most instances of each place that pages read across the moments can hold."""
        lowest, highest = Counter[Place](), Counter[Place]()
        for number in {number for moment in self.moments for number in moment.places}:
            stood = {moment.places.get(number) for moment in self.moments}
            highest.update(place for place in stood if place is not None)
            lowest.update(place for place in stood if place is not None and len(stood) == 1)
        return lowest, highest

    def totals(self) -> set[int]:
        return {len(moment.places) for moment in self.moments}

    def failure_bounds(self) -> tuple[int, int]:
        return len(self._sure_failures), len(self.failures)

    def run_bounds(self) -> tuple[int, int]:
        return len(self._sure_runs), len(self.runs)

    def reasons(self) -> Counter[str]:
        return Counter(self.failures.values())

    def buckets(self, status: str) -> list[int]:
        """Return the cumulative counts of the runs that ended in a status, by the default bounds."""
        seconds = sorted(spent for ended, spent in self.runs.values() if ended == status)
        places = [bisect_left(BOUNDS, spent) for spent in seconds]
        return [sum(place <= number for place in places) for number in range(len(BOUNDS))]

    def seconds(self, status: str) -> float:
        return fsum(spent for ended, spent in self.runs.values() if ended == status)


def by_status(counts: dict[Place, float]) -> dict[str, int]:
    """Return the counts of a ticket as a whole, without zeros."""
    found: Counter[str] = Counter()
    for (_, status), number in counts.items():
        found[status] += int(number)
    return {status: number for status, number in found.items() if number}
