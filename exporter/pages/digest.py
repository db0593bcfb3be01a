"""
What the overview says of a snapshot, whatever is asked of it: made once per snapshot, since it reads every instance.

Nothing here depends on the time; that is added to the rows that are shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.pages import text
from exporter.pages.models import HostRow, HostTicket, LastFailure, ReasonRow, TicketRow, Trouble
from exporter.snapshot import OTHER_REASON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exporter.pages.desk import Desk, Links
    from exporter.snapshot import Batch, Failure, Fault, Instance, Reading, Snapshot, Ticket

_EXAMPLES = 5


@dataclass(frozen=True)
class Digest:
    """The rows of a snapshot, and its instances by status."""

    rows: tuple[TicketRow, ...]
    hosts: tuple[HostRow, ...]
    reasons: tuple[ReasonRow, ...]
    instances: Mapping[str, int]


class Digests:
    """Hand out the digest of the newest snapshot, made when first asked for."""

    def __init__(self) -> None:
        self._last: tuple[Snapshot, Desk, Digest] | None = None

    def of(self, snapshot: Snapshot, desk: Desk) -> Digest:
        """Return the digest; two threads may both make it, which harms nobody."""
        last = self._last
        if last is not None and last[0] is snapshot and last[1] is desk:
            return last[2]
        made = digest(snapshot, desk)
        self._last = (snapshot, desk, made)
        return made


def digest(snapshot: Snapshot, desk: Desk) -> Digest:
    """Read every ticket once."""
    links = desk.links
    failures = [tuple(reading.shown.failures()) if reading.shown else () for reading in snapshot.readings]
    rows = tuple(
        row(reading, len(told), links, show_logs=desk.show_logs)
        for reading, told in zip(snapshot.readings, failures, strict=True)
    )
    instances: Counter[str] = Counter()
    for ticket in rows:
        instances.update(ticket.counts)
    return Digest(
        rows=rows,
        hosts=_hosts(zip(rows, failures, strict=True)),
        reasons=_reasons((failure.reason for told in failures for failure in told), desk.patterns),
        instances=dict(instances),
    )


def row(reading: Reading, failures: int, links: Links, *, show_logs: bool) -> TicketRow:
    """Return what is to be said of a ticket in one row."""
    ticket = reading.shown
    watch = reading.watch
    counts = dict(ticket.counts) if ticket else {}
    return TicketRow(
        account=text.line(watch.account),
        execute_uuid=text.line(watch.execute_uuid),
        name=text.line(reading.name),
        url=links.ticket(watch.account, watch.execute_uuid),
        api_url=links.ticket(watch.account, watch.execute_uuid, api=True),
        state=reading.state,
        status=text.line(ticket.status) if ticket else None,
        up=reading.up,
        stale=reading.stale,
        fault=trouble(reading.fault),
        last_success=reading.last_success,
        created=ticket.created if ticket else None,
        finished=ticket.finished if ticket else None,
        running_seconds=None,
        timeout_seconds=ticket.timeout if ticket else None,
        oldest_processing=ticket.oldest_processing if ticket else None,
        late=False,
        instances=sum(counts.values()),
        counts=counts,
        abnormal=counts.get("ABNORMAL", 0),
        failures=failures,
        last_failure=_last_failure(ticket, show_logs=show_logs) if counts.get("ABNORMAL") and ticket else None,
    )


def trouble(fault: Fault | None) -> Trouble | None:
    """Return a fault in shown words."""
    if fault is None:
        return None
    return Trouble(text.line(fault.reason), text.line(fault.message, 2 * text.NAME_LENGTH), fault.since)


def anchor(batch: Batch, instance: Instance) -> str:
    """Return the fragment by which an instance is found on its ticket's page."""
    return f"i-{batch.index}-{instance.id}"


def _last_failure(ticket: Ticket, *, show_logs: bool) -> LastFailure:
    batch, instance = max(
        ((batch, instance) for batch in ticket.batches for instance in batch.in_status("ABNORMAL")),
        key=lambda pair: pair[1].finished or 0.0,
    )
    return LastFailure(
        instance_id=instance.id,
        anchor=anchor(batch, instance),
        batch=batch.index,
        host=text.line(instance.host.label),
        reason=text.line(instance.reason or OTHER_REASON),
        finished=instance.finished,
        line=text.last_line(instance.log_tail) if show_logs else "",
    )


def _hosts(told: Iterable[tuple[TicketRow, Sequence[Failure]]]) -> tuple[HostRow, ...]:
    """Return every host that is named by a failure, the one with the most different tickets first."""
    tickets: defaultdict[tuple[str, str], dict[str, TicketRow]] = defaultdict(dict)
    failures: Counter[tuple[str, str]] = Counter()
    for ticket, found in told:
        for failure in found:
            if failure.host_name:
                key = (failure.host_name, ticket.account)
                tickets[key][ticket.execute_uuid] = ticket
                failures[key] += 1
    worst = sorted(tickets, key=lambda key: (-len(tickets[key]), -failures[key], key))
    return tuple(_host(key, tickets[key].values(), failures[key]) for key in worst)


def _host(key: tuple[str, str], tickets: Iterable[TicketRow], failures: int) -> HostRow:
    known = tuple(tickets)
    examples = known[:_EXAMPLES]
    return HostRow(
        host=text.line(key[0]),
        account=key[1],
        tickets=len(known),
        failures=failures,
        examples=tuple(HostTicket(each.name, each.account, each.execute_uuid, each.url) for each in examples),
    )


def _reasons(found: Iterable[str], patterns: Sequence[tuple[str, str]]) -> tuple[ReasonRow, ...]:
    """Return the configured reasons in their order, then those that are configured no more, then ``other``."""
    counts = Counter(found)
    total = counts.total()
    named = dict.fromkeys((*(reason for reason, _ in patterns), *sorted(counts)))
    named.pop(OTHER_REASON, None)
    return tuple(
        ReasonRow(
            reason=text.line(reason),
            patterns=tuple(text.line(pattern) for name, pattern in patterns if name == reason),
            failures=counts[reason],
            share=counts[reason] / total if total else None,
        )
        for reason in (*named, OTHER_REASON)
    )
