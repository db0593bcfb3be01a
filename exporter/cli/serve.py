"""``coc-exporter serve``: poll and hand out, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from exporter import __version__, config, log
from exporter.cli.wiring import Exporter
from exporter.clock import SystemClock
from exporter.errors import UsageError
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from exporter.config import Config

_logger = logging.getLogger(__name__)
_AUTO_RELOAD_INTERVAL = 5.0


def run(asked: argparse.Namespace) -> int:
    """Serve; return 0 after a signal."""
    telemetry = Telemetry(process=not asked.no_process_metrics)
    log.setup(asked.log_level, asked.log_format, lambda level: telemetry.log_messages.labels(level).inc())
    _logger.info("Starting coc-exporter", extra={"version": __version__, "pid": os.getpid()})
    asyncio.run(_serve(asked, telemetry))
    return 0


async def _serve(asked: argparse.Namespace, telemetry: Telemetry) -> None:
    async with _configured(asked) as loaded:
        exporter = Exporter(loaded, telemetry, SystemClock())
        try:
            await _until_stopped(asked, exporter)
        finally:
            await exporter.aclose()
    _logger.info("Stopped coc-exporter")


@asynccontextmanager
async def _configured(asked: argparse.Namespace) -> AsyncIterator[Config]:
    """Load the config, or play the API and make one for it."""
    if not asked.demo:
        if asked.config_file is None:
            raise UsageError("give --config.file=FILE, or --demo to see it work without one")
        yield config.load(asked.config_file)
        return
    from exporter.cli.demo import playing  # noqa: PLC0415  the simulator is loaded for the demo alone

    async with playing(asked.demo) as loaded:
        yield loaded
