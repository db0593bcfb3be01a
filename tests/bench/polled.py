"""An exporter whose polls are turned by hand, wired as in production; or the same board over a snapshot made up."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import worlds
from bench.clients import unhurried
from bench.sides import Figures, measured, resident
from exporter import families
from exporter.cli.wiring import Exporter
from exporter.clock import SystemClock
from exporter.exposition import Board, Renderer
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.poller import AccountPoller

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def asked(url: str) -> Any:
    """Return the JSON that a server of ours answers."""
    with _OPENER.open(url) as answer:
        return json.load(answer)


def polled_by(url: str) -> Figures:
    """Let a server of ours poll every page; return the figures of the poll when it is over."""
    asked(f"{url}/bench/poll?full=1")
    while (told := asked(f"{url}/bench/told")) is None:
        time.sleep(0.2)
    return told


class Polled:
    """``api`` is the URL of an API, ``""`` for none; ``tickets`` how many are watched or made up."""

    def __init__(self, api: str, tickets: int, concurrency: int = 8) -> None:
        self._tickets = tickets
        self._exporter: Exporter | None = None
        if api:
            uuids = tuple(asked(f"{api}/-/")["uuids"][:tickets])
            config = unhurried(api, uuids, concurrency)
            self._exporter = Exporter(config, Telemetry(process=False), SystemClock())
            self.board = self._exporter.board
        else:
            renderer = Renderer(families.OF_TICKETS, families.OF_ALL, Telemetry(process=False))
            self.board = Board(renderer, families.Options(), SystemClock())

    async def prepare(self) -> None:
        """Publish what is made up."""
        if self._exporter is None:
            await self.board.publish(worlds.snapshot(self._tickets), families.Options())

    async def poll(self, *, full: bool) -> Figures:
        """Poll once and publish; with ``full`` every page of every ticket is read."""
        account = self.account
        if full:
            account.readings = {uuid: _unread(reading) for uuid, reading in account.readings.items()}
        before = account.api.accepted
        figures: Figures = {}
        with measured(figures):
            await self._exporter.poller.once()
        down = sum(not reading.up for reading in account.readings.values())
        if down:
            raise RuntimeError(f"{down} tickets could not be read: {account.state.fault}")
        return figures | {"requests": account.api.accepted - before, "resident": resident()}

    @property
    def account(self) -> AccountPoller:
        """The account that is polled."""
        return self._exporter.poller.accounts[0]

    @property
    def readings(self) -> Mapping[str, Any]:
        """What is held of each ticket."""
        return self.account.readings

    async def aclose(self) -> None:
        """Close the connections."""
        if self._exporter is not None:
            await self._exporter.aclose()


def _unread(reading: Any) -> Any:
    return replace(reading, refreshed=None)
