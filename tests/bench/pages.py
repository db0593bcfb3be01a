"""CPU per page read: our client, snapshot and families, a script with the official SDK, and the bare minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.polled import asked
from bench.report import Row, Section
from bench.sides import program, ratio, rounds, sides, typical

if TYPE_CHECKING:
    from bench.scale import Scale

_OF_SDK = 0.35
_OF_BARE = 3.0


def run(scale: Scale) -> Section:
    """Compare at several concurrencies, with pages of 10 instances, the most that a batch holds."""
    section = Section("CPU per page of 10 instances")
    for concurrency in (8,) if scale.quick else (1, 8, 32):
        _compare(section, 10, concurrency, quick=scale.quick)
    if not scale.quick:
        _compare(section, 50, 8, quick=scale.quick)
    return section


def _compare(section: Section, instances: int, concurrency: int, *, quick: bool) -> None:
    with program("bench.played", "--tickets", "50", "--instances", str(instances)) as url:
        # No page is read twice within a round: a client that remembers answers would gain nothing.
        arguments = {"url": url, "uuids": asked(f"{url}/-/")["uuids"], "pages": 400, "concurrency": concurrency}
        names = ("ours", "by_httpx", "sdk", "bare")
        with sides(**{name: (f"bench.clients:{name}", arguments) for name in names}) as started:
            told = rounds(started, 3 if quick else 7, within=8.0 if quick else 25.0)
    at = f"{instances} instances, concurrency {concurrency}"
    for name in names:
        section.rows.append(Row(f"{at}: {name}", typical(told, name, "cpu_ms"), "ms"))
    section.rows.append(Row(f"{at}: ours / SDK script", ratio(told, "ours", "sdk", "cpu_ms"), "", _OF_SDK))
    section.rows.append(Row(f"{at}: ours / bare client", ratio(told, "ours", "bare", "cpu_ms"), "", _OF_BARE))
    share = ratio(told, "ours", "by_httpx", "cpu_ms")
    section.rows.append(Row(f"{at}: ours / the same over httpx's own transport", share, ""))
    section.raw[at] = told
