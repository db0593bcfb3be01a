"""``coc-exporter once``: one poll, printed."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from exporter import config, log
from exporter.cli import table
from exporter.cli.progress import bar
from exporter.cli.recorder import Recorder
from exporter.cli.wiring import Exporter
from exporter.clock import SystemClock
from exporter.errors import UsageError
from exporter.exposition import Encoding, Format, Variant
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from exporter.config import Config
    from exporter.snapshot import Snapshot


def run(asked: argparse.Namespace) -> int:
    """Poll once and print; return 1 when anything could not be read."""
    log.setup(asked.log_level, asked.log_format)
    snapshot, printed = asyncio.run(_poll(config.load(asked.config_file), asked))
    if asked.output is None:
        sys.stdout.buffer.write(printed)
    else:
        with replacing(asked.output) as file:
            file.write(printed)
    return 0 if whole(snapshot) else 1


async def _poll(loaded: Config, asked: argparse.Namespace) -> tuple[Snapshot, bytes]:
    recorder = None if asked.record is None else Recorder(asked.record)
    exporter = Exporter(loaded, Telemetry(process=False), SystemClock(), on_answer=recorder)
    try:
        async with bar("Reading tickets", exporter.poller.progress):
            await exporter.poller.once()
        snapshot = exporter.board.current
        if asked.format == "table":
            return snapshot, table.of_tickets(snapshot).encode()
        return snapshot, b"".join(await exporter.board.body(Variant(Format(asked.format), Encoding.IDENTITY)))
    finally:
        await exporter.aclose()


def whole(snapshot: Snapshot) -> bool:
    """Tell whether every account and every ticket could be read."""
    return all(account.fault is None for account in snapshot.accounts) and all(
        reading.up for reading in snapshot.readings
    )


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes the place of ``path`` at the end: a reader sees the old or the new; raise UsageError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        # mkstemp's 0600 would keep the node exporter's textfile collector from reading it.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        Path(name).unlink(missing_ok=True)
