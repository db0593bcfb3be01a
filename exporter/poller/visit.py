"""One visit to one ticket: whole or not at all, and no request more than the truth needs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from exporter.poller.ledger import carried
from exporter.poller.thrift import changed_batches, doubtful_batches, unexplained_batches, unsettled_batches
from exporter.snapshot import FINAL_STATUSES, TICKET_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.api import Api
    from exporter.snapshot import Batch, Statistics, Ticket, Watch

_QUIET = frozenset(TICKET_STATUSES) - {"PROCESSING"}
"""The statuses that a ticket in which nothing runs can keep for long."""


async def visit(api: Api, watch: Watch, held: Ticket | None, *, full: bool) -> Ticket:
    """
    Return the ticket as it is now; raise an ApiError when any request that it needed failed.

    ``held`` is the ticket as last read whole; ``full`` reads every batch again.
    """
    # Before the pages: what changes in between is then seen as a change by the next visit, or is doubtful.
    statistics = await api.statistics(watch.execute_uuid)
    if held is None or full or _batches_unknown(held, statistics):
        ticket = await _read_all(api, watch, held, statistics)
    else:
        ticket = await _read_changes(api, watch, held, statistics)
    if ticket is held:
        return held
    if ticket.settled and ticket.disagreement:
        # There is no next visit: what changed in between would look like a contradiction for ever.
        ticket = replace(ticket, statistics=await api.statistics(watch.execute_uuid))
    told = carried(held, ticket)
    # The same object where nothing changed: what was rendered and stored of it stays good.
    return held if held == told else told


async def _read_all(api: Api, watch: Watch, held: Ticket | None, statistics: Statistics) -> Ticket:
    facts = await api.ticket(watch.execute_uuid)
    indexes = await api.batches(watch.execute_uuid)
    wanted = [index for index in indexes if not watch.batches or index in watch.batches]
    fresh = await _read_batches(api, watch.execute_uuid, wanted)
    batches = tuple(fresh[index] for index in wanted)
    ticket = replace(facts, statistics=statistics, batches=batches, partial=len(wanted) < len(indexes))
    return replace(ticket, doubtful=doubtful_batches(held, ticket, wanted))


async def _read_changes(api: Api, watch: Watch, held: Ticket, statistics: Statistics) -> Ticket:
    differs = _facts_can_differ(held, statistics)
    if not differs and not held.doubtful:
        # The same statistics explain themselves: most running tickets, at most polls.
        return held
    facts, stale = held, changed_batches(held, statistics)
    if differs:
        facts = await api.ticket(watch.execute_uuid)
        if facts.status in FINAL_STATUSES:
            # Read after the end, for it is the last time.
            stale |= unsettled_batches(held)
    fresh = await _read_batches(api, watch.execute_uuid, stale | held.doubtful)
    while not held.partial and (more := unexplained_batches(held, fresh, statistics)):
        fresh |= await _read_batches(api, watch.execute_uuid, more)
    # What was in doubt and is as it was, is not in doubt any more.
    confirmed = {batch.index for batch in held.batches if fresh.get(batch.index) == batch} & held.doubtful - stale
    batches = tuple(fresh.get(batch.index, batch) for batch in held.batches)
    ticket = replace(facts, statistics=statistics, batches=batches, partial=held.partial)
    return replace(ticket, doubtful=doubtful_batches(held, ticket, fresh.keys() - confirmed))


async def _read_batches(api: Api, execute_uuid: str, indexes: Iterable[int]) -> dict[int, Batch]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {index: group.create_task(api.batch(execute_uuid, index)) for index in indexes}
    except ExceptionGroup as failed:
        # One batch that cannot be read is reason enough; the others were cancelled for it.
        raise failed.exceptions[0] from None
    return {index: task.result() for index, task in tasks.items()}


def _batches_unknown(held: Ticket, statistics: Statistics) -> bool:
    """Tell whether the statistics speak of a batch that was not there before."""
    told = {index for row in statistics.rows for index in row.batches}
    before = {index for row in held.statistics.rows for index in row.batches}
    return not told <= before | {batch.index for batch in held.batches}


def _facts_can_differ(held: Ticket, statistics: Statistics) -> bool:
    """Tell whether the ticket's own status can have changed; with nothing running it can without a trace."""
    idle = held.status not in _QUIET and not statistics.counts().get("PROCESSING")
    return idle or statistics != held.statistics
