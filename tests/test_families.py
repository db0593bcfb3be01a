"""From a snapshot to families: the contract's names, types and labels, and golden expositions."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed_text
from rigs import instance, ticket_of

from exporter import families
from exporter.exposition import Format, write
from exporter.families import Options
from exporter.families.exemplars import of_executions, of_failures
from exporter.poller.ledger import carried
from exporter.snapshot import (
    AccountState,
    Batch,
    Execution,
    Failure,
    Fault,
    Host,
    Instance,
    Reading,
    Snapshot,
    Ticket,
    Watch,
)
from exporter.snapshot.instance import packed

CASES = Path(__file__).parent / "cases" / "families"
ALL = (*families.OF_TICKETS, *families.OF_ALL)


@dataclass
class Case:
    """What is shown, and how the config wants it."""

    snapshot: Snapshot
    options: Options


def case(name):
    told = json.loads((CASES / name / "world.json").read_bytes())
    for reading in told["snapshot"].get("readings", ()):
        for batch in (reading.get("ticket") or {}).get("batches", ()):
            batch["packed"] = packed([told_instance(**one) for one in batch.pop("instances", ())])
    return msgspec.convert(told, Case)


def told_instance(*, host=None, **fields):
    return Instance(**fields, host=Host(**(host or {})))


def collected(snapshot, options=None):
    return [family(snapshot, options or Options()) for family in ALL]


def shown(ticket, **fields):
    return Snapshot(readings=(Reading(Watch("prod", "SCT1"), ticket, tried=1.0, last_success=1.0, **fields),))


def samples(family, snapshot, options=None):
    return [(sample.labels, sample.value) for sample in family(snapshot, options or Options()).samples]


def values(family, snapshot, label, options=None):
    return {labels[label]: value for labels, value in samples(family, snapshot, options)}


# Golden expositions.

NAMES = sorted(path.name for path in CASES.iterdir())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "file"), [(Format.TEXT, "text.txt"), (Format.OPENMETRICS, "openmetrics.txt")])
def test_an_exposition_is_written_as_reviewed(name, kind, file):
    given = case(name)
    assert write(collected(given.snapshot, given.options), kind).decode() == (CASES / name / file).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_both_parsers_read_back_what_was_written(name):
    given = case(name)
    metrics = collected(given.snapshot, given.options)
    told = sorted((s.name, sorted(s.labels.items()), s.value) for metric in metrics for s in metric.samples)
    text = write(metrics, Format.TEXT).decode()
    assert sorted((s.name, sorted(s.labels.items()), s.value) for m in parsed_text(text) for s in m.samples) == told
    om = write(metrics, Format.OPENMETRICS).decode() + "# EOF\n"
    assert (
        sorted((s.name, sorted(s.labels.items()), s.value) for m in parsed_openmetrics(om) for s in m.samples) == told
    )


# The contract.

A, U, B = "account", "execute_uuid", "batch"
HOST = ("resource_id", "host_name", "fixed_ip", "region_id", "zone_id", "application", "group")
CONTRACT = {
    "coc_instances": ("gauge", {A, U, B, "status"}),
    "coc_batch_instances": ("gauge", {A, U, B}),
    "coc_instance_failures": ("counter", {A, U, B, "reason"}),
    "coc_instance_execution_duration_seconds": ("histogram", {A, U, "status"}),
    "coc_abnormal_instance_info": ("gauge", {A, U, B, "instance_id", *HOST, "reason"}),
    "coc_abnormal_instances_omitted": ("gauge", {A, U}),
    "coc_ticket_info": ("gauge", {A, U, "name", "script_name", "creator", "label_team"}),
    "coc_ticket_status": ("gauge", {A, U, "status"}),
    "coc_ticket_created_timestamp_seconds": ("gauge", {A, U}),
    "coc_ticket_finished_timestamp_seconds": ("gauge", {A, U}),
    "coc_ticket_timeout_seconds": ("gauge", {A, U}),
    "coc_ticket_success_rate_threshold_ratio": ("gauge", {A, U}),
    "coc_ticket_current_batch": ("gauge", {A, U}),
    "coc_ticket_oldest_processing_timestamp_seconds": ("gauge", {A, U}),
    "coc_ticket_count_disagreement": ("gauge", {A, U}),
    "coc_ticket_up": ("gauge", {A, U}),
    "coc_ticket_last_success_timestamp_seconds": ("gauge", {A, U}),
    "coc_up": ("gauge", {A}),
    "coc_exporter_tickets": ("gauge", {A, "state"}),
    "coc_exporter_discovery_omitted_tickets": ("gauge", {A}),
    "coc_exporter_listed_tickets": ("gauge", {A}),
}


def test_every_family_of_the_contract_is_there_with_its_type_and_labels():
    given = case("everything")
    told = {}
    for metric in collected(given.snapshot, given.options):
        labels = {name for sample in metric.samples for name in sample.labels} - {"le"}
        told[metric.name] = metric.type, labels
    assert told == CONTRACT


@pytest.mark.parametrize("name", NAMES)
def test_no_series_is_told_twice_and_every_value_is_finite(name):
    given = case(name)
    series = [(s.name, *sorted(s.labels.items())) for m in collected(given.snapshot, given.options) for s in m.samples]
    assert [key for key, number in Counter(series).items() if number > 1] == []
    assert all(math.isfinite(s.value) for m in collected(given.snapshot, given.options) for s in m.samples)


def test_names_labels_and_help_are_as_the_field_has_them():
    given = case("everything")
    for metric in collected(given.snapshot, given.options):
        assert re.fullmatch(r"coc_[a-z0-9_]+", metric.name)
        assert re.fullmatch(r"[^\s].{10,130}\.", metric.documentation)
        for sample in metric.samples:
            assert all(re.fullmatch("[a-z][a-z0-9_]*", label) for label in sample.labels)
            assert not {"job", "instance", "quantile", "type"} & set(sample.labels)
            assert all(isinstance(value, str) for value in sample.labels.values())


def test_every_family_that_ends_in_a_unit_states_it():
    for metric in collected(Snapshot()):
        unit = next((unit for unit in ("seconds", "bytes", "ratio") if metric.name.endswith(f"_{unit}")), "")
        assert metric.unit == unit


def test_labels_stand_in_the_same_order_in_every_sample():
    given = case("everything")
    for metric in collected(given.snapshot, given.options):
        for suffix in {sample.name for sample in metric.samples}:
            assert len({tuple(s.labels) for s in metric.samples if s.name == suffix}) == 1


# Instances.


def test_all_six_statuses_are_there_zeros_included_and_a_new_one_by_its_name():
    ticket = ticket_of("RPACFB")
    assert values(families.instance.instances, shown(ticket), "status") == dict.fromkeys(
        ["READY", "PROCESSING", "ABNORMAL", "CANCELED", "FINISHED", "ROLLBACKED"], 1
    )
    new = replace(ticket, batches=(Batch.of(1, 1, (instance(1, "PARKED"),)),))
    assert values(families.instance.instances, shown(new), "status")["PARKED"] == 1


def test_an_empty_batch_is_all_zeros():
    ticket = ticket_of("")
    assert set(values(families.instance.instances, shown(ticket), "status").values()) == {0}
    assert samples(families.instance.batch_instances, shown(ticket)) == [({A: "prod", U: "SCT1", B: "1"}, 0)]


def test_batches_are_summed_when_they_are_not_told_apart():
    options = Options(per_batch=False)
    told = values(families.instance.instances, shown(ticket_of("FFA", "FP")), "status", options)
    assert (told["FINISHED"], told["ABNORMAL"], told["PROCESSING"], told["READY"]) == (3, 1, 1, 0)
    assert samples(families.instance.batch_instances, shown(ticket_of("FF", "F")), options) == [
        ({A: "prod", U: "SCT1"}, 3)
    ]


def test_a_ticket_without_batches_still_shows_zeros_when_they_are_summed():
    told = values(families.instance.instances, shown(ticket_of()), "status", Options(per_batch=False))
    assert set(told.values()) == {0}
    assert samples(families.instance.instances, shown(ticket_of())) == []


def test_failures_of_a_ticket_begin_at_zero_for_every_batch():
    told = samples(families.instance.instance_failures, shown(ticket_of("F", "P")))
    assert [(labels[B], labels["reason"], value) for labels, value in told] == [("1", "other", 0), ("2", "other", 0)]


def test_an_execution_falls_into_the_bucket_whose_bound_it_does_not_exceed():
    runs = tuple(Execution(number, 1.0, "FINISHED", seconds) for number, seconds in enumerate([0.0, 5.0, 5.001, 1e9]))
    family = families.instance.instance_execution_duration(
        shown(ticket_of(past_executions=runs)), Options(buckets=(5, 60))
    )
    told = {
        s.labels["le"]: s.value for s in family.samples if s.labels.get("status") == "FINISHED" and "le" in s.labels
    }
    assert told == {"5.0": 2, "60.0": 3, "+Inf": 4}
    total = [s.value for s in family.samples if s.name.endswith("_sum") and s.labels["status"] == "FINISHED"]
    assert total == [1_000_000_010.001]


def test_the_sum_does_not_depend_on_the_order_in_which_executions_are_told():
    runs = [Execution(number, 1.0, "FINISHED", 0.1 * number) for number in range(100)]
    told = {
        families.instance.instance_execution_duration(shown(ticket_of(past_executions=tuple(order))), Options())
        .samples[-1]
        .value
        for order in (runs, runs[::-1], sorted(runs, key=lambda run: run.instance_id % 7))
    }
    assert len(told) == 1


def abnormal(*numbers, **fields):
    instances = tuple(Instance(number, "ABNORMAL", host=Host(f"r-{number}"), **fields) for number in numbers)
    return ticket_of(status="PROCESSING", batches=(Batch.of(1, len(numbers), instances),))


def ids(ticket, most):
    family = families.instance.abnormal_instance_info(shown(ticket), Options(abnormal_instances=most))
    return [sample.labels["instance_id"] for sample in family.samples]


def test_the_abnormal_instances_that_are_named_stay_the_same_while_others_come():
    assert ids(abnormal(9, 3, 7), 2) == ["3", "7"]
    assert ids(abnormal(9, 3, 12, 7, 11), 2) == ["3", "7"]
    assert samples(
        families.instance.abnormal_instances_omitted, shown(abnormal(9, 3, 7)), Options(abnormal_instances=2)
    ) == [({A: "prod", U: "SCT1"}, 1)]


def test_no_abnormal_instance_is_named_when_the_config_says_so():
    assert ids(abnormal(1, 2), 0) == []


@pytest.mark.parametrize("per_batch", [True, False])
def test_two_instances_with_one_id_make_no_series_twice(per_batch):
    one = Instance(7, "ABNORMAL", finished=5.0)
    ticket = ticket_of(batches=(Batch.of(1, 1, (one,)), Batch.of(2, 1, (one,))))
    options = Options(per_batch=per_batch)
    for metric in collected(shown(ticket), options):
        series = [(s.name, *sorted(s.labels.items())) for s in metric.samples]
        assert len(series) == len(set(series))


# Tickets.


def test_a_ticket_is_in_one_status():
    told = values(families.ticket.status, shown(ticket_of("P", status="PAUSED")), "status")
    assert (told["PAUSED"], sum(told.values()), len(told)) == (1, 1, 7)


def test_the_oldest_that_runs_is_told_and_none_when_none_does():
    running = (
        Instance(1, "PROCESSING", 50.0),
        Instance(2, "PROCESSING", 40.0),
        Instance(3, "FINISHED", 10.0),
        Instance(4, "PROCESSING"),
    )
    ticket = ticket_of(batches=(Batch.of(1, 4, running),))
    assert samples(families.ticket.oldest_processing, shown(ticket)) == [({A: "prod", U: "SCT1"}, 40.0)]
    assert samples(families.ticket.oldest_processing, shown(ticket_of("FF"))) == []


def test_what_the_api_does_not_tell_is_absent():
    bare = shown(Ticket("SCT1", "PROCESSING"))
    for family in (
        families.ticket.created,
        families.ticket.finished,
        families.ticket.timeout,
        families.ticket.success_rate_threshold,
        families.ticket.current_batch,
    ):
        assert samples(family, bare) == []


@pytest.mark.parametrize(
    ("pages", "stated", "gap"),
    [
        (("FP",), ("FP",), 0),
        (("FF",), ("FP",), 1),
        (("FFF",), ("F",), 2),
        (("F",), ("FPP",), 2),
        (("FF", "P"), ("PP", "F"), 1),
    ],
)
def test_disagreement_is_the_number_of_instances_that_differ(pages, stated, gap):
    ticket = ticket_of(*pages, statistics=ticket_of(*stated).statistics)
    assert samples(families.ticket.count_disagreement, shown(ticket)) == [({A: "prod", U: "SCT1"}, gap)]


def test_disagreement_is_absent_where_only_some_batches_are_watched():
    ticket = ticket_of("F", statistics=ticket_of("F", "PP").statistics, partial=True)
    assert samples(families.ticket.count_disagreement, shown(ticket)) == []


def test_data_that_is_too_old_vanishes_and_that_the_ticket_is_down_stays():
    fault = Fault("timeout", "no answer", 1.0)
    stale = shown(ticket_of("F"), fault=fault, stale=True)
    told = {metric.name for metric in collected(stale) if metric.samples}
    assert told == {"coc_ticket_up", "coc_ticket_last_success_timestamp_seconds"}
    assert samples(families.ticket.ticket_up, stale) == [({A: "prod", U: "SCT1"}, 0)]


def test_a_ticket_never_tried_is_neither_up_nor_down():
    untried = Snapshot(readings=(Reading(Watch("prod", "SCT1")),))
    assert samples(families.ticket.ticket_up, untried) == []


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (AccountState("a"), []),
        (AccountState("a", polled=1.0), [({A: "a"}, 1)]),
        (AccountState("a", Fault("empty", "no ticket", 1.0), 1.0), [({A: "a"}, 1)]),
        (AccountState("a", Fault("connect", "refused", 1.0), 1.0, accepted=False), [({A: "a"}, 0)]),
    ],
)
def test_an_account_is_up_when_its_api_accepted_us(state, told):
    assert samples(families.account.up, Snapshot(accounts=(state,))) == told


# Exemplars.

RUN = Execution(7, 100.0, "FINISHED", 5.0, "web-1")


def test_the_slowest_execution_is_the_example_of_its_bucket():
    slow = structs.replace(RUN, instance_id=8, seconds=9.0, finished=50.0)
    found = of_executions([RUN, slow], frozenset())
    assert (found.labels, found.value, found.timestamp) == ({"instance_id": "8", "host_name": "web-1"}, 9.0, 50.0)


def test_what_was_learnt_of_late_or_has_no_end_is_no_example():
    slow = structs.replace(RUN, instance_id=8, seconds=9.0, finished=50.0)
    assert of_executions([RUN, slow], {(8, 50.0)}).labels["instance_id"] == "7"
    assert of_executions([structs.replace(RUN, finished=None)], frozenset()) is None
    assert of_executions([], frozenset()) is None


def test_the_latest_failure_is_the_example():
    failures = [Failure(1, 50.0, 1, "x"), Failure(2, 90.0, 1, "x", "h", 4.0), Failure(3, None, 1, "x")]
    assert of_failures(failures).labels["instance_id"] == "2"
    assert of_failures([Failure(3, None, 1, "x")]) is None


@pytest.mark.parametrize(
    ("host", "there"), [("日" * 100, True), ("日" * 107, True), ("日" * 108, False), ("h" * 200, False), ('a"b', False)]
)
def test_an_example_names_its_host_as_far_as_its_readers_take_it(host, there):
    labels = of_executions([structs.replace(RUN, host_name=host)], frozenset()).labels
    assert labels == {"instance_id": "7"} | ({"host_name": host} if there else {})
    assert sum(len(name) + len(value) for name, value in labels.items()) <= 128


ENDS = st.builds(
    lambda number, finished, seconds, status: instance(number, status, finished, seconds),
    st.integers(1, 6),
    st.sampled_from([None, 1.0, 2.0, 3.0, 4.0]),
    st.sampled_from([0.5, 2.0, 20.0]),
    st.sampled_from(["FINISHED", "ABNORMAL", "PROCESSING"]),
)


@settings(max_examples=100)
@given(st.lists(st.lists(ENDS, max_size=4, unique_by=lambda made: made.id), min_size=1, max_size=6))
def test_no_example_is_ever_older_than_the_one_shown_before(history):
    held, before = None, {}
    for pages in history:
        held = carried(held, ticket_of(batches=(Batch.of(1, len(pages), tuple(pages)),)))
        for family in (families.instance.instance_execution_duration, families.instance.instance_failures):
            for sample in family(shown(held), Options(buckets=(1, 10))).samples:
                key = (sample.name, *sorted(sample.labels.items()))
                if sample.exemplar is not None:
                    assert sample.exemplar.timestamp >= before.get(key, 0.0)
                    before[key] = sample.exemplar.timestamp


# Anything.

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(max_examples=60)
@given(account=WORDS, name=WORDS, label=WORDS, host=WORDS, creator=WORDS, reason=st.sampled_from(["", "disk_full"]))
def test_any_words_come_back_from_both_formats(account, name, label, host, creator, reason):
    failed = Instance(1, "ABNORMAL", 1.0, 2.0, 1.0, Host("r", host), reason)
    ticket = ticket_of(batches=(Batch.of(1, 1, (failed,)),), creator=creator)
    reading = Reading(Watch(account, "SCT1", name, {"team": label}), ticket, tried=1.0, last_success=1.0)
    metrics = collected(Snapshot(readings=(reading,)), Options(ticket_labels=("label_team",)))
    told = sorted((s.name, sorted(s.labels.items()), s.value) for metric in metrics for s in metric.samples)
    text = write(metrics, Format.TEXT).decode()
    assert sorted((s.name, sorted(s.labels.items()), s.value) for m in parsed_text(text) for s in m.samples) == told
    om = write(metrics, Format.OPENMETRICS).decode() + "# EOF\n"
    assert (
        sorted((s.name, sorted(s.labels.items()), s.value) for m in parsed_openmetrics(om) for s in m.samples) == told
    )
