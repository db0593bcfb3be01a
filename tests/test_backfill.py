"""The past of tickets, written so that promtool makes blocks of it which say what live polling had seen."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed
from tools import ROOT, exporter, prometheus, tool, until

from exporter import config, families, simulator
from exporter.cli.backfill import BLOCK, aligned, in_order, moment
from exporter.cli.chronicle import Span
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
        Batch.of(1, 2, (Instance(1, "FINISHED", 110.0, 130.0, 20.0), Instance(2, "ABNORMAL", 110.0, 140.0, 30.0))),
        Batch.of(2, 1, (Instance(3, "CANCELED"),)),
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
            body = await exporter_.board.body(Variant(Format.OPENMETRICS, Encoding.IDENTITY))
            seen[clock.now] = samples(b"".join(body))
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


TARGET = {"job": "coc-exporter", "instance": "localhost:10262"}


def promtool(*arguments):
    command = [tool("promtool"), "tsdb", "create-blocks-from", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def stored(ask, when):
    """Return the samples of one moment, without the labels of the target."""
    rows = ask.get("query", query=f'{{__name__=~"coc_.+",job="coc-exporter"}}[1s] @ {when}').get("result", [])
    told = {}
    for row in rows:
        labels = row["metric"].items() - TARGET.items()
        name = row["metric"]["__name__"]
        told[name, frozenset(labels - {("__name__", name)})] = float(row["values"][-1][1])
    return told


def without_empty_labels(shown):
    """Return samples as Prometheus keeps them."""
    return {(name, frozenset(pair for pair in labels if pair[1])): value for (name, labels), value in shown.items()}


def test_a_real_prometheus_serves_the_blocks(both):
    """Every sample of every moment is as live polling had it, with the labels of the target."""
    seen, output, folder = both
    promtool("openmetrics", *(f"--label={name}={value}" for name, value in TARGET.items()), output, folder / "data")
    with prometheus(folder, "global: {}\n") as ask:
        until(lambda: stored(ask, max(seen)), "the blocks")
        for when, live_samples in seen.items():
            assert stored(ask, when) == without_empty_labels(live_samples), when


def test_promtool_records_the_past_from_the_blocks(both):
    seen, output, folder = both
    first = folder / "recording"
    first.mkdir()
    promtool("openmetrics", *(f"--label={name}={value}" for name, value in TARGET.items()), output, first / "data")
    span = (f"--start={min(seen):.0f}", f"--end={max(seen) + 30:.0f}", "--eval-interval=30s")
    with prometheus(first, "global: {}\n") as ask:
        until(lambda: stored(ask, max(seen)), "the blocks")
        rules = ROOT / "helm/coc-exporter/files/rules/coc-recording.yaml"
        promtool("rules", f"--url={ask.url}", *span, f"--output-dir={folder / 'data'}", rules)
    with prometheus(folder, "global: {}\n") as ask:
        answer = until(lambda: ask(f"ticket:coc_instance_failures:sum @ {max(seen)}"), "the recorded blocks")
    assert list(answer.values()) == [2.0]


LISTED = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    discovery: {{created_within: 1h, status: [PROCESSING], max_tickets: 1}}
poll: {{interval: 30s, requests_per_second: 200}}
"""


def test_discovery_finds_what_was_there_then_whatever_it_would_find_now(tmp_path):
    """Status, number and age are limits of the present: the past had its own present."""
    day = (time.time() // BLOCK - 36) * BLOCK
    script = simulator.Script()
    for name, created, finished in (
        ("SCT-before", day - 2 * 3600, day - 3600),
        ("SCT-into", day - 1800, day + 60),
        ("SCT-within", day + 60, day + 600),
        ("SCT-open", day + 120, None),
        ("SCT-after", day + BLOCK + 60, day + BLOCK + 600),
    ):
        ticket = script.ticket(name, batches=[1], created=created)
        ticket.set(ticket.ids()[0], "PROCESSING", at=created + 5)
        if finished is not None:
            ticket.finish(at=finished)
    app = simulator.build(world=script)
    with simulator.running(app) as url:
        backfilled(tmp_path, LISTED.format(url=url), day, day + 60)
    told = set(re.findall(r'execute_uuid="([^"]+)"', (tmp_path / "past.om").read_text()))
    assert told == {"SCT-into", "SCT-within", "SCT-open"}
    assert app.state.requests["statistics"] == 3


MEASURED = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "exporter", "backfill", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def backfilled(folder, config_text, start, end):
    """Run the command; return the most memory that it held, in MiB, and the size of what it wrote, likewise."""
    (folder / "config.yaml").write_text(config_text)
    output = folder / "past.om"
    flags = (f"--config.file={folder / 'config.yaml'}", f"--start={start}", f"--end={end}", f"--output={output}")
    # A process begins with the most that its parent ever held; so a small one stands in between.
    done = subprocess.run([sys.executable, "-c", MEASURED, *flags], check=True, capture_output=True, timeout=120)
    return int(done.stdout) / 1024, output.stat().st_size / 1024**2


def long_ticket(script, name, start, hours):
    """A ticket of 50 instances that end one by one over the hours."""
    ticket = script.ticket(name, batches=[10] * 5, created=start)
    for place, number in enumerate(ticket.ids()):
        began = start + place * hours * 3600 / 50
        ticket.set(number, "FINISHED", began=began, at=began + hours * 72, log="x" * 20_000)
    ticket.status("FINISHED", at=start + hours * 3600)


def test_memory_grows_neither_with_the_tickets_nor_with_their_length(tmp_path):
    start = (time.time() // BLOCK - 24) * BLOCK
    script = simulator.Script()
    long_ticket(script, "SCT-short", start, 1)
    for number in range(8):
        long_ticket(script, f"SCT-{number}", start, 12)
    with simulator.running(simulator.build(world=script)) as url:
        short = CONFIG.format(url=url).replace("SCT-past", "SCT-short")
        every = "".join(f"{{execute_uuid: SCT-{number}}}, " for number in range(8))
        many = CONFIG.format(url=url).replace("{execute_uuid: SCT-past}", every)
        little, small = backfilled(tmp_path, short, start, start + 3600)
        much, large = backfilled(tmp_path, many, start, start + 12 * 3600)
    assert large > 50 * small
    assert much < little + 24


def test_tickets_are_read_ahead_but_no_further_than_wanted():
    under_way, most = set(), 0

    async def read(number):
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        await asyncio.sleep(0)
        return number

    async def every():
        async for number in in_order((read(number) for number in range(9)), 3):
            under_way.discard(number)
            yield number

    async def told():
        return [number async for number in every()]

    assert asyncio.run(told()) == list(range(9))
    assert most == 3


def test_a_ticket_that_cannot_be_read_is_exit_1(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.format(url="http://127.0.0.1:9"))
    command = exporter(
        "backfill", f"--config.file={file}", "--start=2026-01-01", "--end=2026-01-02", f"--output={tmp_path / 'out'}"
    )
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1
