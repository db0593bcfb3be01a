"""CPU of a poll in which 1 of 1,000 tickets changed, against one in which all did; and the memory it all takes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from statistics import median
from typing import TYPE_CHECKING

from bench.polled import Polled, asked
from bench.report import Row, Section, mebibytes
from bench.sides import program, resident, sides
from exporter.exposition import Encoding, Format, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from bench.sides import Figures

_OF_ALL = 0.05
_RESIDENT = 150.0
_PER_INSTANCE = 160.0
_FULL = 1000
_PROMETHEUS = Variant(Format.OPENMETRICS, Encoding.GZIP)
_LARGEST = Variant(Format.TEXT, Encoding.IDENTITY)


def run(scale: Scale) -> Section:
    """Measure both; the exposition is rendered as Prometheus asks for it."""
    tickets = scale.tickets
    section = Section(f"Polls and memory of {tickets:,} tickets of 200 instances")
    with program("bench.played", "--tickets", str(tickets)) as api:
        arguments = {"api": api, "tickets": tickets, "cycles": 1 if scale.quick else 2}
        with sides(exporter=("bench.changes:exporter", arguments)) as started:
            polls, memory = started["exporter"].work(), started["exporter"].work()
        with sides(exporter=("bench.changes:traced", {"api": api, "tickets": min(tickets, 100)})) as started:
            traced = started["exporter"].ready
    section.raw |= {"polls": polls, "memory": memory, "traced": traced}
    _tell_polls(section, polls)
    section.rows.append(Row("process before the first poll", mebibytes(memory["empty"]), "MiB"))
    goal = _RESIDENT if tickets >= _FULL else None
    section.rows.append(Row("steady, scraped as OpenMetrics, gzip", mebibytes(memory["packed"]), "MiB", goal))
    section.rows.append(Row("steady, scraped as text, identity, as well", mebibytes(memory["both"]), "MiB", goal))
    section.rows.append(Row("state of an instance, read", traced["read"], "bytes", _PER_INSTANCE))
    section.rows.append(Row("state of an instance, rendered", traced["rendered"], "bytes", _PER_INSTANCE))
    return section


def _tell_polls(section: Section, polls: Figures) -> None:
    said = {
        "whole": "every page of every ticket",
        "all": "every ticket changed in one instance",
        "one": "1 ticket changed, the others run unchanged",
        "none": "none changed, all run",
        "one_over": "1 ticket changed, the others are over",
    }
    cpu = {name: median(each["cpu"] for each in polls[name]) for name in said}
    for name, words in said.items():
        requests = median(each["requests"] for each in polls[name])
        section.rows.append(Row(words, cpu[name], "s CPU", note=f"{requests:,.0f} requests"))
    section.rows.append(Row("1 changed (others run) / every page", cpu["one"] / cpu["whole"], "", _OF_ALL))
    section.rows.append(Row("1 changed (others run) / all changed", cpu["one"] / cpu["all"], "", _OF_ALL))
    section.rows.append(Row("1 changed (others over) / every page", cpu["one_over"] / cpu["whole"], "", _OF_ALL))
    section.rows.append(Row("1 changed (others over) / all changed", cpu["one_over"] / cpu["all"], "", _OF_ALL))


def exporter(api: str, tickets: int, cycles: int) -> Iterator[Figures]:
    """Poll as the world changes; first yield the polls' figures, then the memory's."""
    empty = resident()
    polled = Polled(api, tickets)
    with asyncio.Runner() as runner:

        def poll() -> Figures:
            return runner.run(polled.poll(full=False))

        def turned(number: int) -> Figures:
            asked(f"{api}/-/turn/{number}")
            return poll()

        yield {}
        told: dict[str, list[Figures]] = {name: [] for name in ("whole", "all", "one", "none", "one_over")}
        # Whoever was asked for once is rendered with each poll.
        runner.run(polled.board.body(_PROMETHEUS))
        told["whole"].append(runner.run(polled.poll(full=True)))
        for _ in range(cycles):
            told["none"] += [poll(), poll()]
            told["one"] += [turned(1), turned(1)]
            told["all"].append(turned(tickets))
        packed = resident()
        runner.run(polled.board.body(_LARGEST))
        poll()
        poll()
        both = resident()
        asked(f"{api}/-/settle/1")
        # The polls that see the others end.
        poll()
        poll()
        told["one_over"] += [turned(1) for _ in range(3)]
        runner.run(polled.aclose())
        yield told
        yield {"empty": empty, "packed": packed, "both": both}


def traced(api: str, tickets: int) -> Iterator[Figures]:
    """Tell the bytes that go when the tickets are let go, by instance: of a first poll, and once it was rendered."""
    polled = Polled(api, tickets)
    with asyncio.Runner() as runner:
        tracemalloc.start()
        account = polled.account
        runner.run(account.poll())
        number = sum(len(batch.instances) for held in polled.readings.values() for batch in held.ticket.batches)
        before = _traced()
        for held in polled.readings.values():
            # What rendering asks of a ticket stays with it.
            held.ticket.counts.items()
        rendered = _traced() - before
        account.readings = {}
        freed = before + rendered - _traced()
        runner.run(polled.aclose())
    yield {"read": (freed - rendered) / number, "rendered": freed / number, "instances": number}


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
