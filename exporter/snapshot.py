"""
What is known of the tickets at one moment: the words every other room speaks.

Frozen data and what follows from it alone. No I/O, no clock, no import of another room. Times are Unix seconds,
durations seconds; text that the API left out is empty, numbers that it left out are None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping  # noqa: TC003  storage reads the types at run time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUSES = ("READY", "PROCESSING", "ABNORMAL", "CANCELED", "FINISHED", "ROLLBACKED")
"""The statuses an instance can have, as the API documents them."""

TICKET_STATUSES = (*STATUSES, "PAUSED")

FINAL_STATUSES = frozenset({"CANCELED", "FINISHED", "ROLLBACKED"})
"""What neither an instance nor a ticket leaves again; ABNORMAL is not among them, it can be continued."""

ENDED_STATUSES = FINAL_STATUSES | {"ABNORMAL"}
"""The statuses of an instance whose run is over, for now at least."""

OTHER_REASON = "other"


@dataclass(frozen=True, slots=True)
class Host:
    """The cloud server an instance ran on; only ``resource_id`` is dependable."""

    resource_id: str = ""
    host_name: str = ""
    fixed_ip: str = ""
    region_id: str = ""
    zone_id: str = ""
    application: str = ""
    group: str = ""

    @property
    def label(self) -> str:
        """Return what a person calls this host."""
        return self.host_name or self.fixed_ip or self.resource_id


@dataclass(frozen=True, slots=True)
class Instance:
    """One host's run of the script; ``reason`` and ``log_tail`` are filled while it is ABNORMAL."""

    id: int
    status: str
    created: float | None = None
    finished: float | None = None
    duration: float | None = None
    host: Host = Host()
    reason: str = ""
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch read whole; ``stated`` is the API's ``total_instances``."""

    index: int
    stated: int
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """One instance's turning ABNORMAL; ``finished`` tells one failure of an instance from its next."""

    instance_id: int
    finished: float | None
    batch: int
    reason: str
    host_name: str = ""
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One run that ended after ``seconds``; ``finished`` tells it from the instance's next run."""

    instance_id: int
    finished: float | None
    status: str
    seconds: float
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class StatusCount:
    """One row of the ticket's statistics."""

    status: str
    count: int
    batches: frozenset[int]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The API's own counts over the whole ticket."""

    total: int
    rows: tuple[StatusCount, ...]

    def counts(self) -> dict[str, int]:
        """Return the instances of each status that the API lists."""
        counts: Counter[str] = Counter()
        for row in self.rows:
            counts[row.status] += row.count
        return dict(counts)


@dataclass(frozen=True)
class Ticket:
    """
    A ticket read whole.

    ``past_failures`` and ``past_executions`` are those once counted which the present pages no longer tell in the
    same words (a failed instance that was retried, say): counters are pages plus past, so they never fall. ``late``
    are the executions, by instance and end, that were learnt of after a later one.
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
    statistics: Statistics = Statistics(0, ())
    batches: tuple[Batch, ...] = ()
    past_failures: tuple[Failure, ...] = ()
    past_executions: tuple[Execution, ...] = ()
    late: frozenset[tuple[int, float]] = frozenset()

    def instances(self) -> Iterator[tuple[Batch, Instance]]:
        """Yield each instance with its batch, in the API's order."""
        for batch in self.batches:
            for instance in batch.instances:
                yield batch, instance

    def failures(self) -> Iterator[Failure]:
        """Yield each failure ever counted, each once."""
        yield from self.past_failures
        told = {(failure.instance_id, failure.finished) for failure in self.past_failures}
        for batch, instance in self.instances():
            if instance.status == "ABNORMAL" and (instance.id, instance.finished) not in told:
                yield Failure(
                    instance.id,
                    instance.finished,
                    batch.index,
                    instance.reason or OTHER_REASON,
                    instance.host.label,
                    instance.duration,
                )

    def executions(self) -> Iterator[Execution]:
        """Yield each run that ended after a known time, each once."""
        yield from self.past_executions
        told = {(execution.instance_id, execution.finished) for execution in self.past_executions}
        for _, instance in self.instances():
            known = instance.duration is not None and instance.status in ENDED_STATUSES
            if known and (instance.id, instance.finished) not in told:
                yield Execution(
                    instance.id,
                    instance.finished,
                    instance.status,
                    instance.duration or 0.0,
                    instance.host.label,
                )

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """The instances of each status, as the pages tell."""
        return Counter(instance.status for _, instance in self.instances())

    @property
    def settled(self) -> bool:
        """Whether nothing about this ticket can change any more."""
        return self.status in FINAL_STATUSES and not self.counts.get("PROCESSING")

    @property
    def disagreement(self) -> int:
        """The instances by which the API's statistics and its pages differ."""
        stated = self.statistics.counts()
        gaps = [self.counts.get(status, 0) - stated.get(status, 0) for status in {*self.counts, *stated}]
        return max(sum(gap for gap in gaps if gap > 0), -sum(gap for gap in gaps if gap < 0))


@dataclass(frozen=True)
class Fault:
    """Why something could not be read: a closed reason, a sentence, and since when."""

    reason: str
    message: str
    since: float


@dataclass(frozen=True)
class Watch:
    """A ticket that is to be read; ``batches`` empty means all, ``listed`` that the config names it."""

    account: str
    execute_uuid: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    batches: frozenset[int] = frozenset()
    listed: bool = True


@dataclass(frozen=True)
class Reading:
    """
    A ticket as we hold it between polls.

    ``ticket`` is the last one read whole; ``fault`` says why the last attempt failed; ``stale`` that it has failed
    for too long to be shown; ``last_success``, ``refreshed`` and ``tried`` are when it was last read whole, last
    read with every batch, and last attempted.
    """

    watch: Watch
    ticket: Ticket | None = None
    fault: Fault | None = None
    last_success: float | None = None
    refreshed: float | None = None
    tried: float | None = None
    stale: bool = False

    @property
    def shown(self) -> Ticket | None:
        """The ticket to show: the last whole one, None when there is none or it is too old."""
        return None if self.stale else self.ticket

    @property
    def up(self) -> bool:
        """Whether the last attempt read the ticket whole."""
        return self.tried is not None and self.fault is None

    @property
    def name(self) -> str:
        """What a person calls this ticket."""
        script_name = self.ticket.script_name if self.ticket is not None else ""
        return self.watch.name or script_name or self.watch.execute_uuid

    @property
    def settled(self) -> bool:
        """Whether the ticket was read whole and nothing about it can change any more."""
        return self.fault is None and self.ticket is not None and self.ticket.settled

    @property
    def state(self) -> str:
        """``failed``, ``finished`` or ``active``."""
        if self.fault is not None:
            return "failed"
        return "finished" if self.settled else "active"


@dataclass(frozen=True)
class AccountState:
    """
    An account as the last poll found it.

    ``fault`` is None when its API answered and accepted us; ``omitted_tickets`` is how many tickets discovery found
    beyond ``max_tickets``; ``polled`` is when the last poll ended, None before the first.
    """

    name: str
    fault: Fault | None = None
    polled: float | None = None
    omitted_tickets: int = 0


@dataclass(frozen=True)
class Snapshot:
    """Everything that is shown, at one moment; never changed once it is published."""

    accounts: tuple[AccountState, ...] = ()
    readings: tuple[Reading, ...] = ()
    taken: float | None = None
