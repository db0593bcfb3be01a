"""
Which batches can have changed since a ticket was last read, told from its statistics alone.

Statistics cost one request for the whole ticket; a batch costs at least one. A batch is read again only when the
statistics contradict what we hold of it, or leave room for a change that they do not show batch by batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.snapshot import FINAL_STATUSES

if TYPE_CHECKING:
    from exporter.snapshot import Batch, Statistics, Ticket


def changed_batches(held: Ticket, now: Statistics) -> frozenset[int]:
    """Return the indexes of the held ticket's batches that can differ from what we hold."""
    moved = _moved_statuses(held.statistics, now)
    if not moved and now.total == held.statistics.total:
        return frozenset()
    if any(row.count and not row.batches for row in now.rows):
        return frozenset(batch.index for batch in held.batches if _live(batch))
    told = {batch.index: _told_statuses(batch.index, now) for batch in held.batches}
    return frozenset(batch.index for batch in held.batches if _can_differ(batch, told[batch.index], moved))


def _moved_statuses(before: Statistics, now: Statistics) -> set[str]:
    """Return the statuses whose rows differ."""
    rows_before = {row.status: row for row in before.rows}
    rows_now = {row.status: row for row in now.rows}
    return {
        status for status in rows_before.keys() | rows_now.keys() if rows_before.get(status) != rows_now.get(status)
    }


def _told_statuses(index: int, statistics: Statistics) -> set[str]:
    return {row.status for row in statistics.rows if row.count and index in row.batches}


def _can_differ(batch: Batch, told: set[str], moved: set[str]) -> bool:
    held = {instance.status for instance in batch.instances}
    # The API's example leaves the row of ROLLBACKED out: what is held final and told of nowhere has not moved.
    if held - told - FINAL_STATUSES or told - held:
        return True
    # Of several statuses in one batch, a count can pass from one to another while both remain.
    return len(held) > 1 and _live(batch) and bool(held & moved)


def _live(batch: Batch) -> bool:
    return any(instance.status not in FINAL_STATUSES for instance in batch.instances)
