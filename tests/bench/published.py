"""
What others published of themselves, and the same of ours on this machine.

Their figures were measured on their machines: a factor of two says little, one of ten says much.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from bench.polled import asked
from bench.report import Row, Section, mebibytes
from bench.scraping import Scraper
from bench.sides import program

if TYPE_CHECKING:
    from bench.scale import Scale

_TICKETS_OF_60_000 = 259
_TICKETS_OF_55_MB = 1976


def run(scale: Scale) -> Section:
    """Serve as many series as they did."""
    section = Section("Figures that others published")
    first, size, spent, held = _served(_TICKETS_OF_60_000, {})
    told = Row("60,000 series, a scrape (kube-state-metrics: 100 to 200 ms)", spent * 1000, "ms", 100, note="identity")
    section.rows.append(told)
    rendered = 60_000 / first
    words = "60,000 series, samples a second at the first scrape, which renders (meraki-dashboard-exporter: 21,000)"
    section.rows.append(Row(words, rendered, "/s", 21_000, at_least=True))
    words = "60,000 series, samples a second at every other scrape"
    section.rows.append(Row(words, 60_000 / spent, "/s", 21_000, at_least=True))
    words = "60,000 series, resident (meraki-dashboard-exporter: under 256 MiB for 20,000 to 50,000)"
    section.rows.append(Row(words, mebibytes(held), "MiB", 256, note=f"{size / 1e6:.1f} MB of text"))
    if not scale.quick:
        _, size, _, held = _served(_TICKETS_OF_55_MB, {})
        words = "55 MB of text, resident (kube-state-metrics: 385 MiB)"
        section.rows.append(Row(words, mebibytes(held), "MiB", 385, note=f"{size / 1e6:.1f} MB of text"))
    return section


def _served(tickets: int, headers: dict[str, str]) -> tuple[float, int, float, int]:
    """Return the seconds of the first scrape, the bytes of the body, the seconds of a later one, resident bytes."""
    with program("bench.serving", "ours", "--tickets", str(tickets)) as ours:
        scraper = Scraper(f"{ours}/metrics", headers)
        began = time.perf_counter()
        size = scraper.scrape()
        first = time.perf_counter() - began
        spent = []
        for _ in range(20):
            began = time.perf_counter()
            scraper.scrape()
            spent.append(time.perf_counter() - began)
        scraper.close()
        held = asked(f"{ours}/bench/now")["resident"]
    return first, size, median(spent), held
