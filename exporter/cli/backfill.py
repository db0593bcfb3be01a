"""
``coc-exporter backfill``: tickets of the past as OpenMetrics with timestamps, for promtool to make blocks of.

Tickets are read, written and forgotten one by one, so that memory does not grow with their number.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import deque
from contextlib import ExitStack
from datetime import UTC, datetime
from math import floor
from typing import IO, TYPE_CHECKING, Self

from exporter import config, log, reasons
from exporter.cli.chronicle import Span, chronicle
from exporter.cli.once import replacing
from exporter.cli.progress import bar
from exporter.cli.wiring import Exporter, options
from exporter.clock import SystemClock
from exporter.errors import ApiError, UsageError
from exporter.poller.visit import visit
from exporter.snapshot import Reading
from exporter.sources import past
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Coroutine, Iterable
    from pathlib import Path

    from exporter.api import Api
    from exporter.config import Config
    from exporter.families import Options
    from exporter.snapshot import Watch

_logger = logging.getLogger(__name__)

BLOCK = 2 * 3600.0
"""Seconds of a block of Prometheus: promtool makes a block of each span that begins at a multiple of it."""

_EOF = b"# EOF\n"


def run(asked: argparse.Namespace) -> int:
    """Write the file; return 1 when any ticket could not be read."""
    log.setup(asked.log_level, asked.log_format)
    loaded = config.load(asked.config_file, check_pattern=reasons.fault)
    span = aligned(moment(asked.start), moment(asked.end), loaded.poll.interval, SystemClock().time())
    return 0 if asyncio.run(_backfill(loaded, span, asked.output)) else 1


async def _backfill(loaded: Config, span: Span, output: Path) -> bool:
    backfill = Backfill(loaded, span)
    await backfill.write(output)
    return backfill.complete


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


class Backfill:
    """Reads the tickets of a span and writes them; ``complete`` tells whether all of them could be read."""

    def __init__(self, loaded: Config, span: Span) -> None:
        # Logs are needed for the reasons alone.
        quiet = loaded.model_copy(update={"web": loaded.web.model_copy(update={"show_logs": False})})
        self._exporter = Exporter(quiet, Telemetry(process=False), SystemClock())
        self._span = span
        self._options = options(loaded)
        self._at_once = loaded.poll.concurrency
        self._written = self._found = 0
        self.complete = True

    async def write(self, output: Path) -> None:
        """Write the past of every ticket."""
        try:
            with replacing(output) as file, Parts() as parts:
                async with bar("Writing tickets", lambda: (self._written, self._found)):
                    found = await self._watches()
                    readings = (self._read(api, watch) for api, watch in found)
                    async for reading in in_order(readings, self._at_once):
                        await asyncio.to_thread(parts.add, reading, self._span, self._options)
                        self._written += 1
                parts.join(file)
            _logger.info("Written", extra={"tickets": self._written, "file": str(output)})
        finally:
            await self._exporter.aclose()

    async def _watches(self) -> list[tuple[Api, Watch]]:
        found: list[tuple[Api, Watch]] = []
        for poller in self._exporter.poller.accounts:
            try:
                watches = await past(poller.account, poller.api, self._span.start, self._span.end)
            except ApiError as error:
                self._missed(error, account=poller.account.name)
            else:
                found += [(poller.api, watch) for watch in watches]
            self._found = len(found)
        return found

    async def _read(self, api: Api, watch: Watch) -> Reading:
        try:
            return Reading(watch, await visit(api, watch, None, full=True))
        except ApiError as error:
            self._missed(error, account=watch.account, ticket=watch.execute_uuid)
            return Reading(watch)

    def _missed(self, error: ApiError, **what: str) -> None:
        self.complete = False
        _logger.error("Not in the file, for it could not be read", extra={**what, "err": str(error)})


async def in_order(readings: Iterable[Coroutine[None, None, Reading]], at_once: int) -> AsyncIterator[Reading]:
    """Yield what the coroutines return, in their order; no more than ``at_once`` are under way or wait to be taken."""
    ahead: deque[asyncio.Task[Reading]] = deque()
    for reading in readings:
        ahead.append(asyncio.create_task(reading))
        if len(ahead) >= at_once:
            yield await ahead.popleft()
    while ahead:
        yield await ahead.popleft()


class Parts:
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
        for name, header, lines in chronicle(reading, span, shown):
            if name not in self._files:
                self._files[name] = header, self._stack.enter_context(_unnamed_file())
            self._files[name][1].writelines(lines)

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
