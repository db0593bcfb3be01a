"""``coc-exporter simulate``: the COC API, played, for those who test against it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from exporter import log, simulator
from exporter.cli.playing import playing
from exporter.cli.signals import stopping
from exporter.errors import UsageError
from exporter.server import open_sockets, shown

if TYPE_CHECKING:
    import argparse

    from starlette.types import ASGIApp

_logger = logging.getLogger(__name__)


def run(asked: argparse.Namespace) -> int:
    """Play until told to stop; return 0."""
    log.setup(asked.log_level, asked.log_format)
    asyncio.run(_play(_app(asked), asked.listen))
    return 0


async def _play(app: ASGIApp, address: str) -> None:
    (listener,) = open_sockets([address])
    with stopping() as stop:
        async with playing(app, listener):
            _logger.info("Listening on", extra={"address": shown(listener)})
            await stop.wait()


def _app(asked: argparse.Namespace) -> ASGIApp:
    if asked.replay is not None:
        try:
            return simulator.replay(asked.replay)
        except simulator.BadRecordingError as error:
            raise UsageError(str(error)) from error
    plan = simulator.Plan(
        seed=asked.seed,
        tickets=asked.tickets,
        batches=asked.batches,
        instances=asked.instances,
        speed=asked.speed,
    )
    return simulator.build(plan)
