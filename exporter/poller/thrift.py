"""
Which batches can have changed since a ticket was last read, told from its statistics alone.

Statistics cost one request for the whole ticket; a batch costs at least one. First the batches are read again that the
statistics speak of as changed; then, as long as pages and statistics differ by more than they did before, those that
can account for it. What is missed in the end has cancelled out: it left no count of the ticket and no status of a
batch other than it was.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from exporter.snapshot import ENDED_STATUSES, FINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from exporter.snapshot import Batch, Statistics, Ticket


def changed_batches(held: Ticket, now: Statistics) -> frozenset[int]:
    """Return the indexes of the held ticket's batches that can differ from what we hold."""
    before = held.statistics
    if now.total != before.total:
        return frozenset(batch.index for batch in held.batches)
    moved = _moved_statuses(before, now)
    if not moved:
        return frozenset()
    if any(row.count and not row.batches for row in now.rows):
        return unsettled_batches(held)
    spoken = _spoken(before, now)
    told = {batch.index: _told_statuses(batch.index, now) for batch in held.batches}
    return frozenset(batch.index for batch in held.batches if _can_differ(batch, told[batch.index], moved, spoken))


def unexplained_batches(held: Ticket, fresh: Mapping[int, Batch], now: Statistics) -> frozenset[int]:
    """Return the indexes of the batches not yet read again that can account for what the statistics tell since."""
    unread = [batch for batch in held.batches if batch.index not in fresh]
    gaps = Counter(_gaps(held.batches, held.statistics))
    gaps.subtract(_gaps((*unread, *fresh.values()), now))
    astray = {status for status in _spoken(held.statistics, now) if gaps[status]}
    suspects = [batch for batch in unread if _statuses(batch) & astray]
    # A count passes from one status of a batch to another; only what the API lists nowhere leaves a single one.
    likely = [batch for batch in suspects if len(_statuses(batch)) > 1]
    return frozenset(batch.index for batch in likely or suspects)


def unsettled_batches(held: Ticket) -> frozenset[int]:
    """Return the indexes of the batches with an instance that can still change."""
    return frozenset(batch.index for batch in held.batches if _statuses(batch) - FINAL_STATUSES)


def doubtful_batches(held: Ticket | None, ticket: Ticket, read: Collection[int]) -> frozenset[int]:
    """
    Return which of the batches just read are to be read once more whatever the statistics tell next.

    Where pages and statistics differ otherwise than before, a batch moved between the two. Should it move back, the
    next statistics would equal the last ones.
    """
    before = {} if held is None else _differences(held)
    # Of a few batches' share in the statistics nothing is known.
    if ticket.partial or _differences(ticket) == before:
        return frozenset()
    return unsettled_batches(ticket).intersection(read)


def _differences(ticket: Ticket) -> dict[str, int]:
    return {status: gap for status, gap in _gaps(ticket.batches, ticket.statistics).items() if gap}


def _moved_statuses(before: Statistics, now: Statistics) -> set[str]:
    """Return the statuses whose rows differ."""
    rows_before = {row.status: row for row in before.rows}
    rows_now = {row.status: row for row in now.rows}
    return {
        status for status in rows_before.keys() | rows_now.keys() if rows_before.get(status) != rows_now.get(status)
    }


def _spoken(before: Statistics, now: Statistics) -> set[str]:
    """Return the statuses that have a row: the API's own example leaves the one of ROLLBACKED out."""
    return {row.status for row in (*before.rows, *now.rows)}


def _told_statuses(index: int, statistics: Statistics) -> set[str]:
    return {row.status for row in statistics.rows if row.count and index in row.batches}


def _statuses(batch: Batch) -> set[str]:
    return set(batch.counts)


def _can_differ(batch: Batch, told: set[str], moved: set[str], spoken: set[str]) -> bool:
    held = _statuses(batch)
    if told - held or (held - told) & spoken:
        return True
    # Of several statuses in a batch that runs, a count can pass from one to another while both remain.
    return len(held) > 1 and bool(held - ENDED_STATUSES) and bool(held & moved)


def _gaps(batches: Iterable[Batch], statistics: Statistics) -> dict[str, int]:
    counts = Counter[str]()
    for batch in batches:
        counts.update(batch.counts)
    counts.subtract(statistics.counts())
    return dict(counts)
