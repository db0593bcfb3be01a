"""Tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.snapshot import STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.snapshot import Reading, Snapshot


def of_tickets(snapshot: Snapshot) -> str:
    """Return a row for each ticket, and a line for each account that could not be read."""
    head = ("ACCOUNT", "TICKET", "NAME", "STATUS", *STATUSES, "FAILURES", "ERROR")
    rows = [_row(reading) for reading in snapshot.readings]
    faults = [
        f"account {state.name}: {state.fault.message}\n" for state in snapshot.accounts if state.fault is not None
    ]
    return aligned(head, rows) + "".join(faults)


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows under their head in aligned columns."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _row(reading: Reading) -> tuple[str, ...]:
    ticket = reading.shown
    error = "" if reading.fault is None else reading.fault.message
    if ticket is None:
        return (
            reading.watch.account,
            reading.watch.execute_uuid,
            _plain(reading.name),
            "-",
            *("-" for _ in STATUSES),
            "-",
            error,
        )
    counts = (str(ticket.counts.get(status, 0)) for status in STATUSES)
    failures = str(sum(1 for _ in ticket.failures()))
    return (
        reading.watch.account,
        reading.watch.execute_uuid,
        _plain(reading.name),
        ticket.status,
        *counts,
        failures,
        error,
    )


def _plain(text: str) -> str:
    """Return text of the API without what could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
