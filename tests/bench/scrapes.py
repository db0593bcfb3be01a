"""Scrapes a second of 1,000 tickets: our server, nginx with a file, the bare ASGI server, prometheus_client."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.report import Row, Section
from bench.scraping import Scraper
from bench.serving import nginx
from bench.sides import program, sides

if TYPE_CHECKING:
    from bench.scale import Scale

_OF_STATIC = 0.8
_OF_GENERATED = 100.0
_PACKED = {"Accept-Encoding": "gzip"}


def run(scale: Scale) -> Section:
    """Compare, identity and gzip."""
    section = Section("Scrapes a second")
    tickets = scale.tickets
    with ExitStack() as stack:
        ours = stack.enter_context(program("bench.serving", "ours", "--tickets", str(tickets)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, headers in (("identity", {}), ("gzip", _PACKED)):
            (folder / name).write_bytes(_body(f"{ours}/metrics", headers))
        series = sum(not line.startswith(b"#") for line in (folder / "identity").read_bytes().splitlines())
        section.rows.append(Row(f"{tickets:,} tickets: series", series, ""))
        static = stack.enter_context(nginx(folder))
        fastest = 0.0
        for name, headers in (("identity", {}), ("gzip", _PACKED)):
            size = (folder / name).stat().st_size
            with program("bench.serving", "bare", "--file", str(folder / name)) as bare:
                urls = {"ours": f"{ours}/metrics", "nginx": f"{static}/{name}", "bare": f"{bare}/"}
                told = _rates(urls, headers, 3 if scale.quick else 9)
            for each in urls:
                section.rows.append(
                    Row(f"{name}: {each}", median(turn[each] for turn in told), "/s", note=f"{size:,} bytes")
                )
            for other in ("nginx", "bare"):
                share = median(turn["ours"] / turn[other] for turn in told)
                section.rows.append(Row(f"{name}: ours / {other}", share, "", _OF_STATIC, at_least=True))
            section.raw[name] = told
            if name == "identity":
                fastest = median(turn["ours"] for turn in told)
        generated = _generated(tickets, 1 if scale.quick else 3)
        section.rows.append(Row("identity: generate_latest at each scrape", generated, "s"))
        section.rows.append(Row("identity: ours, times faster", generated * fastest, "x", _OF_GENERATED, at_least=True))
    return section


def _rates(urls: dict[str, str], headers: dict[str, str], times: int) -> list[dict[str, float]]:
    arguments = {"urls": urls, "headers": headers, "seconds": 0.7, "connections": 1}
    with sides(client=("bench.scraping:rate", arguments)) as started:
        return [started["client"].work() for _ in range(times)]


def _generated(tickets: int, times: int) -> float:
    with program("bench.serving", "generate", "--tickets", str(tickets)) as url:
        spent = []
        for _ in range(times):
            # Its server closes the connection after each answer.
            scraper = Scraper(f"{url}/metrics", {})
            began = time.perf_counter()
            scraper.scrape()
            spent.append(time.perf_counter() - began)
            scraper.close()
    return median(spent)


def _body(url: str, headers: dict[str, str]) -> bytes:
    from urllib.request import ProxyHandler, Request, build_opener  # noqa: PLC0415  used here alone

    with build_opener(ProxyHandler({})).open(Request(url, headers=headers)) as answer:
        body: bytes = answer.read()
    return body
