"""The small pieces that families are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.families.family import GaugeFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.families.options import Options
    from exporter.snapshot import Reading, Snapshot, Ticket

IDENTITY = ["account", "execute_uuid"]


def identity(reading: Reading) -> list[str]:
    """Return the label values every ticket's sample begins with."""
    return [reading.watch.account, reading.watch.execute_uuid]


def shown(snapshot: Snapshot) -> Iterator[tuple[list[str], Ticket]]:
    """Yield each ticket that is to be shown, with its identity."""
    for reading in snapshot.readings:
        if reading.shown is not None:
            yield identity(reading), reading.shown


def places(ticket: Ticket, options: Options) -> list[tuple[str, ...]]:
    """Return the label values of each place that is told apart: each batch, or the ticket as a whole."""
    return list(dict.fromkeys(batch_values(batch.index, options) for batch in ticket.batches)) or _nowhere(options)


def _nowhere(options: Options) -> list[tuple[str, ...]]:
    return [] if options.per_batch else [()]


def batch_labels(options: Options) -> list[str]:
    """Return the identity labels of a family that tells batches apart, if the config wants that."""
    return [*IDENTITY, "batch"] if options.per_batch else IDENTITY


def batch_values(index: int, options: Options) -> tuple[str, ...]:
    """Return the label values that tell the batch."""
    return (str(index),) if options.per_batch else ()


def gauge_of_tickets(
    name: str, documentation: str, snapshot: Snapshot, value: Callable[[Ticket], float | None]
) -> GaugeFamily:
    """Return a gauge with one sample for each ticket whose value is known."""
    family = GaugeFamily(name, documentation, labels=IDENTITY)
    for labels, ticket in shown(snapshot):
        number = value(ticket)
        if number is not None:
            family.add_metric(labels, number)
    return family
