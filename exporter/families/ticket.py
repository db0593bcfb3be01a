"""Families about tickets: identity, state, times, and how far they can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.families.family import GaugeFamily
from exporter.families.shape import IDENTITY, gauge_of_tickets, identity, shown
from exporter.snapshot import TICKET_STATUSES

if TYPE_CHECKING:
    from exporter.families.options import Options
    from exporter.snapshot import Snapshot

_DESCRIPTION = ("name", "script_name", "creator")


def info(snapshot: Snapshot, options: Options) -> GaugeFamily:
    """
    Describe the ticket, to be joined in PromQL.

        coc_ticket_info{account="prod",execute_uuid="SCT1",name="nightly",script_name="patch",creator="ops"} 1.0
    """
    described = [reading for reading in snapshot.readings if reading.shown is not None]
    family = GaugeFamily(
        "coc_ticket_info",
        "1, with the ticket's name, script, creator and the labels of the config.",
        labels=[*IDENTITY, *_DESCRIPTION, *options.ticket_labels],
    )
    for reading in described:
        ticket = reading.shown
        if ticket is not None:
            own = [reading.watch.labels.get(label.removeprefix("label_"), "") for label in options.ticket_labels]
            family.add_metric([*identity(reading), reading.name, ticket.script_name, ticket.creator, *own], 1)
    return family


def status(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell the ticket's own status: 1 for the one it is in, 0 for the others.

        coc_ticket_status{account="prod",execute_uuid="SCT1",status="PROCESSING"} 1.0
    """
    family = GaugeFamily("coc_ticket_status", "1 for the status that the ticket is in.", labels=[*IDENTITY, "status"])
    for labels, ticket in shown(snapshot):
        for name in dict.fromkeys((*TICKET_STATUSES, ticket.status)):
            family.add_metric([*labels, name], name == ticket.status)
    return family


def created(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell when the ticket was created.

        coc_ticket_created_timestamp_seconds{account="prod",execute_uuid="SCT1"} 1.767323045218e+09
    """
    return gauge_of_tickets(
        "coc_ticket_created_timestamp_seconds",
        "gmt_created of the ticket, in Unix seconds.",
        snapshot,
        lambda ticket: ticket.created,
    )


def finished(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell when the ticket ended; absent while the API says null.

        coc_ticket_finished_timestamp_seconds{account="prod",execute_uuid="SCT1"} 1.767323345218e+09
    """
    return gauge_of_tickets(
        "coc_ticket_finished_timestamp_seconds",
        "gmt_finished of the ticket, in Unix seconds; absent until it ended.",
        snapshot,
        lambda ticket: ticket.finished,
    )


def timeout(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell how long the ticket allows the script to run.

        coc_ticket_timeout_seconds{account="prod",execute_uuid="SCT1"} 300.0
    """
    return gauge_of_tickets(
        "coc_ticket_timeout_seconds",
        "execute_param.timeout: how long the script may run on an instance.",
        snapshot,
        lambda ticket: ticket.timeout,
    )


def success_rate_threshold(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell which share of a batch must succeed for the ticket to go on.

        coc_ticket_success_rate_threshold_ratio{account="prod",execute_uuid="SCT1"} 1.0
    """
    return gauge_of_tickets(
        "coc_ticket_success_rate_threshold_ratio",
        "execute_param.success_rate, from 0 to 1.",
        snapshot,
        lambda ticket: ticket.success_rate,
    )


def current_batch(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell which batch is executed.

        coc_ticket_current_batch{account="prod",execute_uuid="SCT1"} 2.0
    """
    return gauge_of_tickets(
        "coc_ticket_current_batch",
        "current_execute_batch_index of the ticket.",
        snapshot,
        lambda ticket: ticket.current_batch,
    )


def oldest_processing(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell since when the longest running instance runs; absent while none does.

        coc_ticket_oldest_processing_timestamp_seconds{account="prod",execute_uuid="SCT1"} 1.767323105e+09
    """
    return gauge_of_tickets(
        "coc_ticket_oldest_processing_timestamp_seconds",
        "Earliest gmt_created among PROCESSING instances, in Unix seconds; absent while none runs.",
        snapshot,
        lambda ticket: ticket.oldest_processing,
    )


def count_disagreement(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell by how many instances the API's statistics and its pages differ; absent where only some batches are watched.

        coc_ticket_count_disagreement{account="prod",execute_uuid="SCT1"} 0.0
    """
    return gauge_of_tickets(
        "coc_ticket_count_disagreement",
        "Instances by which the API's statistics and its pages differ; the pages are believed.",
        snapshot,
        lambda ticket: None if ticket.partial else ticket.disagreement,
    )


def ticket_up(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell whether the ticket's last reading was whole.

        coc_ticket_up{account="prod",execute_uuid="SCT1"} 1.0
    """
    family = GaugeFamily("coc_ticket_up", "1 when the last poll read the ticket whole.", labels=IDENTITY)
    for reading in snapshot.readings:
        if reading.tried is not None:
            family.add_metric(identity(reading), reading.up)
    return family


def last_success(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell when the ticket was last read whole; a settled ticket is not read again.

        coc_ticket_last_success_timestamp_seconds{account="prod",execute_uuid="SCT1"} 1.767323345e+09
    """
    family = GaugeFamily(
        "coc_ticket_last_success_timestamp_seconds",
        "When the ticket was last read whole, in Unix seconds; one that ended is not read again.",
        labels=IDENTITY,
    )
    for reading in snapshot.readings:
        if reading.last_success is not None:
            family.add_metric(identity(reading), reading.last_success)
    return family
