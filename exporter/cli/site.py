"""What the HTTP surface shows of the exporter, made anew when the config is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter import __version__, config, server
from exporter.pages import Desk, routes

if TYPE_CHECKING:
    import argparse

    from starlette.types import ASGIApp, Receive, Scope, Send

    from exporter.cli.reload import Reloader
    from exporter.cli.wiring import Exporter
    from exporter.config import Config


class Front:
    """The ASGI application of the config in force; raise UsageError when the flags' paths cannot be."""

    def __init__(self, exporter: Exporter, reloader: Reloader, asked: argparse.Namespace) -> None:
        self._exporter = exporter
        self._reloader = reloader
        self._asked = asked
        self._built = self._build()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._built[0] is not self._exporter.config:
            self._built = self._build()
        await self._built[1](scope, receive, send)

    def _build(self) -> tuple[Config, ASGIApp]:
        loaded = self._exporter.config
        return loaded, server.build(self._site(loaded))

    def _site(self, loaded: Config) -> server.Site:
        asked = self._asked
        return server.Site(
            board=self._exporter.board,
            ready=self._exporter.ready,
            reload=self._reloader.reload,
            config_text=lambda: config.dump(loaded),
            max_requests=asked.max_requests,
            lifecycle=asked.lifecycle,
            telemetry_path=asked.telemetry_path,
            route_prefix=prefix(asked),
            external_url=asked.external_url,
            pages=routes(self._desk(loaded)),
        )

    def _desk(self, loaded: Config) -> Desk:
        return Desk(
            current=lambda: self._exporter.board.current,
            now=self._exporter.clock.time,
            interval=loaded.poll.interval,
            console_urls={each.name: each.console_url for each in loaded.accounts if each.console_url is not None},
            show_logs=loaded.web.show_logs,
            external_url=self._asked.external_url,
            route_prefix=prefix(self._asked),
            patterns=[(rule.reason, rule.pattern) for rule in self._exporter.patterns],
            reload_note=lambda: self._reloader.note,
            version=__version__,
            telemetry_path=self._asked.telemetry_path,
        )


def prefix(asked: argparse.Namespace) -> str:
    """Return what every path begins with: as asked for, else the path of the external URL."""
    return server.prefix_of(asked.route_prefix, asked.external_url)
