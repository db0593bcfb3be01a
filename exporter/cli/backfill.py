"""``coc-exporter backfill``: tickets of the past as OpenMetrics with timestamps, for promtool to make blocks of."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from math import floor
from typing import IO, TYPE_CHECKING, Self

from exporter import config, families, log, reasons
from exporter.cli.once import replacing
from exporter.cli.progress import bar
from exporter.cli.wiring import Exporter, options
from exporter.clock import SystemClock
from exporter.errors import UsageError
from exporter.exposition import Format, write
from exporter.history import ticket_at
from exporter.snapshot import Reading, Snapshot
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

    from exporter.config import Config
    from exporter.families import Options

    Family = Callable[[Snapshot, Options], Metric]

BLOCK = 2 * 3600.0
"""Seconds of a block of Prometheus: promtool makes a block of each span that begins at a multiple of it."""

_SHOWN_AFTER = 300.0
_EOF = b"# EOF\n"

# What speaks of our polls, and what no time of the API tells.
_LEFT_OUT = frozenset(
    {
        "coc_ticket_up",
        "coc_ticket_last_success_timestamp_seconds",
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

    def moments(self, first: float, last: float) -> Iterator[float]:
        """Yield the multiples of the step within the span, from ``first`` to ``last``."""
        number = -floor(-max(first, self.start) / self.step)
        moments = (count * self.step for count in range(number, sys.maxsize))
        return takewhile(lambda moment: moment < self.end and moment <= last, moments)


def run(asked: argparse.Namespace) -> int:
    """Write the file; return 1 when any ticket could not be read."""
    log.setup(asked.log_level, asked.log_format)
    loaded = config.load(asked.config_file, check_pattern=reasons.fault)
    span = aligned(moment(asked.start), moment(asked.end), loaded.poll.interval, SystemClock().time())
    complete = asyncio.run(_backfill(loaded, span, asked))
    return 0 if complete else 1


def aligned(start: float, end: float, step: float, now: float) -> Span:
    """Return the span widened to whole blocks, without the one that Prometheus may still be writing to."""
    first = floor(start / BLOCK) * BLOCK
    last = min(-floor(-end / BLOCK), floor(now / BLOCK)) * BLOCK
    if last <= first:
        raise UsageError("--end is not after --start, or there is no whole block of two hours before now between them")
    return Span(first, last, step)


def moment(text: str) -> float:
    """Return the Unix seconds of a time like ``2026-01-02T03:04:05Z`` or of plain seconds; raise UsageError."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time: write 2026-01-02T03:04:05Z or Unix seconds") from error
    return (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()


async def _backfill(loaded: Config, span: Span, asked: argparse.Namespace) -> bool:
    exporter = Exporter(loaded, Telemetry(process=False), SystemClock())
    try:
        async with bar("Reading tickets", exporter.poller.progress):
            await exporter.poller.once()
    finally:
        await exporter.aclose()
    readings = exporter.board.current.readings
    written = 0
    with replacing(asked.output) as file, _Parts() as parts:
        async with bar("Writing tickets", lambda: (written, len(readings))):
            for reading in readings:
                await asyncio.to_thread(parts.add, reading, span, options(loaded))
                written += 1
        parts.join(file)
    return all(reading.up for reading in readings)


class _Parts:
    """A file for each family: a family's samples must stand together, and tickets come one by one."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._files: dict[str, tuple[bytes, IO[bytes]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def add(self, reading: Reading, span: Span, shown: Options) -> None:
        """Write the history of one ticket."""
        for name, header, lines in told(reading, span, shown):
            if name not in self._files:
                self._files[name] = header, self._stack.enter_context(_unnamed_file())
            self._files[name][1].write(lines)

    def join(self, file: IO[bytes]) -> None:
        """Write every family to ``file``."""
        for header, part in self._files.values():
            file.write(header)
            part.seek(0)
            while chunk := part.read(1 << 20):
                file.write(chunk)
        file.write(_EOF)


def _unnamed_file() -> IO[bytes]:
    return tempfile.TemporaryFile()


def told(reading: Reading, span: Span, shown: Options) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield for each family its name, its header, and the sample lines of a ticket's whole history."""
    moments = list(_moments(reading, span))
    for family in families.OF_TICKETS:
        metric = family(Snapshot(), shown)
        header = write([metric], Format.OPENMETRICS)
        if metric.name not in _LEFT_OUT:
            metric.samples = _ordered(sample for when in moments for sample in _samples(family, reading, when, shown))
            yield metric.name, header, write([metric], Format.OPENMETRICS).removeprefix(header)


def _moments(reading: Reading, span: Span) -> Iterator[float]:
    ticket = reading.ticket
    if ticket is None or ticket.created is None:
        return iter(())
    last = span.end if ticket.finished is None else ticket.finished + _SHOWN_AFTER
    return span.moments(ticket.created, last)


def _samples(family: Family, reading: Reading, when: float, shown: Options) -> Iterator[Sample]:
    if reading.ticket is not None:
        past = Reading(reading.watch, ticket_at(reading.ticket, when))
        for sample in family(Snapshot(readings=(past,)), shown).samples:
            yield sample._replace(timestamp=when, exemplar=None)


def _ordered(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples with those of one metric together, each metric in the order of time."""
    metrics: defaultdict[tuple[tuple[str, str], ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        metrics[tuple((name, value) for name, value in sample.labels.items() if name != "le")].append(sample)
    return [sample for metric in metrics.values() for sample in metric]
