"""The pictures' geometry, from numbers only: nothing that came from outside is ever drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.snapshot import STATUSES, TICKET_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exporter.pages.models import BatchRow, Durations, TicketRow

PLOT_HEIGHT = 84
_LEAST = 2.5
"""Part of a bar, in per cent, that even one instance of ten thousand gets: what failed must be seen."""

_ORDER = ("FINISHED", "ABNORMAL", "PROCESSING", "ROLLBACKED", "CANCELED", "READY")
_FAR_RIGHT = 62


@dataclass(frozen=True, slots=True)
class Segment:
    """A status in a bar; ``x`` and ``width`` in per cent."""

    status: str
    style: str
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Column:
    """A bin of the histogram: ``x`` and ``width`` in per cent, heights in pixels, ABNORMAL on top."""

    x: float
    width: float
    other: float
    abnormal: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A percentile's line in the histogram, its label left or right of it."""

    x: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Span:
    """A batch's bar on the time axis, in per cent."""

    x: float
    width: float


def style(status: str | None) -> str:
    """Return the class by which the stylesheet colours a status."""
    return status.lower() if status in TICKET_STATUSES and status else "unknown"


def segments(counts: Mapping[str, int]) -> tuple[Segment, ...]:
    """Return a bar's parts, in the order in which work is done."""
    present = [(status, counts[status]) for status in _ordered(counts) if counts[status] > 0]
    total = sum(count for _, count in present)
    widths = _widths([100 * count / total for _, count in present])
    starts = [sum(widths[:place]) for place in range(len(widths))]
    return tuple(
        Segment(status, style(status), count, round(start, 2), round(width, 2))
        for (status, count), start, width in zip(present, starts, widths, strict=True)
    )


def _ordered(counts: Mapping[str, int]) -> Iterable[str]:
    return (*(name for name in _ORDER if name in counts), *sorted(set(counts) - set(STATUSES)))


def _widths(shares: Sequence[float]) -> list[float]:
    raised = [max(share, _LEAST) for share in shares]
    return [100 * width / sum(raised) for width in raised]


def columns(durations: Durations) -> tuple[Column, ...]:
    """Return the histogram's columns."""
    width = 100 / len(durations.bins)
    tallest = max(part.abnormal + part.other for part in durations.bins)
    scale = PLOT_HEIGHT / tallest
    return tuple(
        Column(round(place * width, 2), round(width, 2), round(part.other * scale, 1), round(part.abnormal * scale, 1))
        for place, part in enumerate(durations.bins)
        if part.abnormal or part.other
    )


def mark(seconds: float, durations: Durations) -> Mark:
    """Return where a percentile stands."""
    x = round(100 * seconds / durations.longest_seconds, 2) if durations.longest_seconds else 0.0
    return Mark(x, "end" if x > _FAR_RIGHT else "start")


def spans(batches: Sequence[BatchRow], ticket: TicketRow, now: float) -> tuple[Span | None, ...]:
    """Return each batch's bar on the axis from the first start to the last end, None for those that wait."""
    known = [batch for batch in batches if batch.started is not None]
    begin = min((batch.started or 0.0 for batch in known), default=now)
    if ticket.created is not None:
        begin = min(begin, ticket.created)
    end = max((now if batch.ended is None else batch.ended for batch in known), default=now)
    return tuple(_span(batch, begin, max(end - begin, 1.0), now) for batch in batches)


def _span(batch: BatchRow, begin: float, length: float, now: float) -> Span | None:
    if batch.started is None:
        return None
    until = now if batch.ended is None else batch.ended
    x = min(99.0, max(0.0, 100 * (batch.started - begin) / length))
    width = 100 * (until - batch.started) / length
    return Span(round(x, 2), round(min(100 - x, max(1.0, width)), 2))
