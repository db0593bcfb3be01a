"""
A ticket as it was: its past told from the times of what it has become.

An instance was READY before its ``gmt_created``, PROCESSING until its ``gmt_finished``, and then what it is now. Runs
before a retry are told by nothing, so they are missing, and so are a ticket's pauses: until its end it is PROCESSING.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from exporter.snapshot import ENDED_STATUSES, Batch, Statistics, StatusCount, Ticket

if TYPE_CHECKING:
    from exporter.snapshot import Instance


def turns(ticket: Ticket) -> set[float]:
    """Return the times, in Unix seconds, between which nothing about the ticket changed."""
    told = {ticket.created, ticket.finished}
    for _, instance in ticket.instances():
        told |= {instance.created, instance.finished}
    return {moment for moment in told if moment is not None}


def ticket_at(ticket: Ticket, moment: float) -> Ticket:
    """Return the ticket as it was at ``moment``, in Unix seconds."""
    batches = tuple(_batch_at(batch, ticket, moment) for batch in ticket.batches)
    over = ticket.finished is not None and moment >= ticket.finished
    past = Ticket(
        execute_uuid=ticket.execute_uuid,
        status=ticket.status if over else "PROCESSING",
        created=ticket.created,
        finished=ticket.finished if over else None,
        creator=ticket.creator,
        script_name=ticket.script_name,
        timeout=ticket.timeout,
        success_rate=ticket.success_rate,
        batches=batches,
    )
    # The pages are all there is, so nothing disagrees with them.
    rows = tuple(StatusCount(status, count, frozenset()) for status, count in past.counts.items())
    return replace(past, statistics=Statistics(sum(past.counts.values()), rows))


def _batch_at(batch: Batch, ticket: Ticket, moment: float) -> Batch:
    return Batch.of(batch.index, batch.stated, [_instance_at(each, ticket, moment) for each in batch.instances])


def _instance_at(instance: Instance, ticket: Ticket, moment: float) -> Instance:
    # One that was cancelled before it ran has no times of its own: it ended with the ticket.
    finished = instance.finished if instance.finished is not None else ticket.finished
    created = instance.created if instance.created is not None else finished
    if instance.status in ENDED_STATUSES and finished is not None and moment >= finished:
        return instance
    began = created is not None and moment >= created and instance.created is not None
    status = "PROCESSING" if began else "READY"
    return msgspec.structs.replace(instance, status=status, finished=None, duration=None, reason="", log_tail="")
