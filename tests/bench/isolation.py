"""Two accounts, one of which loses its API: what that does to the other's polls, and to scrapes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import clients
from bench.polled import asked
from bench.report import Row, Section
from bench.scraping import quantiles
from bench.sides import play, sides
from exporter.cli.wiring import Exporter
from exporter.clock import SystemClock
from exporter.server import Site, build, open_sockets, serve
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from bench.sides import Figures, Side
    from exporter.config import Config
    from exporter.poller import AccountPoller

_TICKETS = 20
_SECONDS = 4.0
_NO_SLOWER = 1.25
_STATES = {"stalled": signal.SIGSTOP, "killed": signal.SIGKILL}


def run(scale: Scale) -> Section:
    """Poll one account over and over beside another that works, then hangs, then is gone."""
    section = Section("One account's API fails: the other's polls, and scrapes")
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(play("bench.played", "--tickets", str(_TICKETS), "--batches", "5")) for _ in range(2)
        )
        arguments = {"urls": [one.url, other.url], "seconds": 2.0 if scale.quick else _SECONDS}
        with sides(exporter=("bench.isolation:exporter", arguments)) as started:
            url = started["exporter"].ready["url"]
            client = ("bench.scraping:latency", {"url": url, "headers": {}, "seconds": 1.5, "pause": 0.002})
            with sides(client=client) as scraping:
                told = {"both work": _once(started["exporter"], scraping["client"])}
                for state, name in _STATES.items():
                    os.kill(other.pid, name)
                    told[f"the other's API is {state}"] = _once(started["exporter"], scraping["client"])
    calm = told["both work"]
    for state, figures in told.items():
        section.rows.append(Row(f"{state}: poll", figures["p50"] * 1000, "ms"))
        section.rows.append(Row(f"{state}: scrape, p50", figures["scrape"]["p50"] * 1000, "ms"))
        if figures is not calm:
            section.rows.append(Row(f"{state}: poll / calm", figures["p50"] / calm["p50"], "", _NO_SLOWER))
            share = figures["scrape"]["p50"] / calm["scrape"]["p50"]
            section.rows.append(Row(f"{state}: scrape / calm", share, "", _NO_SLOWER))
    section.raw = told
    return section


def _once(exporter: Side, client: Side) -> Figures:
    exporter.begin()
    time.sleep(0.3)
    scrape = client.work()
    return exporter.ended() | {"scrape": scrape}


def exporter(urls: list[str], seconds: float) -> Iterator[Figures]:
    """Serve, and poll both accounts for so long; yield how long the first one's polls took."""
    configs = [clients.unhurried(url, tuple(asked(f"{url}/-/")["uuids"])) for url in urls]
    accounts = [
        config.accounts[0].model_copy(update={"name": f"account-{number}"}) for number, config in enumerate(configs)
    ]
    config = configs[0].model_copy(update={"accounts": tuple(accounts)})
    sockets = open_sockets(["127.0.0.1:0"], {})
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/metrics"
    with asyncio.Runner() as runner:
        exporter = runner.run(_made(config))
        first, second = exporter.poller.accounts

        async def reload() -> None:
            pass

        app = build(Site(board=exporter.board, ready=lambda: True, reload=reload, config_text=str))

        async def polls() -> list[float]:
            told = []
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                _forget(first)
                began = time.perf_counter()
                await first.poll()
                told.append(time.perf_counter() - began)
                await exporter.publish(exporter.poller.snapshot())
            return told

        async def beside() -> None:
            while True:
                _forget(second)
                await second.poll()
                # A poll that is refused at once must not spin.
                await asyncio.sleep(0.05)

        async def work() -> list[float]:
            serving = asyncio.ensure_future(serve(app, [sockets[0].dup()], web_config=None, stop=asyncio.Event()))
            other = asyncio.ensure_future(beside())
            told = await polls()
            for task in (other, serving):
                task.cancel()
            await asyncio.gather(other, serving, return_exceptions=True)
            return told

        runner.run(exporter.poller.once())
        yield {"url": url}
        try:
            while True:
                yield quantiles(runner.run(work()))
        finally:
            runner.run(exporter.aclose())


def _forget(account: AccountPoller) -> None:
    """Let every page be read again."""
    account.readings = {uuid: replace(reading, refreshed=None) for uuid, reading in account.readings.items()}


async def _made(config: Config) -> Exporter:
    return Exporter(config, Telemetry(process=False), SystemClock())
