"""From the API's shapes to our words: units, spellings, nulls, and logs cut to their tail."""

from __future__ import annotations

import json

import pytest
from rigs import UUID, page, row

from exporter.api import Statuses, wire
from exporter.api.decode import decode
from exporter.api.interpret import Interpreter, tail
from exporter.snapshot import STATUSES, Host, Instance, Ticket

DRIFT = "coc_exporter_schema_drift_total"
DROPPED = "coc_exporter_dropped_records_total"


@pytest.fixture
def interpreter(telemetry):
    return Interpreter(Statuses(), telemetry, lambda log: "disk_full" if "No space" in log else "other", keep_logs=True)


def one(interpreter, telemetry, **fields):
    body = json.dumps({"data": page(row(7, **fields))}).encode()
    data = decode(body, wire.BatchPageAnswer, "batch_page", telemetry).data
    return interpreter.batch_page(data).items[0]


def test_an_instance_is_told_in_seconds(interpreter, telemetry):
    assert one(interpreter, telemetry) == Instance(
        7, "FINISHED", 1767323105.301, 1767323141.544, 36.243, Host("r-7", "web-7")
    )


def test_a_failed_instance_has_its_reason_and_the_tail_of_its_log(interpreter, telemetry):
    found = one(interpreter, telemetry, status="ABNORMAL", message="x" * 5000 + "No space left")
    assert found.reason == "disk_full"
    assert found.log_tail.endswith("No space left")
    assert len(found.log_tail) == 4096


def test_the_log_of_an_instance_that_did_not_fail_is_dropped(interpreter, telemetry):
    assert one(interpreter, telemetry, message="No space left").log_tail == ""


def test_no_log_is_kept_when_none_is_to_be_shown(telemetry):
    silent = Interpreter(Statuses(), telemetry, lambda _log: "disk_full", keep_logs=False)
    found = one(silent, telemetry, status="ABNORMAL", message="No space left")
    assert (found.reason, found.log_tail) == ("disk_full", "")


@pytest.mark.parametrize("log", ["", "ascii" * 2000, "日" * 3000, "a" + "日" * 3000, "\U0001f600" * 2000])
def test_a_tail_is_at_most_four_kibibytes_of_whole_characters(log):
    cut = tail(log)
    assert len(cut.encode()) <= 4096
    assert log.endswith(cut)
    assert len(cut.encode()) > min(4092, len(log.encode()) - 1)


@pytest.mark.parametrize(
    ("fields", "reason", "seconds"),
    [
        ({"execute_costs": 5}, "duration_mismatch", 36.243),
        ({"execute_costs": -5, "gmt_finished": None}, "duration_range", None),
    ],
)
def test_a_duration_that_is_refused_is_counted(interpreter, telemetry, fields, reason, seconds):
    assert one(interpreter, telemetry, **fields).duration == seconds
    assert telemetry.registry.get_sample_value(DROPPED, {"reason": reason}) == 1


def test_a_host_is_told_from_whatever_fields_there_are(interpreter, telemetry):
    assert one(interpreter, telemetry, target_instance=None).host == Host()
    bare = one(interpreter, telemetry, target_instance={"resource_id": "r", "region_id": "cn-north-4"}).host
    assert bare == Host("r", region_id="cn-north-4")
    assert bare.label == "r"


def test_a_long_name_is_cut(interpreter, telemetry):
    target = {"resource_id": "r", "properties": {"host_name": "h" * 300}}
    assert one(interpreter, telemetry, target_instance=target).host.host_name == "h" * 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        *((name, name) for name in STATUSES),
        ("ROLLED BACK", "ROLLBACKED"),
        ("ROLLED_BACK", "ROLLBACKED"),
        ("ERROR", "ABNORMAL"),
    ],
)
def test_a_documented_status_has_one_spelling(raw, status):
    assert Statuses().name(raw) == (status, True)


def test_a_new_status_has_a_name_fit_for_a_label():
    statuses = Statuses()
    assert statuses.name("in flight: 50%") == ("in_flight__50_", False)
    assert statuses.name("x" * 50) == ("x" * 32, False)
    assert statuses.name("") == ("OTHER", False)
    assert statuses.name("日本") == ("__", False)


def test_from_the_ninth_on_a_new_status_is_other():
    statuses = Statuses()
    for nothing in ("", "OTHER"):
        statuses.name(nothing)
    assert [statuses.name(f"NEW{number}")[0] for number in range(10)] == [
        *(f"NEW{number}" for number in range(8)),
        "OTHER",
        "OTHER",
    ]
    assert statuses.name("NEW3") == ("NEW3", False)


def test_a_new_status_is_counted_as_drift(interpreter, telemetry):
    assert one(interpreter, telemetry, status="PARKED").status == "PARKED"
    assert telemetry.registry.get_sample_value(DRIFT, {"field": "batch_page.status=PARKED"}) == 1


def test_a_ticket_is_told_with_its_parameters(interpreter, telemetry):
    data = {
        "execute_uuid": UUID,
        "gmt_created": 1767323045218,
        "gmt_finished": None,
        "creator": "ops-bot",
        "status": "PROCESSING",
        "properties": {
            "script_name": 7,
            "current_execute_batch_index": 2,
            "execute_param": {"timeout": 300, "success_rate": 90.0},
        },
    }
    body = json.dumps({"data": data}).encode()
    assert interpreter.ticket(decode(body, wire.TicketAnswer, "ticket", telemetry).data) == Ticket(
        UUID,
        "PROCESSING",
        created=1767323045.218,
        creator="ops-bot",
        script_name="7",
        timeout=300.0,
        success_rate=0.9,
        current_batch=2,
    )


def test_a_ticket_without_properties_knows_none(interpreter, telemetry):
    body = b'{"data":{"execute_uuid":"S","status":"ROLLBACKED"}}'
    told = interpreter.ticket(decode(body, wire.TicketAnswer, "ticket", telemetry).data)
    assert told == Ticket("S", "ROLLBACKED")
