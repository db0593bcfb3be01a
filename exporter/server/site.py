"""What the HTTP surface is told about the exporter: facts and callables, and nothing of the rooms behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.routing import BaseRoute

    from exporter.exposition import Body, Variant


class Exposition(Protocol):
    """Whatever hands out the bytes of ``/metrics``."""

    async def body(self, variant: Variant) -> Body:
        """Return the current exposition in a variant."""


@dataclass(frozen=True)
class Site:
    """
    What the HTTP surface shows.

    ``ready`` tells whether every ticket was tried and polls go on; ``reload`` takes the config anew or raises
    ExporterError; ``config_text`` is the effective config with its secrets masked. ``max_requests`` 0 means no
    limit. ``pages`` are mounted under the prefix, and one at ``/`` takes the landing page's place.
    """

    board: Exposition
    ready: Callable[[], bool]
    reload: Callable[[], Awaitable[None]]
    config_text: Callable[[], str]
    max_requests: int = 40
    lifecycle: bool = False
    telemetry_path: str = "/metrics"
    route_prefix: str = ""
    external_url: str = ""
    pages: Sequence[BaseRoute] = ()
