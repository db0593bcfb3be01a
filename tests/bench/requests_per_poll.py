"""Requests per poll by scenario, beside the naive plan: every page, every poll."""

from __future__ import annotations

import asyncio
from statistics import mean
from typing import TYPE_CHECKING

from bench.polled import Polled, asked
from bench.report import Row, Section
from bench.sides import program, sides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from bench.sides import Figures

_POLLS = 20
_FIXED = 3
"""Statistics, the ticket's own facts, and the list of its batches."""


def run(scale: Scale) -> Section:
    """Count, from the second poll on, while the running tickets go from event to event."""
    section = Section("Requests per poll")
    finished = 100 if scale.quick else 1000
    for words, tickets, running, batches, goal in (
        ("1 running ticket of 20 batches", 1, 1, 20, 4),
        ("100 tickets of which 3 run", 100, 3, 20, 13),
        (f"{finished:,} finished", finished, 0, 1, 0),
    ):
        with program("bench.played", "--tickets", str(tickets), "--batches", str(batches)) as api:
            arguments = {"api": api, "tickets": tickets, "running": running}
            with sides(one=("bench.requests_per_poll:exporter", arguments)) as started:
                told = started["one"].ready["requests"]
        naive = tickets * (_FIXED + batches)
        most = max(told)
        note = f"most {most}; naive plan {naive:,}"
        section.rows.append(Row(words, mean(told), "requests", goal, note=note))
        section.raw[words] = {"requests": told, "naive": naive}
    return section


def exporter(api: str, tickets: int, running: int) -> Iterator[Figures]:
    """Poll while the running tickets change, each time by one event."""
    polled = Polled(api, tickets)
    asked(f"{api}/-/settle/{running}")
    told = []
    with asyncio.Runner() as runner:
        runner.run(polled.poll(full=True))
        runner.run(polled.poll(full=False))
        for _ in range(_POLLS):
            asked(f"{api}/-/turn/{running}")
            told.append(runner.run(polled.poll(full=False))["requests"])
        runner.run(polled.aclose())
    yield {"requests": told}
