"""From families to bytes: incremental yet identical, rendered once, and never poisoned by one bad ticket."""

from __future__ import annotations

import asyncio
import gzip
import math
import threading
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest
from conftest import FakeClock, run
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest as latest_text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as latest_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.samples import Exemplar
from rigs import ticket_of

from exporter import families
from exporter.exposition import Board, Encoding, Format, Renderer, Variant, packing, sheets, write
from exporter.exposition.lines import sample_lines
from exporter.families import Options
from exporter.families.family import CounterFamily, GaugeFamily, HistogramFamily
from exporter.snapshot import AccountState, Fault, Reading, Snapshot, Watch
from exporter.telemetry import Telemetry

TEXT = Variant(Format.TEXT, Encoding.IDENTITY)
TEXT_GZIP = Variant(Format.TEXT, Encoding.GZIP)
OPENMETRICS = Variant(Format.OPENMETRICS, Encoding.IDENTITY)


def reading(uuid, batches=("FA", "P"), **fields):
    return Reading(Watch("prod", uuid), ticket_of(*batches), tried=1.0, last_success=1.0, **fields)


def snapshot(*readings, **fields):
    return Snapshot((AccountState("prod", polled=1.0),), readings, **fields)


class Quiet:
    """Telemetry that stands still, so that two bodies can be compared byte by byte."""

    def __init__(self):
        self.registry = CollectorRegistry()
        GaugeOfNothing(self.registry)

    def __getattr__(self, _name):
        return self

    def __call__(self, *_arguments):
        return self


class GaugeOfNothing:
    def __init__(self, registry):
        registry.register(self)

    def collect(self):
        yield GaugeMetricFamily("coc_exporter_still", "Stands still.", value=1)


class AtOnce:
    """Every family of a snapshot at once, as prometheus_client would be given them."""

    def __init__(self, snapshot, options):
        self._snapshot, self._options = snapshot, options

    def collect(self):
        for family in (*families.OF_TICKETS, *families.OF_ALL):
            yield family(self._snapshot, self._options)
        yield from GaugeOfNothing(CollectorRegistry()).collect()


def whole(snapshot, options, kind):
    write = latest_text if kind is Format.TEXT else latest_openmetrics
    return write(AtOnce(snapshot, options))


# The renderer.

OPTIONS = (Options(), Options(per_batch=False, buckets=(5,), ticket_labels=("label_team",)))
BATCHES = st.lists(st.text("RPACFB", max_size=3), max_size=2)
READINGS = st.builds(
    lambda account, uuid, name, batches, state: Reading(
        Watch(account, uuid, name, {"team": name}),
        None if state == "unread" else ticket_of(*batches),
        None if state == "up" else Fault("timeout", "no answer", 1.0),
        last_success=None if state == "unread" else 2.0,
        tried=2.0,
        stale=state == "stale",
    ),
    st.sampled_from(["prod", "eu"]),
    st.sampled_from(["SCT1", "SCT2", "SCT3", "SCT4", "SCT5"]),
    st.sampled_from(["", "nightly", 'a "quoted" \\ name\n# HELP x', "运维\u2028\x85"]),
    BATCHES,
    st.sampled_from(["up", "down", "stale", "unread"]),
)
SNAPSHOTS = st.lists(READINGS, max_size=6, unique_by=lambda made: (made.watch.account, made.watch.execute_uuid))


def turned(readings, place, batches):
    """Yield the readings, then with another ticket in one place, then without it, then as they were."""
    yield readings
    yield [replace(made, ticket=ticket_of(*batches)) if at == place else made for at, made in enumerate(readings)]
    yield [made for at, made in enumerate(readings) if at != place]
    yield readings


@settings(max_examples=40)
@given(
    history=st.lists(
        st.tuples(SNAPSHOTS, st.sampled_from(OPTIONS), st.sampled_from(Format), st.integers(0, 5), BATCHES),
        min_size=1,
        max_size=4,
    )
)
def test_a_body_is_byte_for_byte_what_prometheus_client_writes_of_all_families_at_once(history):
    renderer = Renderer(families.OF_TICKETS, families.OF_ALL, Quiet())
    kept = {}
    with pytest.MonkeyPatch.context() as patched:
        # About every second ticket ends a sheet, so that tickets come and go on either side of an end.
        patched.setattr(sheets, "_MEMBERS", 2)
        for readings, options, kind, place, batches in history:
            # The same objects come again where nothing changed, as the poller hands them over.
            held = [kept.setdefault(repr(made), made) for made in readings]
            for told in turned(held, place, batches):
                shown = snapshot(*told)
                body = b"".join(renderer.body(shown, options, Variant(kind, Encoding.IDENTITY)))
                assert body == whole(shown, options, kind)
                assert gzip.decompress(b"".join(renderer.body(shown, options, Variant(kind, Encoding.GZIP)))) == body
            renderer.keep([Variant(kind, Encoding.GZIP)])


LABELS = st.dictionaries(st.sampled_from(["account", "status", "a", "Z_9"]), st.text(), max_size=3)
NUMBERS = st.floats() | st.integers(-(2**70), 2**70) | st.booleans()


BUCKETS = st.tuples(st.just("+Inf"), NUMBERS, st.none() | st.builds(Exemplar, LABELS, NUMBERS, st.none() | NUMBERS))


@st.composite
def pairs(draw):
    """Any family of ours, and prometheus_client's of the same; any labels and values, and exemplars where they may."""
    labels, (bound, number, exemplar), total = draw(LABELS), draw(BUCKETS), draw(NUMBERS)
    names, told = list(labels), list(labels.values())
    match draw(st.sampled_from(["gauge", "counter", "histogram"])):
        case "gauge":
            made = GaugeFamily("coc_made_up_seconds", "Made up.", names)
            theirs = GaugeMetricFamily("coc_made_up_seconds", "Made up.", labels=names, unit="seconds")
            theirs.add_metric(told, number)
            made.add_metric(told, number)
        case "counter":
            made = CounterFamily("coc_made_up", "Made up.", names)
            theirs = CounterMetricFamily("coc_made_up", "Made up.", labels=names)
            theirs.add_metric(told, number, exemplar=exemplar)
            made.add_metric(told, number, exemplar)
        case "histogram":
            made = HistogramFamily("coc_made_up_ratio", "Made up.", names)
            theirs = HistogramMetricFamily("coc_made_up_ratio", "Made up.", labels=names, unit="ratio")
            theirs.add_metric(told, [(bound, number, exemplar) if exemplar else (bound, number)], total)
            made.add_metric(told, [(bound, number, exemplar)], total)
    return made, theirs


@given(pair=pairs(), kind=st.sampled_from(Format))
def test_a_family_is_byte_for_byte_what_prometheus_client_makes_of_the_same(pair, kind):
    made, theirs = pair
    headed = write([theirs], kind)
    assert write([made], kind) == headed
    lines = [line for line in headed.split(b"\n") if line and not line.startswith(b"# ")]
    assert sample_lines(made, exemplars=kind is Format.OPENMETRICS) == b"".join(line + b"\n" for line in lines)


KINDS = pytest.mark.parametrize("kind", Format)


def lines_of(family, kind):
    """Return the lines by ours, and those by prometheus_client."""
    theirs = [line for line in write([family], kind).split(b"\n") if line and not line.startswith(b"# ")]
    return sample_lines(family, exemplars=kind is Format.OPENMETRICS).split(b"\n")[:-1], theirs


@KINDS
@pytest.mark.parametrize(
    "value", [0, 1, 999, 1000, 1001, -1, 2**70, True, False, 0.0, -0.0, 0.5, 1e16, math.inf, math.nan]
)
def test_a_value_is_written_as_prometheus_client_writes_it(value, kind):
    family = GaugeFamily("coc_made_up", "Made up.", ["a"])
    family.add_metric(["b"], value)
    ours, theirs = lines_of(family, kind)
    assert ours == theirs


@KINDS
@pytest.mark.parametrize("text", ["", "plain", "运维\u2028", "\\", "\n", '"', 'all "of"\\ them\n'])
def test_a_label_is_escaped_where_it_must_be(text, kind):
    family = CounterFamily("coc_made_up", "Made up.", ["a", "B"])
    family.add_metric(["plain", text], 1, Exemplar({"z": text, "a": "plain"}, 1.0))
    ours, theirs = lines_of(family, kind)
    assert ours == theirs


@KINDS
@pytest.mark.parametrize("labels", [{}, {"a": "b"}])
@pytest.mark.parametrize("at", [None, 0.0, 1767323045.218])
def test_an_exemplar_has_a_time_where_it_is_known(labels, at, kind):
    family = HistogramFamily("coc_made_up", "Made up.", list(labels))
    family.add_metric(list(labels.values()), [("1.0", 1, Exemplar(labels, 0.5, at)), ("+Inf", 2, None)], 3.5)
    ours, theirs = lines_of(family, kind)
    assert ours == theirs


class Counting:
    """A family that counts how often it was asked of a ticket."""

    def __init__(self):
        self.asked = []

    def __call__(self, snapshot, _options):
        self.asked += [made.watch.execute_uuid for made in snapshot.readings]
        family = GaugeFamily("coc_counted", "Counted.", ["execute_uuid"])
        for made in snapshot.readings:
            if made.watch.name == "poison":
                raise ZeroDivisionError
            family.add_metric([made.watch.execute_uuid], 1)
        return family


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def renderer(counting, telemetry):
    return Renderer((counting,), (), telemetry)


def test_what_was_written_of_an_unchanged_ticket_is_not_written_again(renderer, counting):
    one, two = reading("SCT1"), reading("SCT2")
    options = Options()
    renderer.body(snapshot(one, two), options, TEXT)
    renderer.body(snapshot(one, replace(two, tried=9.0, last_success=9.0)), options, TEXT)
    assert counting.asked == ["SCT1", "SCT2"]
    renderer.body(snapshot(one, replace(two, ticket=replace(two.ticket))), options, TEXT)
    renderer.body(snapshot(two, one), options, TEXT_GZIP)
    renderer.body(snapshot(one, replace(two, stale=True)), options, TEXT)
    renderer.body(snapshot(one, replace(two, watch=replace(two.watch, name="n"))), options, TEXT)
    assert counting.asked == ["SCT1", "SCT2", "SCT2", "SCT2", "SCT2", "SCT2"]


def test_other_options_and_another_format_are_written_anew(renderer, counting):
    one = reading("SCT1")
    renderer.body(snapshot(one), Options(), TEXT)
    renderer.body(snapshot(one), Options(per_batch=False), TEXT)
    renderer.body(snapshot(one), Options(per_batch=False), OPENMETRICS)
    assert counting.asked == ["SCT1"] * 3


def test_a_vanished_ticket_is_forgotten(renderer):
    one, two = reading("SCT1"), reading("SCT2")
    renderer.body(snapshot(one, two), Options(), TEXT)
    renderer.body(snapshot(two), Options(), TEXT)
    assert [said.key for said in renderer._said[Format.TEXT]] == [("prod", "SCT2")]
    assert [sheet.members for sheet in renderer._sheets[TEXT]] == [tuple(renderer._said[Format.TEXT])]


def test_what_is_remembered_for_a_variant_goes_with_it(renderer):
    one = snapshot(reading("SCT1"))
    renderer.body(one, Options(), TEXT)
    renderer.body(one, Options(), TEXT_GZIP)
    renderer.keep([TEXT_GZIP])
    assert {variant: len(told) for variant, told in renderer._sheets.items()} == {TEXT_GZIP: 1}
    assert {kind: len(said) for kind, said in renderer._said.items()} == {Format.TEXT: 1}
    renderer.keep([OPENMETRICS])
    assert (renderer._sheets, renderer._said) == ({}, {})


def test_a_variant_is_forgotten_without_waiting_for_a_rendering_under_way(renderer):
    with renderer._lock:
        renderer.keep(())


def test_of_a_poll_that_changed_one_ticket_all_other_parts_are_handed_out_as_they_are(renderer):
    many, options = [reading(f"SCT{number:03}") for number in range(300)], Options()
    before = renderer.body(snapshot(*many), options, TEXT_GZIP)
    earlier = renderer._sheets[TEXT_GZIP]
    assert len(earlier) > 2
    many[100] = replace(many[100], ticket=ticket_of("A"))
    del many[200]
    body = renderer.body(snapshot(*many), options, TEXT_GZIP)
    assert before != body
    kept = {id(sheet) for sheet in earlier} & {id(sheet) for sheet in renderer._sheets[TEXT_GZIP]}
    assert len(kept) == len(earlier) - 2


def test_large_parts_of_a_body_are_shared_by_two_publications_and_small_ones_sent_together(telemetry):
    renderer = Renderer(families.OF_TICKETS, families.OF_ALL, telemetry)
    many, options = [reading(f"SCT{number:03}", ["F"] * 10) for number in range(200)], Options()
    before = renderer.body(snapshot(*many), options, TEXT)
    after = renderer.body(snapshot(*many, taken=2.0), options, TEXT)
    assert len({id(part) for part in before} & {id(part) for part in after}) >= 2
    assert all(max(len(one), len(two)) > 128 * 1024 for one, two in pairwise(after))


def test_a_ticket_that_cannot_be_written_is_left_out_and_counted(renderer, telemetry, caplog):
    poison = Reading(Watch("prod", "SCT2", "poison"), ticket_of("F"))
    shown = snapshot(reading("SCT1"), poison, reading("SCT3"))
    body = b"".join(renderer.body(shown, Options(), OPENMETRICS)).decode()
    told = [s.labels["execute_uuid"] for m in parsed_openmetrics(body) if m.name == "coc_counted" for s in m.samples]
    assert told == ["SCT1", "SCT3"]
    assert telemetry.registry.get_sample_value("coc_exporter_render_failures_total") == 1
    assert "left out" in caplog.text


def test_a_body_tells_its_own_size_and_time(telemetry):
    renderer = Renderer(families.OF_TICKETS, families.OF_ALL, telemetry)
    body = renderer.body(snapshot(reading("SCT1")), Options(), TEXT_GZIP)
    labels = {"format": "text", "encoding": "gzip"}
    assert telemetry.registry.get_sample_value("coc_exporter_exposition_bytes", labels) == sum(map(len, body))
    assert telemetry.registry.get_sample_value("coc_exporter_render_duration_seconds", labels) > 0


def test_the_same_exposition_is_packed_into_the_same_bytes():
    bodies = {
        Renderer(families.OF_TICKETS, families.OF_ALL, Quiet()).body(snapshot(reading("SCT1")), Options(), TEXT_GZIP)
        for _ in range(2)
    }
    assert len(bodies) == 1


def test_an_openmetrics_body_ends_once(telemetry):
    renderer = Renderer(families.OF_TICKETS, families.OF_ALL, telemetry)
    body = b"".join(renderer.body(snapshot(reading("SCT1")), Options(), OPENMETRICS))
    assert body.endswith(b"\n# EOF\n")
    assert body.count(b"# EOF") == 1
    assert b"\n\n" not in body


# Packing.


@given(texts=st.lists(st.binary(max_size=2000), max_size=8))
def test_pieces_packed_each_on_its_own_are_together_one_gzip_stream(texts):
    stream = b"".join(packing.gzip(map(packing.pack, texts)))
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert unpacker.decompress(stream) + unpacker.flush() == b"".join(texts)
    # One member to its end, its checksum and length in order: readers stop there.
    assert unpacker.eof
    assert unpacker.unused_data == b""


def test_a_piece_packed_once_can_stand_anywhere():
    one, two = packing.pack(b"a" * 70_000), packing.pack(b"b" * 33)
    for pieces, text in (((one, two, one), b"a" * 70_000 + b"b" * 33 + b"a" * 70_000), ((two, two), b"b" * 66)):
        assert gzip.decompress(b"".join(packing.gzip(pieces))) == text


# The board.


class Slow:
    """A renderer that waits for the test, counts, and fails when told to."""

    def __init__(self):
        self.rendered = []
        self.failing = False
        self.kept = None
        self.go = threading.Event()
        self.go.set()

    def body(self, snapshot, _options, variant):
        assert self.go.wait(10)
        self.rendered.append((snapshot.taken, variant))
        if self.failing:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return (f"{snapshot.taken} {variant.format.value}".encode(),)

    def keep(self, variants):
        self.kept = set(variants)


@pytest.fixture
def slow():
    return Slow()


def board(slow, clock=None):
    return Board(slow, Options(), clock or FakeClock())


def at(taken):
    return Snapshot(taken=taken)


def test_a_variant_is_rendered_once_however_many_ask(slow):
    async def main():
        held = board(slow)
        await held.publish(at(1.0), Options())
        slow.go.clear()
        asking = [asyncio.create_task(held.body(TEXT)) for _ in range(20)]
        await asyncio.sleep(0)
        slow.go.set()
        return set(await asyncio.gather(*asking))

    assert run(main()) == {(b"1.0 text",)}
    assert slow.rendered == [(1.0, TEXT)]


def test_what_is_in_demand_is_rendered_before_it_takes_the_place_of_the_last(slow):
    async def main():
        held = board(slow)
        await held.body(TEXT)
        slow.go.clear()
        publishing = asyncio.create_task(held.publish(at(2.0), Options()))
        await asyncio.sleep(0)
        before = await held.body(TEXT)
        slow.go.set()
        await publishing
        rendered = len(slow.rendered)
        after = await held.body(TEXT)
        return before, after, len(slow.rendered) - rendered, held.current.taken

    assert run(main()) == ((b"None text",), (b"2.0 text",), 0, 2.0)


def test_a_variant_that_is_asked_for_during_a_publication_does_not_disturb_it(slow):
    async def main():
        held = board(slow)
        await held.body(TEXT)
        slow.go.clear()
        publishing = asyncio.create_task(held.publish(at(2.0), Options()))
        await asyncio.sleep(0)
        other = asyncio.create_task(held.body(OPENMETRICS))
        await asyncio.sleep(0)
        slow.go.set()
        await publishing
        return await other, await held.body(OPENMETRICS)

    assert run(main()) == ((b"None openmetrics",), (b"2.0 openmetrics",))


def test_a_scraper_that_hangs_up_does_not_take_the_body_from_the_others(slow):
    async def main():
        held = board(slow)
        slow.go.clear()
        first, second = (asyncio.create_task(held.body(TEXT)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        slow.go.set()
        return await second

    assert run(main()) == (b"None text",)
    assert len(slow.rendered) == 1


def test_a_rendering_that_failed_is_tried_again_by_the_next_who_asks(slow):
    async def main():
        held = board(slow)
        slow.failing = True
        with pytest.raises(UnicodeEncodeError):
            await held.body(TEXT)
        slow.failing = False
        return await held.body(TEXT)

    assert run(main()) == (b"None text",)


def test_a_publication_that_cannot_be_rendered_leaves_the_last_one_in_place(slow):
    async def main():
        held = board(slow)
        await held.publish(at(1.0), Options())
        await held.body(TEXT)
        slow.failing = True
        with pytest.raises(UnicodeEncodeError):
            await held.publish(at(2.0), Options())
        return await held.body(TEXT), held.current.taken

    assert run(main()) == ((b"1.0 text",), 1.0)


def test_a_failure_that_nobody_waits_for_is_not_complained_of(slow):
    complaints = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        held = board(slow)
        slow.failing = True
        slow.go.clear()
        asking = asyncio.create_task(held.body(TEXT))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        (task,) = held._edition.bodies.values()
        slow.go.set()
        await asyncio.gather(asyncio.wrap_future(task), return_exceptions=True)
        held._edition.bodies.clear()
        del task, held

    run(main())
    assert complaints == []


def test_what_nobody_asks_for_any_more_is_neither_rendered_nor_remembered(slow):
    clock = FakeClock()

    async def main():
        held = board(slow, clock)
        await held.body(TEXT)
        await held.publish(at(1.0), Options())
        clock.advance(601)
        await held.body(OPENMETRICS)
        slow.rendered.clear()
        await held.publish(at(2.0), Options())

    run(main())
    assert slow.rendered == [(2.0, OPENMETRICS)]
    assert slow.kept == {OPENMETRICS}


def test_many_threads_render_at_once_and_each_gets_its_own_snapshot():
    renderer = Renderer(families.OF_TICKETS, families.OF_ALL, Telemetry(process=False))

    async def main():
        held = [Board(renderer, Options(), FakeClock()) for _ in range(4)]
        for number, one in enumerate(held):
            await one.publish(snapshot(reading(f"SCT{number}")), Options())
        bodies = await asyncio.gather(*(one.body(TEXT) for one in held for _ in range(3)))
        return [[f'execute_uuid="SCT{number}"'.encode() in b"".join(body) for number in range(4)] for body in bodies]

    told = run(main())
    assert told == [[number == place // 3 for number in range(4)] for place in range(12)]
