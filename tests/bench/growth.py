"""CPU of a poll and memory from 10 to 10,000 tickets, with the exponent of growth."""

from __future__ import annotations

import asyncio
from math import log
from typing import TYPE_CHECKING

from bench.changes import _PROMETHEUS
from bench.polled import Polled, asked
from bench.report import Row, Section, mebibytes
from bench.sides import program, resident, sides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from bench.sides import Figures

_LINEAR = 1.1
_INSTANCES = 10


def run(scale: Scale) -> Section:
    """Measure tickets of one batch of 10 instances."""
    section = Section("Growth, tickets of 10 instances")
    sizes = (10, 30, 100, 300, 1000) if scale.quick else (10, 30, 100, 300, 1000, 3000, 10_000)
    told: dict[int, Figures] = {}
    with program("bench.played", "--tickets", str(sizes[-1]), "--batches", "1") as api:
        for size in sizes:
            with sides(one=("bench.growth:exporter", {"api": api, "tickets": size})) as started:
                told[size] = started["one"].work()
            cpu, held = told[size]["cpu"], mebibytes(told[size]["resident"] - told[size]["empty"])
            note = f"{held:.1f} MiB more than empty, poll with nothing changed {told[size]['still']:.3f} s"
            section.rows.append(Row(f"{size:,} tickets, every page", cpu, "s CPU", note=note))
    section.rows.append(Row("exponent of CPU", _exponent(told, "cpu"), "", _LINEAR, note="from 100 tickets on"))
    section.rows.append(Row("exponent of memory", _exponent(told, "grown"), "", _LINEAR, note="from 100 tickets on"))
    section.raw = {str(size): figures for size, figures in told.items()}
    return section


def exporter(api: str, tickets: int) -> Iterator[Figures]:
    """Read everything, render it, and do both once more."""
    polled = Polled(api, tickets)
    empty = resident()
    with asyncio.Runner() as runner:
        runner.run(polled.poll(full=True))
        runner.run(polled.board.body(_PROMETHEUS))
        yield {}
        asked(f"{api}/-/forget")
        told = runner.run(polled.poll(full=True))
        still = runner.run(polled.poll(full=False))
        grown = resident() - empty
        runner.run(polled.aclose())
        yield told | {"empty": empty, "grown": grown, "still": still["cpu"]}


def _exponent(told: dict[int, Figures], figure: str) -> float:
    """Return the slope of a straight line through the logarithms; small sizes are all fixed cost."""
    points = [(log(size), log(max(figures[figure], 1e-9))) for size, figures in told.items() if size >= 100]
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / sum((x - middle_x) ** 2 for x, _ in points)
