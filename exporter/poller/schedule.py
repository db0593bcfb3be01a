"""When a ticket is due, and in which order: running ones at each poll, waiting ones more rarely, settled ones never."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.snapshot import Reading

_WAITING = frozenset({"ABNORMAL", "PAUSED"})
_WAITING_POLLS = 4


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often tickets are read; all in seconds."""

    interval: float
    stale_after: float
    full_refresh: float

    @property
    def waiting(self) -> float:
        """Seconds between two readings of a ticket that waits for an operator."""
        return min(self.interval * _WAITING_POLLS, max(self.interval, self.stale_after / 2))


def due(readings: Iterable[Reading], now: float, cadence: Cadence) -> list[Reading]:
    """Return the readings to be renewed, those tried longest ago first: theirs is the oldest data."""
    wanted = [reading for reading in readings if _is_due(reading, now, cadence)]
    return sorted(wanted, key=_age_key)


def needs_full(reading: Reading, now: float, cadence: Cadence) -> bool:
    """Tell whether every batch is to be read again."""
    return reading.refreshed is None or not 0 <= now - reading.refreshed < cadence.full_refresh


def is_stale(reading: Reading, now: float, stale_after: float) -> bool:
    """Tell whether a ticket that cannot be read is too old to be shown."""
    if reading.fault is None or reading.last_success is None:
        return False
    # A clock set back leaves the age unknown, which is as bad as old.
    return not 0 <= now - reading.last_success < stale_after


def _is_due(reading: Reading, now: float, cadence: Cadence) -> bool:
    if reading.settled:
        return False
    if reading.ticket is None or reading.fault is not None or reading.tried is None:
        return True
    if reading.ticket.status not in _WAITING:
        return True
    # Half an interval of grace, so that a poll that begins a little early does not skip a turn.
    return not 0 <= now - reading.tried < cadence.waiting - cadence.interval / 2


def _age_key(reading: Reading) -> tuple[float, str]:
    # Not by the last success: tickets that can never be read would for ever go before all others.
    return reading.tried if reading.tried is not None else float("-inf"), reading.watch.execute_uuid
