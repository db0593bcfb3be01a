"""The demo: a simulator in the same process, spoken to over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import config, simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.config import Config

_logger = logging.getLogger(__name__)
_PLAN = simulator.Plan(tickets=20, speed=3.0)
_AUTH = {
    "token": "token: {{token: {token}}}",
    "password": "password: {{domain: {domain}, username: {user}, password: {password}, project: {region}}}",
    "aksk": "aksk: {{access_key: {access_key}, secret_key: {secret_key}}}",
    "ecs_metadata": "ecs_metadata: {{endpoint: '{url}'}}",
}
_CONFIG = """
accounts:
  - name: demo
    endpoint: {url}
    iam_endpoint: {url}
    auth:
      {auth}
    discovery: {{created_within: 1d, max_tickets: 50}}
poll: {{interval: 5s, stale_after: 1m, keep_finished: 1h, requests_per_second: 50}}
"""


@asynccontextmanager
async def playing(sign_in: str) -> AsyncIterator[Config]:
    """Play the API on a free port of loopback, and yield a config for it that signs in by ``sign_in``."""
    app = simulator.build(_PLAN)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(simulator.config(app))
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        _logger.info("Playing the COC API", extra={"url": url, "sign_in": sign_in})
        try:
            yield config.parse(config_text(url, sign_in), name="demo", folder=Path.cwd(), environ={})
        finally:
            server.should_exit = True
            await serving


def config_text(url: str, sign_in: str) -> str:
    """Return a config for the simulator at ``url``."""
    known = simulator.Credentials()
    facts = {name: getattr(known, name) for name in known.__dataclass_fields__}
    return _CONFIG.format(url=url, auth=_AUTH[sign_in].format(url=url, **facts))
