"""What a ticket's page says: a pure function of snapshot, question and time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from exporter.pages import text, words
from exporter.pages.digest import anchor, row
from exporter.pages.models import BatchRow, Bin, Durations, InstanceRow, TicketView
from exporter.pages.overview import cut, notices, paged, timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.pages.desk import Desk
    from exporter.pages.models import Notice, TicketRow
    from exporter.pages.query import TicketQuery
    from exporter.snapshot import Batch, Execution, Instance, Reading, Snapshot, Ticket

BINS = 24
_WAITING = ("READY", "PROCESSING")
_NOT_READ = ()


def find(snapshot: Snapshot, account: str, execute_uuid: str) -> Reading | None:
    """Return the reading of a ticket, None when no such ticket is watched."""
    wanted = (account, execute_uuid)
    readings = snapshot.readings
    return next((known for known in readings if (known.watch.account, known.watch.execute_uuid) == wanted), None)


def view(snapshot: Snapshot, reading: Reading, query: TicketQuery, desk: Desk, now: float) -> TicketView:
    """Return what is to be said of a ticket."""
    ticket, watch = reading.shown, reading.watch
    failures = sum(1 for _ in ticket.failures()) if ticket else 0
    head = timed(row(reading, failures, desk.links, show_logs=desk.show_logs), now)
    query = _sound(query, ticket)
    found = _asked(ticket, query) if ticket else []
    paging = paged(len(found), query.page)
    return TicketView(
        headline=_headline(head),
        now=now,
        age_seconds=None if reading.last_success is None else max(0.0, now - reading.last_success),
        interval_seconds=desk.interval,
        notices=_notices(snapshot, desk, watch.account, now),
        ticket=head,
        script_name=text.line(ticket.script_name) if ticket else "",
        creator=text.line(ticket.creator) if ticket else "",
        labels={text.line(name): text.line(value) for name, value in watch.labels.items()},
        console_url=desk.console_url(watch.account, watch.execute_uuid),
        success_rate_threshold=ticket.success_rate if ticket else None,
        current_batch=ticket.current_batch if ticket else None,
        count_disagreement=ticket.disagreement if ticket else 0,
        batches=tuple(_batch(batch, now) for batch in ticket.batches) if ticket else (),
        durations=_durations(tuple(ticket.executions())) if ticket else None,
        logs_shown=desk.show_logs,
        query=replace(query, page=paging.page),
        paging=paging,
        instances=tuple(_rows(cut(found, paging), show_logs=desk.show_logs)),
    )


def _notices(snapshot: Snapshot, desk: Desk, account: str, now: float) -> tuple[Notice, ...]:
    own = tuple(known for known in snapshot.accounts if known.name == account)
    return notices(replace(snapshot, accounts=own), desk, now)


def _headline(head: TicketRow) -> str:
    if head.status is None:
        if head.stale:
            return "Could not be read for so long that what was known is no longer shown"
        return "Not read yet" if head.fault is None else "Could not be read"
    if head.abnormal:
        total = words.count(head.instances, "instance")
        return f"{head.abnormal:,} of {total} {words.verb(head.abnormal)} ABNORMAL"
    return f"None of {words.count(head.instances, 'instance')} is ABNORMAL"


def _sound(query: TicketQuery, ticket: Ticket | None) -> TicketQuery:
    """Return the question without what this ticket does not have."""
    counts = ticket.counts if ticket else {}
    batches = {batch.index for batch in ticket.batches} if ticket else _NOT_READ
    return replace(
        query,
        status=query.status if query.status in counts else "",
        batch=query.batch if query.batch in batches else 0,
    )


def _asked(ticket: Ticket, query: TicketQuery) -> list[tuple[Batch, Instance]]:
    """Return the instances asked for, ABNORMAL ones first, else in the API's order."""
    found = [
        (batch, instance)
        for batch, instance in ticket.instances()
        if query.status in ("", instance.status) and query.batch in (0, batch.index)
    ]
    return sorted(found, key=lambda pair: pair[1].status != "ABNORMAL")


def _rows(pairs: Sequence[tuple[Batch, Instance]], *, show_logs: bool) -> Iterator[InstanceRow]:
    seen: Counter[str] = Counter()
    for batch, instance in pairs:
        name = anchor(batch, instance)
        seen[name] += 1
        # An API that repeats an id must not make a page with the same anchor twice.
        own = name if seen[name] == 1 else f"{name}-{seen[name]}"
        yield _instance(batch, instance, own, show_logs=show_logs)


def _instance(batch: Batch, instance: Instance, own: str, *, show_logs: bool) -> InstanceRow:
    host = instance.host
    logged = show_logs and instance.status == "ABNORMAL"
    return InstanceRow(
        id=instance.id,
        anchor=own,
        batch=batch.index,
        status=text.line(instance.status),
        created=instance.created,
        finished=instance.finished,
        duration_seconds=instance.duration,
        reason=text.line(instance.reason),
        host=text.line(host.label),
        host_name=text.line(host.host_name),
        fixed_ip=text.line(host.fixed_ip),
        resource_id=text.line(host.resource_id),
        region_id=text.line(host.region_id),
        zone_id=text.line(host.zone_id),
        application=text.line(host.application),
        group=text.line(host.group),
        log=text.log_tail(instance.log_tail) if logged else None,
        last_line=text.last_line(instance.log_tail) if logged else "",
    )


def _batch(batch: Batch, now: float) -> BatchRow:
    counts = batch.counts
    begun = [one for one in batch.instances if one.status != "READY"]
    started = min((one.created for one in begun if one.created is not None), default=None)
    ends = [one.finished for one in begun if one.finished is not None]
    ended = max(ends, default=None) if not any(counts[status] for status in _WAITING) else None
    until = now if ended is None else ended
    return BatchRow(
        batch=batch.index,
        stated=batch.stated,
        counts=dict(counts),
        started=started,
        ended=ended,
        running_seconds=None if started is None else max(0.0, until - started),
    )


def _durations(runs: Sequence[Execution]) -> Durations | None:
    if not runs:
        return None
    seconds = sorted(run.seconds for run in runs)
    return Durations(
        count=len(seconds),
        median_seconds=percentile(seconds, 0.5),
        p95_seconds=percentile(seconds, 0.95),
        longest_seconds=seconds[-1],
        bins=_bins(runs, seconds[-1]),
    )


def percentile(ascending: Sequence[float], part: float) -> float:
    """Return the nearest-rank percentile: a value that really occurred."""
    return ascending[max(0, math.ceil(part * len(ascending)) - 1)]


def _bins(runs: Sequence[Execution], longest: float) -> tuple[Bin, ...]:
    width = (longest or 1.0) / BINS
    places = [(min(BINS - 1, int(run.seconds / width)), run.status == "ABNORMAL") for run in runs]
    counts = Counter(places)
    return tuple(
        Bin(place * width, (place + 1) * width, counts[place, True], counts[place, False]) for place in range(BINS)
    )
