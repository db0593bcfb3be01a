"""
Which readings are held: taken up when a ticket comes under watch, let go when it is over. Pure.

Where nothing changed, the same object comes back: what was rendered or stored of it stays good.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exporter.errors import NotFound
from exporter.poller.schedule import is_stale
from exporter.snapshot import Reading
from exporter.sources import Followed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from exporter.poller.schedule import Cadence
    from exporter.snapshot import Watch

Readings = dict[str, Reading]
"""By execute_uuid."""


def adopted(held: Mapping[str, Reading], watches: Iterable[Watch]) -> Readings:
    """Return a reading for each watch, what is held of its ticket if there is any."""
    return {watch.execute_uuid: _adopted(held.get(watch.execute_uuid), watch) for watch in watches}


def _adopted(held: Reading | None, watch: Watch) -> Reading:
    # Of other batches nothing is known.
    if held is None or held.watch.batches != watch.batches:
        return Reading(watch)
    return held if held.watch == watch else replace(held, watch=watch)


def followed(held: Mapping[str, Reading], now: float, longest: float) -> Iterator[Followed]:
    """
    Yield the tickets that discovery found once and that are not over, whether or not its filters still let them pass.

    One that could not be read for ``longest`` seconds is gone, and sooner one that the API says it does not know.
    """
    for reading in held.values():
        if reading.watch.listed or reading.ticket is None or reading.last_success is None:
            continue
        if reading.stale and reading.fault is not None and reading.fault.reason == NotFound.reason:
            continue
        if reading.fault is None or now - reading.last_success <= longest:
            yield Followed(reading.watch, reading.ticket.created)


def aged(held: Mapping[str, Reading], now: float, cadence: Cadence, keep_finished: float) -> Readings:
    """Return what is still held: too old data is marked as stale, discovered tickets that are long over are gone."""
    return {
        uuid: _aged(reading, now, cadence)
        for uuid, reading in held.items()
        if not _long_over(reading, now, keep_finished)
    }


def _aged(reading: Reading, now: float, cadence: Cadence) -> Reading:
    if reading.stale or not is_stale(reading, now, cadence.stale_after):
        return reading
    return replace(reading, stale=True, refreshed=None)


def _long_over(reading: Reading, now: float, keep_finished: float) -> bool:
    """Tell whether a discovered ticket ended long enough ago to be shown no more; by the same times as the listing."""
    if reading.watch.listed or reading.ticket is None or not reading.settled:
        return False
    ticket = reading.ticket
    ended = ticket.finished if ticket.finished is not None else ticket.created
    return ended is not None and now - ended > keep_finished
