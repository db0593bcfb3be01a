"""How long a scrape takes while a poll reads, decodes and renders everything, against the same scrape at rest."""

from __future__ import annotations

import threading
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.polled import polled_by
from bench.report import Row, Section
from bench.scraping import Scraper
from bench.sides import program, sides

if TYPE_CHECKING:
    from bench.scale import Scale

_TIMES_IDLE = 3.0
_PACKED = {"Accept-Encoding": "gzip"}


def run(scale: Scale) -> Section:
    """Measure both in turn, in the same process, for as long as a poll lasts."""
    tickets = scale.tickets
    section = Section(f"Scrape latency, {tickets:,} tickets, gzip")
    with (
        program("bench.played", "--tickets", str(tickets)) as api,
        program("bench.serving", "ours", "--tickets", str(tickets), "--api", api) as ours,
    ):
        polled_by(ours)
        first = Scraper(f"{ours}/metrics", _PACKED)
        first.scrape()
        first.close()
        arguments: dict[str, Any] = {"url": f"{ours}/metrics", "headers": _PACKED, "seconds": 3.0, "pause": 0.005}
        told = []
        with sides(client=("bench.scraping:latency", arguments)) as started:
            for _ in range(1 if scale.quick else 2):
                idle = started["client"].work()
                busy = _while_polling(ours, started["client"])
                told.append({"idle": idle, "busy": busy})
    section.raw["rounds"] = told
    for state in ("idle", "busy"):
        for figure in ("p50", "p99", "max"):
            section.rows.append(Row(f"{state}: {figure}", median(each[state][figure] for each in told) * 1000, "ms"))
    share = median(each["busy"]["p99"] / each["idle"]["p99"] for each in told)
    section.rows.append(Row("p99 while polling / p99 at rest", share, "", _TIMES_IDLE))
    return section


def _while_polling(ours: str, client: Any) -> dict[str, float]:
    """Return the worst of the client's rounds that fell into the poll, by p99."""
    polling = threading.Thread(target=polled_by, args=(ours,))
    polling.start()
    told = []
    while polling.is_alive() or not told:
        told.append(client.work())
    polling.join()
    # The last round may reach beyond the end of the poll.
    whole = told[:-1] or told
    return max(whole, key=lambda each: each["p99"])
