"""How long a scrape takes while a poll reads, decodes and renders everything, against the same scrape at rest."""

from __future__ import annotations

import threading
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.polled import polled_by
from bench.report import Row, Section
from bench.scraping import Scraper, quantiles
from bench.sides import program, sides

if TYPE_CHECKING:
    from bench.scale import Scale
    from bench.sides import Figures

_TIMES_IDLE = 3.0
_AT_A_TIME = 0.5
_AT_REST = 8
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
        arguments: dict[str, Any] = {
            "url": f"{ours}/metrics",
            "headers": _PACKED,
            "seconds": _AT_A_TIME,
            "pause": 0.005,
        }
        told = []
        with sides(client=("bench.scraping:latency", arguments)) as started:
            for _ in range(1 if scale.quick else 2):
                idle = _quantiles([started["client"].work() for _ in range(_AT_REST)])
                busy = _while_polling(ours, started["client"])
                told.append({"idle": idle, "busy": busy})
    section.raw["rounds"] = told
    for state in ("idle", "busy"):
        for figure in ("p50", "p99", "max"):
            section.rows.append(Row(f"{state}: {figure}", median(each[state][figure] for each in told) * 1000, "ms"))
    share = median(each["busy"]["p99"] / each["idle"]["p99"] for each in told)
    section.rows.append(Row("p99 while polling / p99 at rest", share, "", _TIMES_IDLE))
    return section


def _while_polling(ours: str, client: Any) -> Figures:
    """Return the quantiles of all that the client scraped during the poll."""
    polling = threading.Thread(target=polled_by, args=(ours,))
    polling.start()
    told = []
    while polling.is_alive() or not told:
        told.append(client.work())
    polling.join()
    # The last round may reach beyond the end of the poll.
    return _quantiles(told[:-1] or told)


def _quantiles(rounds: list[Figures]) -> Figures:
    return quantiles([latency for each in rounds for latency in each["all"]])
