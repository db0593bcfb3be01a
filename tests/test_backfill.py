"""The past of tickets, written so that promtool makes blocks of it which say what live polling had seen."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed
from tools import exporter, prometheus, tool, until

from exporter import config, families, simulator
from exporter.cli.backfill import BLOCK, Span, aligned, moment
from exporter.cli.wiring import Exporter
from exporter.errors import UsageError
from exporter.exposition import Encoding, Format, Variant
from exporter.history import ticket_at
from exporter.snapshot import Batch, Instance, Snapshot, Ticket
from exporter.telemetry import Telemetry

CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{{execute_uuid: SCT-past}}]
poll: {{interval: 30s, requests_per_second: 200}}
"""
LEFT_OUT = {
    "coc_ticket_up",
    "coc_ticket_last_success_timestamp_seconds",
    "coc_ticket_count_disagreement",
    "coc_ticket_current_batch",
}
# prometheus_client's parser takes a histogram with several timestamps for a broken one.
SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+) (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
TICKET = Ticket(
    "SCT",
    "FINISHED",
    created=100.0,
    finished=200.0,
    batches=(
        Batch(1, 2, (Instance(1, "FINISHED", 110.0, 130.0, 20.0), Instance(2, "ABNORMAL", 110.0, 140.0, 30.0))),
        Batch(2, 1, (Instance(3, "CANCELED"),)),
    ),
)


@pytest.mark.parametrize(
    ("when", "counts"),
    [
        (105.0, {"READY": 3}),
        (110.0, {"PROCESSING": 2, "READY": 1}),
        (130.0, {"FINISHED": 1, "PROCESSING": 1, "READY": 1}),
        (140.0, {"FINISHED": 1, "ABNORMAL": 1, "READY": 1}),
        (200.0, {"FINISHED": 1, "ABNORMAL": 1, "CANCELED": 1}),
    ],
)
def test_an_instance_was_ready_then_processing_then_what_it_is(when, counts):
    assert dict(ticket_at(TICKET, when).counts) == counts


def test_at_its_end_a_ticket_is_what_it_is():
    assert ticket_at(TICKET, 200.0).batches == TICKET.batches
    assert ticket_at(TICKET, 200.0).status == "FINISHED"
    assert ticket_at(TICKET, 199.9).finished is None


@given(st.floats(0, 300), st.floats(0, 300))
def test_counters_never_fall_as_time_goes_on(one, other):
    before, after = (ticket_at(TICKET, when) for when in sorted((one, other)))
    assert set(before.failures()) <= set(after.failures())
    assert set(before.executions()) <= set(after.executions())


def test_a_span_is_widened_to_whole_blocks_but_not_into_the_one_being_written():
    assert aligned(BLOCK + 5, 2 * BLOCK + 5, 30, 9 * BLOCK) == Span(BLOCK, 3 * BLOCK, 30)
    assert aligned(BLOCK + 5, 8 * BLOCK, 30, 4 * BLOCK + 1) == Span(BLOCK, 4 * BLOCK, 30)
    with pytest.raises(UsageError):
        aligned(4 * BLOCK, 5 * BLOCK, 30, 4 * BLOCK + 1)


def test_a_time_is_rfc_3339_or_unix_seconds():
    assert moment("2026-01-02T03:04:05Z") == moment("1767323045") == moment("2026-01-02T03:04:05")
    with pytest.raises(UsageError, match="is no time"):
        moment("yesterday")


class Past:
    """A clock that stands at a time in the past, until it is told to be now."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    time = monotonic = __call__

    async def sleep(self, seconds):
        self.now += seconds


@pytest.fixture(scope="module")
def world():
    """A ticket that ran within one block some hours ago; ``play`` puts it to how it was at a time."""
    start = (time.time() // BLOCK - 3) * BLOCK + 600
    clock = Past(start)
    script = simulator.Script(clock=clock)
    ticket = script.ticket("SCT-past", batches=[4, 2], created=start)
    ids = ticket.ids()
    story = [
        (60, ids[0], "PROCESSING", ""),
        (60, ids[1], "PROCESSING", ""),
        (90, ids[2], "PROCESSING", ""),
        (95, ids[0], "FINISHED", "ok"),
        (150, ids[1], "ABNORMAL", "No space left on device"),
        (155, ids[3], "PROCESSING", ""),
        (170, ids[2], "FINISHED", ""),
        (185, ids[3], "FINISHED", ""),
        (220, ids[4], "PROCESSING", ""),
        (245, ids[4], "ABNORMAL", "odd"),
        (250, ids[5], "PROCESSING", ""),
        (300, ids[5], "FINISHED", ""),
    ]

    def play(until_when):
        while story and start + story[0][0] <= until_when:
            after, number, status, log = story.pop(0)
            began = None if status == "PROCESSING" else ticket.instance(number).created / 1000
            ticket.set(number, status, at=start + after, began=began, log=log)
            if not story:
                ticket.status("FINISHED", at=start + after)

    return script, start, clock, play


async def live(url, start, clock, play):
    """Poll at each step as the exporter would have, and return what it showed."""
    exporter_ = Exporter(config.parse(CONFIG.format(url=url)), Telemetry(process=False), clock)
    seen = {}
    step = 30
    try:
        for number in range(int(-(-start // step)), int((start + 330) // step)):
            clock.now = float(number * step)
            play(clock.now)
            await exporter_.poller.once()
            seen[clock.now] = samples(await exporter_.board.body(Variant(Format.OPENMETRICS, Encoding.IDENTITY)))
            clock.now = float(number * step)
    finally:
        await exporter_.aclose()
    return seen


def samples(body):
    ours = {family(Snapshot(), families.Options()).name for family in families.OF_TICKETS} - LEFT_OUT
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in parsed(body.decode())
        if metric.name in ours
        for sample in metric.samples
    }


@pytest.fixture(scope="module")
def both(world, tmp_path_factory):
    """What live polling had seen, the backfilled file, and its folder."""
    script, start, clock, play = world
    folder = tmp_path_factory.mktemp("backfill")
    app = simulator.build(world=script, clock=clock)
    with simulator.running(app) as url:
        seen = asyncio.run(live(url, start, clock, play))
        play(start + 10_000)
        file = folder / "config.yaml"
        file.write_text(CONFIG.format(url=url))
        output = folder / "past.om"
        command = exporter(
            "backfill", f"--config.file={file}", f"--start={start}", f"--end={start + 60}", f"--output={output}"
        )
        subprocess.run(command, check=True, timeout=60)
    return seen, output, folder


def test_backfill_says_what_live_polling_had_seen(both):
    seen, output, _ = both
    told = defaultdict(dict)
    for name, labels, value, when in SAMPLE.findall(output.read_text()):
        told[float(when)][name, frozenset(LABEL.findall(labels))] = float(value)
    assert len(seen) >= 9
    for when, live_samples in seen.items():
        assert told[when] == live_samples, when


def test_a_real_prometheus_serves_the_blocks(both):
    seen, output, folder = both
    data = folder / "data"
    done = subprocess.run(
        [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", output, data],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = max(seen)
    with prometheus(folder, "global: {}\n") as ask:
        query = f"sum by (status) (coc_instances @ {last})"
        answer = until(lambda: ask(query), "the blocks")
    finished = [value for key, value in answer.items() if ("status", "FINISHED") in key]
    truth = sum(
        value
        for (name, labels), value in seen[last].items()
        if name == "coc_instances" and ("status", "FINISHED") in labels
    )
    assert finished == [truth]


def test_a_ticket_that_cannot_be_read_is_exit_1(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.format(url="http://127.0.0.1:9"))
    command = exporter(
        "backfill", f"--config.file={file}", "--start=2026-01-01", "--end=2026-01-02", f"--output={tmp_path / 'out'}"
    )
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1
