"""The simulator on a socket, in this process and under our own signals."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import uvicorn

from exporter import simulator

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the process."""
        yield


@asynccontextmanager
async def playing(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve the simulator for as long as the block lasts."""
    server = _Server(simulator.config(app))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        # A connection that a client keeps open is no reason to wait.
        server.force_exit = True
        await task
