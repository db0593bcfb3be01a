"""``coc-exporter serve``: poll and hand out, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter import __version__, config, log, pauses, reasons
from exporter.cli.aside import Aside
from exporter.cli.reload import Reloader
from exporter.cli.signals import set_by, stopping
from exporter.cli.site import Front, prefix
from exporter.cli.wiring import Exporter
from exporter.clock import SystemClock
from exporter.errors import UsageError
from exporter.server import WebConfigFile, notify, open_sockets, serve, shown
from exporter.sharding import Shard
from exporter.telemetry import Telemetry
from exporter.watchdog import watch_loop

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Coroutine, Sequence

    from exporter.config import Config
    from exporter.storage import Storage

_logger = logging.getLogger(__name__)
_DEFAULT_ADDRESS = ":10262"


def run(asked: argparse.Namespace) -> int:
    """Serve; return 0 after a signal."""
    if asked.shard >= asked.total_shards:
        raise UsageError(f"--shard counts from 0: with --total-shards={asked.total_shards} it is below that")
    telemetry = Telemetry(process=not asked.no_process_metrics)
    log.setup(asked.log_level, asked.log_format, lambda level: telemetry.log_messages.labels(level).inc())
    _logger.info("Starting coc-exporter", extra={"version": __version__, "pid": os.getpid()})
    asyncio.run(_serve(asked, telemetry))
    _logger.info("Stopped coc-exporter")
    return 0


async def _serve(asked: argparse.Namespace, telemetry: Telemetry) -> None:
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stopping())
        loaded = await _configured(asked, stack)
        web = None if asked.web_config_file is None else WebConfigFile(asked.web_config_file)
        sockets = open_sockets(asked.listen or [_DEFAULT_ADDRESS], os.environ)
        if asked.demo:
            _tell_urls(sockets, asked)
        clock = SystemClock()
        exporter = Exporter(
            loaded, telemetry, clock, storage=_storage(asked), shard=Shard(asked.shard, asked.total_shards)
        )
        polls = await stack.enter_async_context(Aside("polls"))
        stack.push_async_callback(_closed, polls, exporter)
        reloader = Reloader(loaded, asked.config_file, telemetry, lambda new: polls.run(exporter.apply(new)))
        front = Front(exporter, reloader, asked)
        serving = serve(front, sockets, web_config=web, stop=stop, tell=partial(notify, environ=os.environ))
        pauses.shorten()
        hangup = stack.enter_context(set_by(signal.SIGHUP))
        reloading = reloader.watch(hangup, automatic=asked.auto_reload)
        await _until_served(serving, polls.run(exporter.run()), reloading, watch_loop(telemetry, clock))


async def _closed(polls: Aside, exporter: Exporter) -> None:
    await polls.finish(exporter.aclose())


async def _until_served(serving: Coroutine[Any, Any, None], *beside: Coroutine[Any, Any, None]) -> None:
    """Run everything side by side until serving ends; a fault in any of it ends all."""
    async with asyncio.TaskGroup() as group:
        others = [group.create_task(work) for work in beside]
        await serving
        for task in others:
            task.cancel()


def _storage(asked: argparse.Namespace) -> Storage | None:
    if asked.storage_path is None:
        return None
    from exporter.storage import Storage  # noqa: PLC0415  SQLite is loaded where it is used

    return Storage(asked.storage_path)


def _tell_urls(sockets: Sequence[socket.socket], asked: argparse.Namespace) -> None:
    from exporter.cli.demo import urls  # noqa: PLC0415  the simulator is loaded for the demo alone

    for listener in sockets:
        sys.stdout.write(urls(shown(listener), prefix(asked), asked.telemetry_path))
    sys.stdout.flush()


async def _configured(asked: argparse.Namespace, stack: AsyncExitStack) -> Config:
    """Load the config, or play the API and make one for it."""
    if not asked.demo:
        if asked.config_file is None:
            raise UsageError("give --config.file=FILE, or --demo to see it work without one")
        return config.load(asked.config_file, check_pattern=reasons.fault)
    from exporter.cli.demo import demo  # noqa: PLC0415  the simulator is loaded for the demo alone

    return await stack.enter_async_context(demo(asked.demo))
