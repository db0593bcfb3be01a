"""The door: build the simulator, and run it on a real socket beside a test or a benchmark."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from exporter.simulator.app import Simulator
from exporter.simulator.control import Control
from exporter.simulator.credentials import Credentials
from exporter.simulator.faults import Controls, Switches
from exporter.simulator.plan import Plan
from exporter.simulator.world import PlanWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from exporter.simulator.model import World


def build(
    plan: Plan | None = None,
    credentials: Credentials | None = None,
    clock: Callable[[], float] = time.time,
    switches: Switches | None = None,
    world: World | None = None,
) -> Starlette:
    """
    Return the application; ``clock`` gives Unix seconds, ``world`` is played instead of ``plan`` when given.

    ``app.state`` has ``requests`` (a Counter by operation), ``log`` (the last requests), ``controls`` (the
    switches) and ``world``.
    """
    controls = Controls(switches or Switches(), clock)
    played = world or PlanWorld(plan or Plan(), lambda: controls.switches.waves)
    simulator = Simulator(played, credentials or Credentials(), clock, controls)
    control = Control(simulator, controls, clock)
    # First the API: its requests must not walk past the pages' routes.
    app = Starlette(routes=[Mount("/v1", simulator), *control.routes(), Mount("/", simulator)])
    app.state.requests = simulator.requests
    app.state.log = simulator.log
    app.state.controls = controls
    app.state.world = played
    return app


def config(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """Return how uvicorn must serve ``app``: it sets ``Date`` itself, by its own clock."""
    return uvicorn.Config(
        app,
        host,
        port,
        date_header=False,
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serve ``app`` from a thread on a free port of loopback and yield its base URL."""
    with listener() as sock:
        server = uvicorn.Server(config(app))
        # The socket listens already: who connects before the thread is ready waits in its backlog.
        thread = threading.Thread(target=server.run, args=([sock],), name="coc-simulator", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def listener() -> socket.socket:
    """Return a listening socket on a free port of loopback, without the 40 ms of Nagle's algorithm."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    return sock
