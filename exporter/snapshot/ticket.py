"""
A ticket as its API tells it: batches, instances, counts, and what was counted of them once.

What there are many of is no business of the garbage collector, for it can hold nothing that holds it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import Struct

from exporter.snapshot.instance import ENDED_STATUSES, FINAL_STATUSES, packed, statuses, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exporter.snapshot.instance import Instance

OTHER_REASON = "other"


class Fact(Struct, frozen=True, gc=False):
    """What is counted once for an instance; ``finished`` tells it from the instance's next."""

    instance_id: int
    finished: float | None

    @property
    def key(self) -> tuple[int, float | None]:
        """What tells this fact from every other of its kind."""
        return self.instance_id, self.finished


class Failure(Fact, frozen=True, gc=False):
    """One instance's turning ABNORMAL."""

    batch: int
    reason: str
    host_name: str = ""
    duration: float | None = None


class Execution(Fact, frozen=True, gc=False):
    """One run that ended after ``seconds``."""

    status: str
    seconds: float
    host_name: str = ""


Told = TypeVar("Told", bound=Fact)


class Batch(Struct, frozen=True, gc=False):
    """A batch read whole; ``stated`` is the API's ``total_instances``, ``packed`` holds its instances."""

    index: int
    stated: int
    packed: bytes

    @classmethod
    def of(cls, index: int, stated: int, instances: Sequence[Instance] = ()) -> Self:
        """Return a batch of these instances."""
        return cls(index, stated, packed(instances))

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances in the API's order, unpacked anew each time."""
        return unpacked(self.packed)

    @property
    def counts(self) -> Counter[str]:
        """The instances of each status, told without unpacking them whole."""
        return Counter(statuses(self.packed))

    def in_status(self, status: str) -> Iterator[Instance]:
        """Yield the instances in this status; where there is none, nothing is unpacked."""
        if status.encode() in self.packed:
            yield from (instance for instance in self.instances if instance.status == status)

    def failures(self) -> Iterator[Failure]:
        """Yield the failure of each instance that is ABNORMAL."""
        for instance in self.in_status("ABNORMAL"):
            reason, host = instance.reason or OTHER_REASON, instance.host.label
            yield Failure(instance.id, instance.finished, self.index, reason, host, instance.duration)

    def executions(self) -> Iterator[Execution]:
        """Yield the run of each instance that ended after a known time."""
        for instance in self.instances:
            if instance.duration is not None and instance.status in ENDED_STATUSES:
                host = instance.host.label
                yield Execution(instance.id, instance.finished, instance.status, instance.duration, host)


class StatusCount(Struct, frozen=True, gc=False):
    """One row of the ticket's statistics."""

    status: str
    count: int
    batches: frozenset[int]


class Statistics(Struct, frozen=True, gc=False):
    """The API's own counts over the whole ticket."""

    total: int
    rows: tuple[StatusCount, ...]

    def counts(self) -> dict[str, int]:
        """Return the instances of each status that the API lists."""
        counts: Counter[str] = Counter()
        for row in self.rows:
            counts[row.status] += row.count
        return dict(counts)


_NONE = Statistics(0, ())


@dataclass(frozen=True)
class Ticket:
    """
    A ticket read whole.

    ``past_failures`` and ``past_executions`` are those once counted which the present pages no longer tell in the
    same words (a failed instance that was retried, say): counters are pages plus past, so they never fall. ``late``
    are the executions, by instance and end, that were learnt of after a later one. ``partial`` is a ticket of which
    only some batches are watched; ``doubtful`` are the batches that moved while they were read.
    """

    execute_uuid: str
    status: str
    created: float | None = None
    finished: float | None = None
    creator: str = ""
    script_name: str = ""
    timeout: float | None = None
    success_rate: float | None = None
    current_batch: int | None = None
    statistics: Statistics = _NONE
    batches: tuple[Batch, ...] = ()
    past_failures: tuple[Failure, ...] = ()
    past_executions: tuple[Execution, ...] = ()
    late: frozenset[tuple[int, float]] = frozenset()
    partial: bool = False
    doubtful: frozenset[int] = frozenset()

    def instances(self) -> Iterator[tuple[Batch, Instance]]:
        """Yield each instance with its batch, in the API's order."""
        for batch in self.batches:
            for instance in batch.instances:
                yield batch, instance

    def failures(self) -> Iterator[Failure]:
        """Yield each failure ever counted, each once."""
        return _once(self.past_failures, chain.from_iterable(batch.failures() for batch in self.batches))

    def executions(self) -> Iterator[Execution]:
        """Yield each run that ended after a known time, each once."""
        return _once(self.past_executions, chain.from_iterable(batch.executions() for batch in self.batches))

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """The instances of each status, as the pages tell."""
        return Counter(chain.from_iterable(statuses(batch.packed) for batch in self.batches))

    @property
    def settled(self) -> bool:
        """Whether nothing about this ticket can change any more."""
        return self.status in FINAL_STATUSES and not self.counts.get("PROCESSING")

    @property
    def oldest_processing(self) -> float | None:
        """When the instance that has run longest began; None while none runs."""
        if not self.counts.get("PROCESSING"):
            return None
        running = chain.from_iterable(batch.in_status("PROCESSING") for batch in self.batches)
        return min((instance.created for instance in running if instance.created is not None), default=None)

    @property
    def disagreement(self) -> int:
        """The instances by which the API's statistics and its pages differ; 0 where too few batches are known."""
        if self.partial:
            return 0
        stated = self.statistics.counts()
        gaps = [self.counts.get(status, 0) - stated.get(status, 0) for status in {*self.counts, *stated}]
        return max(sum(gap for gap in gaps if gap > 0), -sum(gap for gap in gaps if gap < 0))


def _once(past: tuple[Told, ...], told: Iterable[Told]) -> Iterator[Told]:
    """Return each fact once; what was told first stands."""
    # From the last to the first, so that the first stands.
    facts = [*past, *told]
    return reversed({(fact.instance_id, fact.finished): fact for fact in reversed(facts)}.values())
