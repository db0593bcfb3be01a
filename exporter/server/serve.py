"""Answering on sockets, from the first request to the last."""

from __future__ import annotations

import asyncio
import logging
from asyncio.sslproto import SSLProtocol
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from uvicorn import Config
from uvicorn.server import ServerState

from exporter.server.guard import Guard
from exporter.server.listen import shown
from exporter.server.protocol import BoundedProtocol, Limits
from exporter.server.tls import RenewedContext

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp

    from exporter.server.web_config import WebConfigFile

_logger = logging.getLogger(__name__)
_CLOSING_TIME = 2.0

# asyncio holds 256 KiB for each connection, from before its handshake on; a record of TLS has no more than 16.
SSLProtocol.max_size = 32 * 1024


async def serve(
    app: ASGIApp,
    sockets: Sequence[socket.socket],
    *,
    web_config: WebConfigFile | None,
    stop: asyncio.Event,
    limits: Limits = Limits(),  # noqa: B008  frozen
    tell: Callable[[str], None] = lambda _state: None,
) -> None:
    """
    Answer until ``stop`` is set, then finish what is under way; the sockets are closed in the end.

    ``tell`` is told ``READY=1`` and ``STOPPING=1``, in systemd's words.
    """
    house = _House(app, web_config, limits)
    servers = [await house.open(listener) for listener in sockets]
    tell("READY=1")
    try:
        await stop.wait()
    finally:
        tell("STOPPING=1")
        for server in servers:
            server.close()
        await house.drain()


@dataclass(frozen=True)
class _Doors:
    """What each new connection is made with."""

    config: Config
    state: ServerState
    limits: Limits
    admits: Callable[[Mapping[str, object] | None], bool]

    def protocol(self) -> BoundedProtocol:
        """Return what speaks on one connection."""
        return BoundedProtocol(self.config, self.state, self.limits, self.admits)


class _House:
    """All connections of one server."""

    def __init__(self, app: ASGIApp, web: WebConfigFile | None, limits: Limits) -> None:
        self._web = web
        self._limits = limits
        self._state = ServerState()
        config = _uvicorn(app if web is None else Guard(app, web), limits)
        self._protocol = _Doors(config, self._state, limits, partial(_admits, web)).protocol

    async def open(self, listener: socket.socket) -> asyncio.Server:
        """Begin to answer on a socket."""
        context = self._context()
        server = await asyncio.get_running_loop().create_server(
            self._protocol,
            sock=listener,
            ssl=context,
            ssl_handshake_timeout=self._limits.handshake_time if context else None,
            ssl_shutdown_timeout=_CLOSING_TIME if context else None,
        )
        _log_listening(shown(listener), self._web)
        return server

    async def drain(self) -> None:
        """Finish the requests under way, and cut what is left when the time is over."""
        connections = [each for each in self._state.connections if isinstance(each, BoundedProtocol)]
        for connection in connections:
            connection.shutdown()
        if connections:
            await asyncio.wait([each.closed for each in connections], timeout=self._limits.drain_time)
        _cut([each for each in connections if not each.closed.done()])
        await self._end_tasks()

    async def _end_tasks(self) -> None:
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _context(self) -> ssl.SSLContext | None:
        if self._web is None or self._web.current.tls is None:
            return None
        return RenewedContext(self._web.fresh_context)


def _uvicorn(app: ASGIApp, limits: Limits) -> Config:
    config = Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        # A client's nonsense is no warning of ours: it would let anybody fill the log.
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.idle_time,
    )
    config.load()
    return config


def _cut(connections: Sequence[BoundedProtocol]) -> None:
    if connections:
        _logger.warning("Cut connections that did not end", extra={"count": len(connections)})
    for connection in connections:
        connection.transport.abort()


def _admits(web: WebConfigFile | None, peer: Mapping[str, object] | None) -> bool:
    tls = None if web is None else web.current.tls
    return tls is None or tls.admits(peer)


def _log_listening(address: str, web: WebConfigFile | None) -> None:
    _logger.info("Listening on", extra={"address": address})
    config = None if web is None else web.current
    if config is not None and config.rate.interval:
        extra = {"burst": config.rate.burst, "interval": f"{config.rate.interval:g}s"}
        _logger.info("Rate Limiter is enabled.", extra=extra)
    if config is None or config.tls is None:
        _logger.info("TLS is disabled.", extra={"http2": False, "address": address})
        return
    _logger.info("TLS is enabled.", extra={"http2": False, "address": address})
    if config.http2:
        _logger.info("HTTP/1.1 is served; http2 has no effect here.", extra={"address": address})
