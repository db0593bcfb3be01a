"""The exporter's own metrics: there from the start, by the contract's names, bounded in their labels."""

from __future__ import annotations

import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as latest_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed_text

from exporter import errors
from exporter.telemetry import DROP_REASONS, OPERATIONS, Telemetry, reasons

CONTRACT = {
    "coc_exporter_build_info": ("gauge", {"version", "pythonversion"}),
    "coc_exporter_config_last_reload_successful": ("gauge", set()),
    "coc_exporter_config_last_reload_success_timestamp_seconds": ("gauge", set()),
    "coc_exporter_poll_duration_seconds": ("gauge", set()),
    "coc_exporter_last_poll_timestamp_seconds": ("gauge", set()),
    "coc_exporter_poll_interval_seconds": ("gauge", set()),
    "coc_exporter_polls": ("counter", set()),
    "coc_exporter_poll_failures": ("counter", {"reason"}),
    "coc_exporter_poll_overruns": ("counter", set()),
    "coc_exporter_schema_drift": ("counter", {"field"}),
    "coc_exporter_dropped_records": ("counter", {"reason"}),
    "coc_exporter_api_requests": ("counter", {"account", "operation", "code"}),
    "coc_exporter_api_request_duration_seconds": ("histogram", {"account", "operation"}),
    "coc_exporter_api_retries": ("counter", {"account", "operation", "reason"}),
    "coc_exporter_api_token_expiry_timestamp_seconds": ("gauge", {"account"}),
    "coc_exporter_api_clock_offset_seconds": ("gauge", {"account"}),
    "coc_exporter_api_request_rate_limit": ("gauge", {"account"}),
    "coc_exporter_api_queue_wait_seconds": ("histogram", {"account"}),
    "coc_exporter_api_paused_until_timestamp_seconds": ("gauge", {"account"}),
    "coc_exporter_event_loop_lag_seconds": ("histogram", set()),
    "coc_exporter_exposition_bytes": ("gauge", {"format", "encoding"}),
    "coc_exporter_render_duration_seconds": ("gauge", {"format", "encoding"}),
    "coc_exporter_shard_ordinal": ("gauge", set()),
    "coc_exporter_total_shards": ("gauge", set()),
}


def used(telemetry, account="prod"):
    """Return telemetry of which every series exists."""
    telemetry.api_requests.labels(account, "ticket", "200").inc()
    telemetry.api_request_duration.labels(account, "ticket").observe(0.1)
    telemetry.api_retries.labels(account, "ticket", "timeout").inc()
    telemetry.api_clock_offset.labels(account).set(-1)
    telemetry.api_rate_limit.labels(account).set(10)
    telemetry.api_queue_wait.labels(account).observe(0.1)
    telemetry.exposition_bytes.labels("text", "gzip").set(1)
    telemetry.render_duration.labels("text", "gzip").set(1)
    telemetry.paused(account, 1.0)
    telemetry.token_expires(account, 1.0)
    telemetry.drifted("ticket.data.surprise")
    return telemetry


def families(telemetry):
    return {metric.name: metric for metric in telemetry.registry.collect()}


def test_every_family_of_the_contract_is_there_with_its_type_and_labels(telemetry):
    found = families(used(telemetry))
    told = {
        name: (metric.type, {label for sample in metric.samples for label in sample.labels} - {"le"})
        for name, metric in found.items()
        if name in CONTRACT
    }
    assert told == CONTRACT


def test_every_family_of_ours_that_ends_in_a_unit_states_it(telemetry):
    for name, metric in families(used(telemetry)).items():
        unit = next((unit for unit in ("seconds", "bytes", "ratio") if name.endswith(f"_{unit}")), "")
        assert metric.unit == unit, name
        assert re.fullmatch(r"coc_exporter_[a-z_]+", name)
        assert re.fullmatch(r"[^\s].{10,130}\.", metric.documentation)


def test_both_parsers_read_what_is_written(telemetry):
    names = set(families(used(telemetry)))
    assert {m.name for m in parsed_text(generate_latest(telemetry.registry).decode())} == names
    assert {m.name for m in parsed_openmetrics(latest_openmetrics(telemetry.registry).decode())} == names


def test_zeros_are_there_before_the_first_event(telemetry):
    value = telemetry.registry.get_sample_value
    for reason in (*reasons(), "internal"):
        assert value("coc_exporter_poll_failures_total", {"reason": reason}) == 0
    for reason in DROP_REASONS:
        assert value("coc_exporter_dropped_records_total", {"reason": reason}) == 0
    for level in ("warning", "error"):
        assert value("coc_exporter_log_messages_total", {"level": level}) == 0
    assert value("coc_exporter_polls_total") == value("coc_exporter_poll_overruns_total") == 0


def test_no_created_series_is_written(telemetry):
    assert b"_created" not in generate_latest(used(telemetry).registry)


def test_process_metrics_are_there_unless_they_are_not_wanted():
    assert "process_cpu_seconds" in families(Telemetry())
    assert not any(name.startswith(("process_", "python_")) for name in families(Telemetry(process=False)))


def test_two_exporters_in_one_process_do_not_share_a_series():
    one, two = Telemetry(process=False), Telemetry(process=False)
    one.polls.inc()
    assert two.registry.get_sample_value("coc_exporter_polls_total") == 0


def test_every_kind_of_failure_has_a_reason_of_its_own():
    found = list(reasons())
    assert len(found) == len(set(found))
    assert errors.Paused.reason in found


def test_operations_are_those_of_the_contract():
    assert " ".join(OPERATIONS) == (
        "list_tickets ticket statistics batches batch_page iam_token metadata_token metadata_key"
    )


def test_drift_is_counted_by_at_most_fifty_paths(telemetry):
    for number in range(80):
        telemetry.drifted(f"ticket.data.field{number}")
    telemetry.drifted("ticket.data.field3")
    (metric,) = (metric for metric in telemetry.registry.collect() if metric.name == "coc_exporter_schema_drift")
    counted = {sample.labels["field"]: sample.value for sample in metric.samples}
    assert len(counted) == 51
    assert (counted["other"], counted["ticket.data.field3"]) == (30, 2)


@pytest.mark.parametrize("name", ["\ud800", "x" * 10_000, 'a"b\n', "", "日本"])
def test_any_name_of_a_field_can_be_written(telemetry, name):
    telemetry.drifted(f"ticket.data.{name}")
    body = generate_latest(telemetry.registry).decode()
    (line,) = re.findall(r'coc_exporter_schema_drift_total\{field="([^"]*)"\} 1\.0', body)
    assert len(line) <= 120


def test_an_account_that_left_the_config_leaves_no_series(telemetry):
    used(used(telemetry, "prod"), "eu")
    telemetry.forget_account("prod")
    accounts = {sample.labels.get("account") for metric in telemetry.registry.collect() for sample in metric.samples}
    assert accounts == {None, "eu"}


def test_a_pause_and_a_tokens_end_appear_and_vanish(telemetry):
    value = telemetry.registry.get_sample_value
    telemetry.paused("prod", None)
    telemetry.token_expires("prod", None)
    for show, name in (
        (telemetry.paused, "coc_exporter_api_paused_until_timestamp_seconds"),
        (telemetry.token_expires, "coc_exporter_api_token_expiry_timestamp_seconds"),
    ):
        show("prod", 7.0)
        assert value(name, {"account": "prod"}) == 7
        show("prod", None)
        assert value(name, {"account": "prod"}) is None
