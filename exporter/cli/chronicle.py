"""
A ticket's whole past as OpenMetrics with timestamps.

Between two of its turns nothing about a ticket changes. So each family is written once for each turn, whatever time
lies between them, and memory holds what changed and not every sample.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

from exporter import families
from exporter.exposition import Format, write
from exporter.exposition.lines import sample_lines
from exporter.history import ticket_at, turns
from exporter.snapshot import Reading, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.samples import Sample

    from exporter.families import Family, Options
    from exporter.snapshot import Ticket

    Collector = Callable[[Snapshot, Options], Family]
    Lines = tuple[bytes, ...]
    Labels = tuple[tuple[str, str], ...]

_SHOWN_AFTER = 300.0

# What speaks of our polls, and what no time of the API tells.
_LEFT_OUT = frozenset(
    {
        "coc_ticket_count_disagreement",
        "coc_ticket_current_batch",
    }
)


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` until before ``end``, in Unix seconds, a sample each ``step`` seconds."""

    start: float
    end: float
    step: float

    def numbers(self, first: float, last: float) -> range:
        """Return which multiples of the step lie within the span, from ``first`` to ``last``."""
        begin = ceil(max(first, self.start) / self.step)
        return range(begin, max(begin, min(ceil(self.end / self.step), floor(last / self.step) + 1)))


class Tale:
    """What one family says of a ticket, from turn to turn."""

    def __init__(self, family: Collector, shown: Options) -> None:
        empty = family(Snapshot(), shown)
        self.name = empty.name
        self.header = write([empty], Format.OPENMETRICS)
        self._family = family
        self._shown = shown
        self._changes: defaultdict[Labels, list[tuple[int, Lines]]] = defaultdict(list)

    def goes_on(self, number: int, past: Snapshot) -> None:
        """Take up what the family says from this step on."""
        said = self._said(past)
        for metric in self._changes.keys() | said.keys():
            changes = self._changes[metric]
            if not changes or changes[-1][1] != said.get(metric, ()):
                changes.append((number, said.get(metric, ())))

    def lines(self, numbers: range, step: float) -> Iterator[bytes]:
        """Yield the sample lines of one metric after the other, each in the order of time."""
        for metric in sorted(self._changes):
            changes = self._changes[metric]
            ends = [number for number, _ in changes[1:]]
            for (begin, lines), end in zip(changes, [*ends, numbers.stop], strict=True):
                for number in range(begin, end):
                    yield b"".join(b"%s %r\n" % (line, number * step) for line in lines)

    def _said(self, past: Snapshot) -> dict[Labels, Lines]:
        family = self._family(past, self._shown)
        written = sample_lines(family, exemplars=False).split(b"\n")[:-1]
        said: defaultdict[Labels, list[bytes]] = defaultdict(list)
        for sample, line in zip(family.samples, written, strict=True):
            said[_metric(sample)].append(line)
        return {labels: tuple(lines) for labels, lines in said.items()}


def chronicle(reading: Reading, span: Span, shown: Options) -> Iterator[tuple[str, bytes, Iterator[bytes]]]:
    """Yield for each family its name, its header, and the sample lines of the ticket's whole past."""
    ticket = reading.ticket
    tales = [tale for tale in (Tale(family, shown) for family in families.OF_TICKETS) if tale.name not in _LEFT_OUT]
    numbers = range(0) if ticket is None else _numbers(ticket, span)
    if ticket is not None:
        for number in _turning(ticket, numbers, span.step):
            past = Reading(reading.watch, ticket_at(ticket, number * span.step))
            for tale in tales:
                tale.goes_on(number, Snapshot(readings=(past,)))
    return ((tale.name, tale.header, tale.lines(numbers, span.step)) for tale in tales)


def _numbers(ticket: Ticket, span: Span) -> range:
    if ticket.created is None:
        return range(0)
    return span.numbers(ticket.created, span.end if ticket.finished is None else ticket.finished + _SHOWN_AFTER)


def _turning(ticket: Ticket, numbers: range, step: float) -> list[int]:
    """Return the first step, and each other one at which the ticket is not what it was at the step before."""
    turned = {ceil(moment / step) for moment in turns(ticket)}
    return sorted({*numbers[:1], *(number for number in turned if number in numbers)})


def _metric(sample: Sample) -> Labels:
    """Return what tells a metric from the others of its family; the buckets of a histogram are one."""
    return tuple((name, value) for name, value in sample.labels.items() if name != "le")
