"""From a body to the API's shapes: what is as documented, what is odd, and what cannot be used at all."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import page, row

from exporter.api import wire
from exporter.api.decode import decode, text
from exporter.api.verdict import error_of, retry_after
from exporter.errors import Malformed


class Notes:
    def __init__(self):
        self.reasons = []
        self.paths = []

    def dropped(self, reason, number=1):
        self.reasons += [reason] * number

    def drifted(self, path):
        self.paths.append(path)


@pytest.fixture
def notes():
    return Notes()


def instances(body, notes):
    return decode(body, wire.BatchPageAnswer, "batch_page", notes).data.execute_instances


def one(notes, **fields):
    """Return a documented instance with these fields laid over it."""
    (found,) = instances(json.dumps({"data": page(row(7, **fields))}).encode(), notes)
    return found


def spliced(literal):
    """Return a page whose instance holds a literal that no JSON library writes."""
    text = json.dumps({"data": page(row(7, execute_costs="HERE"))})
    return text.replace('"HERE"', literal).encode(errors="surrogatepass")


def test_a_documented_answer_leaves_no_note(notes):
    found = one(notes)
    assert (found.id, found.status, found.execute_costs) == (7, "FINISHED", 36243)
    assert (notes.reasons, notes.paths) == ([], [])


def test_fields_that_were_seen_though_undocumented_leave_no_note(notes):
    one(
        notes,
        cmd_uuid="c-1",
        job_sign=None,
        target_instance={"resource_id": "r", "agent_version": "1", "project_id": None},
    )
    assert notes.paths == []


def test_an_undocumented_field_is_noted_by_its_path_and_the_rest_is_read(notes):
    found = one(notes, surprise={"a": 1}, target_instance={"resource_id": "r", "rack": 7})
    assert found.target_instance.resource_id == "r"
    assert sorted(notes.paths) == [
        "batch_page.data.execute_instances.surprise",
        "batch_page.data.execute_instances.target_instance.rack",
    ]


@pytest.mark.parametrize("null", ["gmt_created", "gmt_finished", "execute_costs", "message", "target_instance"])
def test_what_may_be_null_is_none_without_a_note(notes, null):
    found = one(notes, **{null: None})
    assert found.id == 7
    assert notes.reasons == []


@pytest.mark.parametrize(
    "literal",
    ['"36243"', "NaN", "Infinity", "-Infinity", "1.5", "[]", "{}", "true", "9" * 25, "9" * 5000, "-" + "9" * 30],
    ids=lambda literal: literal[:12],
)
def test_a_value_that_is_no_such_number_is_refused_and_counted(notes, literal):
    (found,) = instances(spliced(literal), notes)
    assert (found.id, found.execute_costs) == (7, None)
    assert notes.reasons == ["malformed_value"]


@pytest.mark.parametrize("time", [-1, 253_402_300_800_000, 2**63, "2026-01-02"])
def test_a_time_that_no_calendar_knows_is_refused_and_counted(notes, time):
    assert one(notes, gmt_finished=time).gmt_finished is None
    assert notes.reasons == ["malformed_value"]


@pytest.mark.parametrize(
    "broken", [{"id": None}, {"id": "7"}, {"id": -1}, {"id": 2**63}, {"id": True}, {"status": None}, {"status": 7}]
)
def test_an_instance_that_cannot_be_told_from_others_is_left_out_and_counted(notes, broken):
    body = json.dumps({"data": page(row(1), row(2, **broken), row(3))}).encode()
    assert [found.id for found in instances(body, notes)] == [1, 3]
    assert notes.reasons == ["malformed_record"]


def test_a_lone_surrogate_is_replaced_wherever_it_stands(notes):
    body = json.dumps(
        {"data": page(row(7, "RUN\ud800", message="log \udfff", target_instance={"resource_id": "r\ud83d"}))}
    )
    (found,) = instances(body.encode(), notes)
    assert (found.status, found.target_instance.resource_id) == ("RUN\ufffd", "r\ufffd")
    assert text(found.message) == "log \ufffd"


def test_a_pair_of_surrogates_stays_the_character_it_is(notes):
    assert one(notes, status="\U0001f600").status == "\U0001f600"


def test_a_log_that_is_no_utf8_keeps_what_can_be_read(notes):
    body = json.dumps({"data": page(row(7, message="HERE"))}).encode().replace(b"HERE", b"disk \xff\xfe full")
    (found,) = instances(body, notes)
    assert text(found.message) == "disk \ufffd\ufffd full"


@pytest.mark.parametrize("message", [None, 7, ["x"], {"a": "b"}, True])
def test_a_log_that_is_no_text_is_empty(notes, message):
    assert text(one(notes, message=message).message) == ""


def test_deep_nesting_is_malformed_and_no_crash(notes):
    for depth in (10_000, 1_000_000):
        with pytest.raises(Malformed):
            instances(spliced("[" * depth + "]" * depth), notes)


def test_nesting_in_what_is_never_read_costs_nothing(notes):
    nested = []
    for _ in range(200):
        nested = [nested]
    assert one(notes, job_sign=nested).id == 7


@pytest.mark.parametrize("body", [b"", b"\xff", b"<html>", b"{", b'{"data":', b"\x00", b"7 7"])
def test_what_is_no_json_is_malformed(notes, body):
    with pytest.raises(Malformed, match="not JSON"):
        instances(body, notes)


def test_a_script_name_may_be_a_number_as_old_definitions_have_it(notes):
    body = b'{"data":{"execute_uuid":"S","status":"FINISHED","properties":{"script_name":7}}}'
    assert decode(body, wire.TicketAnswer, "ticket", notes).data.properties.script_name == 7


def test_script_parameters_are_never_decoded(notes):
    body = (
        b'{"data":{"execute_uuid":"S","status":"X","properties":{"execute_param":{"script_params":[{"a":"secret"}]}}}}'
    )
    found = decode(body, wire.TicketAnswer, "ticket", notes).data.properties.execute_param
    assert isinstance(found.script_params, msgspec.Raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = [wire.BatchPageAnswer, wire.BatchesAnswer, wire.StatisticsAnswer, wire.TicketAnswer, wire.OrdersAnswer]


@given(kind=st.sampled_from(KINDS), value=JSON, wrapped=st.booleans())
def test_any_json_is_read_or_malformed(kind, value, wrapped):
    body = json.dumps({"data": value} if wrapped else value).encode()
    try:
        decode(body, kind, "any", Notes())
    except Malformed as error:
        assert str(error)  # noqa: PT017  either outcome is right


@given(field=st.sampled_from(sorted(row(1))), value=JSON)
def test_any_value_in_any_field_leaves_the_neighbour_readable(field, value):
    body = json.dumps({"data": page(row(1) | {field: value}, row(2))}).encode()
    try:
        assert instances(body, Notes())[-1].id == 2
    except Malformed:
        assert "[[[" in json.dumps(value)


@given(body=st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(body):
    with pytest.raises(Malformed):
        decode(body, wire.BatchPageAnswer, "any", Notes())


# Errors.


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"error_code": "COC.00040709", "error_msg": "m"}, ("COC.00040709", "m")),
        ({"errorCode": "APIG.0301", "errorMsg": "m"}, ("APIG.0301", "m")),
        ({"code": "EPS.0003", "message": "m"}, ("EPS.0003", "m")),
        ({"code": "EPS.0003"}, ("EPS.0003", "")),
        ({"title": "x", "error": {"code": "EPS.0003", "message": "m"}}, ("EPS.0003", "m")),
        ({"a": {"error": {"code": "EPS.0003", "message": "m"}}}, ("EPS.0003", "m")),
        ({"a": {"b": {"error": {"code": "EPS.0003", "message": "m"}}}}, ("", "")),
        ({"error": {"code": 401, "message": "m", "title": "Unauthorized"}}, ("", "m")),
        ({"error_code": "no code at all, but a sentence with canary", "error_msg": "m"}, ("", "m")),
        ({"error_code": {"a": 1}, "error_msg": 7}, ("", "7")),
        ({"a": 1, "b": {}}, ("", "")),
        ([], ("", "")),
        ("text", ("", "")),
    ],
)
def test_code_and_text_are_found_where_the_official_sdk_finds_them(body, found):
    assert error_of(json.dumps(body).encode()) == found


def test_a_body_that_is_no_json_has_neither_code_nor_text():
    assert error_of(b"<html>") == ("", "")


@given(JSON)
def test_any_error_body_is_survived(value):
    code, message = error_of(json.dumps(value).encode())
    assert isinstance(code, str)
    assert isinstance(message, str)


@given(st.text(st.characters(min_codepoint=1, max_codepoint=255)))
def test_any_retry_after_is_a_bounded_delay_or_none(value):
    class Response:
        headers = {"retry-after": value}  # noqa: RUF012  a stand-in

    delay = retry_after(Response, 1_700_000_000.0)
    assert delay is None or 0 <= delay <= 3600
