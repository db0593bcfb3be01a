"""The demo: a simulator in the same process, spoken to over real HTTP on loopback."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from exporter import config, simulator
from exporter.cli.playing import playing
from exporter.server import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.config import Config

_PLAN = simulator.Plan(tickets=20, speed=3.0)
_AUTH = {
    "token": "token: {{token: {token}}}",
    "password": "password: {{domain: {domain}, username: {user}, password: {password}, project: {region}}}",
    "aksk": "aksk: {{access_key: {access_key}, secret_key: {secret_key}}}",
    "ecs_metadata": "ecs_metadata: {{endpoint: '{url}'}}",
}
SIGN_INS = tuple(_AUTH)
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
async def demo(sign_in: str) -> AsyncIterator[Config]:
    """Play the API on a free port of loopback, and yield a config for it that signs in by ``sign_in``."""
    listener = simulator.listener()
    url = f"http://{shown(listener)}"
    async with playing(simulator.build(_PLAN), listener):
        sys.stdout.write(f"COC API, played:   {url}/   (make it misbehave there)\n")
        yield config.parse(config_text(url, sign_in), name="demo", environ={})


def config_text(url: str, sign_in: str) -> str:
    """Return a config for the simulator at ``url``."""
    known = simulator.Credentials()
    facts = {name: getattr(known, name) for name in known.__dataclass_fields__}
    return _CONFIG.format(url=url, auth=_AUTH[sign_in].format(url=url, **facts))


def urls(address: str, prefix: str, telemetry_path: str) -> str:
    """Return what the user may open, as lines."""
    port = address.rpartition(":")[2]
    base = f"http://localhost:{port}" if address.startswith(("[::]", "0.0.0.0")) else f"http://{address}"  # noqa: S104  looked for, not listened on
    return f"tickets:           {base}{prefix}/\nmetrics:           {base}{prefix}{telemetry_path}\nCtrl-C stops all.\n"
