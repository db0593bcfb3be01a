"""``coc-exporter simulate``: the COC API, played, for those who test against it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from exporter import log, simulator
from exporter.cli.listening import bound
from exporter.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from starlette.types import ASGIApp

_logger = logging.getLogger(__name__)


def run(asked: argparse.Namespace) -> int:
    """Play until interrupted; return 0."""
    log.setup(asked.log_level, asked.log_format)
    asyncio.run(simulator.play(_app(asked), bound(asked.listen)))
    return 0


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
