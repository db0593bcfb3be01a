"""A method for each endpoint: what is asked, what an answer amounts to, what is tried again and when."""

from __future__ import annotations

import asyncio
import gc
import json
import traceback
from email.utils import formatdate
from itertools import pairwise

import httpx
import pytest
from conftest import run
from rigs import CANARY, STATISTICS, UUID, Rig, in_turn, ok, page, raw, refusal, row

from exporter import __version__, errors
from exporter.auth import TokenAuth
from exporter.snapshot import Statistics, StatusCount

PATH = f"/v1/job/script/orders/{UUID}"
REQUESTS = "coc_exporter_api_requests_total"
RETRIES = "coc_exporter_api_retries_total"
DROPPED = "coc_exporter_dropped_records_total"


def kinds(error=errors.ApiError):
    yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


def attempted(rig, method="statistics", *arguments):
    """Return the error of one call, None when it had none."""

    async def main():
        try:
            await getattr(rig.api, method)(UUID, *arguments)
        except errors.ApiError as error:
            return error
        finally:
            await rig.api.aclose()

    return run(main())


def answered(rig, method, *arguments):
    async def main():
        try:
            return await getattr(rig.api, method)(*arguments)
        finally:
            await rig.api.aclose()

    return run(main())


async def listed(api, filters):
    return [page async for page in api.list_tickets(filters)]


# What is asked.


def test_every_endpoint_is_asked_as_its_page_documents_it():
    answers = {
        PATH: {"execute_uuid": UUID, "status": "FINISHED"},
        f"{PATH}/statistics": STATISTICS,
        f"{PATH}/batches": [{"batch_index": 1, "total_instances": 1, "rotation_strategy": "CONTINUE"}],
        f"{PATH}/batches/1": page(row(7)),
        "/v1/job/script/orders": {"total": 0, "data": []},
    }
    rig = Rig(lambda request: ok(answers[request.url.path]))

    async def main():
        await rig.api.ticket(UUID)
        await rig.api.statistics(UUID)
        await rig.api.batches(UUID)
        await rig.api.batch_page(UUID, 1, None)
        await rig.api.batch_page(UUID, 1, 7)
        await listed(rig.api, {"creator": "运维 user~1"})

    run(main())
    assert [request.url.raw_path.decode() for request in rig.sent] == [
        PATH,
        f"{PATH}/statistics",
        f"{PATH}/batches",
        f"{PATH}/batches/1?limit=50",
        f"{PATH}/batches/1?limit=50&marker=7",
        "/v1/job/script/orders?creator=%E8%BF%90%E7%BB%B4%20user~1&limit=100",
    ]
    assert {request.method for request in rig.sent} == {"GET"}
    headers = {
        "host": "coc.example",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": f"coc-exporter/{__version__}",
        "x-language": "en-us",
        "x-auth-token": CANARY,
    }
    for request in rig.sent:
        assert headers.items() <= dict(request.headers).items()
    operations = ("ticket", "statistics", "batches", "batch_page", "list_tickets")
    counted = [rig.value(REQUESTS, operation=operation, code="200") for operation in operations]
    assert counted == [1, 1, 1, 2, 1]


def test_of_many_addresses_the_last_2048_are_remembered():
    rig = Rig(lambda _request: ok(STATISTICS))

    def held():
        gc.collect()
        return sum(isinstance(each, httpx.URL) for each in gc.get_objects())

    async def main():
        before = held()
        for number in range(2500):
            await rig.api.statistics(f"SCT{number}")
            rig.sent.clear()
        return held() - before

    assert 2000 < run(main()) < 2100


def test_an_answer_leaves_nothing_to_the_garbage_collector():
    rig = Rig(lambda _request: ok(STATISTICS))

    async def main():
        await rig.api.statistics(UUID)
        gc.collect()
        for _ in range(10):
            await rig.api.statistics(UUID)
        return gc.collect()

    gc.disable()
    try:
        assert run(main()) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("method", "rest"),
    [("ticket", b""), ("statistics", b"/statistics"), ("batches", b"/batches"), ("batch", b"/batches/1")],
)
def test_an_id_never_leaves_its_part_of_the_path(method, rest):
    rig = Rig(in_turn(raw(b"", 400)))

    async def main():
        with pytest.raises(errors.UnexpectedStatus):
            await getattr(rig.api, method)("../x?y#z", *([1] if method == "batch" else []))

    run(main())
    path, _, _ = rig.sent[0].url.raw_path.partition(b"?")
    assert path == b"/v1/job/script/orders/..%2Fx%3Fy%23z" + rest


def test_a_filter_never_becomes_another_parameter():
    rig = Rig(in_turn(ok({"total": 0, "data": []})))
    run(listed(rig.api, {"creator": "a&limit=1/b"}))
    assert rig.sent[0].url.query == b"creator=a%26limit%3D1%2Fb&limit=100"


# What is tried again.

RETRYABLE = {
    errors.ConnectFailed: True,
    errors.TimedOut: True,
    errors.ProtocolBroken: True,
    errors.RateLimited: True,
    errors.ServerFailed: True,
    errors.ApiError: False,
    errors.TlsFailed: False,
    errors.BodyTooLarge: False,
    errors.Unauthorized: False,
    errors.TokenRejected: False,
    errors.KeyLocked: False,
    errors.ClockSkewed: False,
    errors.SecretUnreadable: False,
    errors.Forbidden: False,
    errors.NotFound: False,
    errors.BadRequest: False,
    errors.UnexpectedStatus: False,
    errors.Malformed: False,
    errors.Incomplete: False,
    errors.Empty: False,
    errors.Paused: False,
    errors.DeadlinePassed: False,
}


def test_the_retry_table_names_every_kind_of_failure():
    assert set(RETRYABLE) == set(kinds())


@pytest.mark.parametrize("kind", RETRYABLE, ids=lambda kind: kind.reason)
def test_each_kind_of_failure_is_tried_again_or_not_as_the_table_says(kind):
    failure = kind("it failed", 0.0) if kind is errors.Paused else kind("it failed")
    rig = Rig(in_turn(failure))
    assert type(attempted(rig)) is kind
    assert len(rig.sent) == (3 if RETRYABLE[kind] else 1)
    assert rig.value(REQUESTS, operation="statistics", code="error") == len(rig.sent)
    assert rig.value(RETRIES, operation="statistics", reason=kind.reason) == (2 if RETRYABLE[kind] else None)


def test_backoff_doubles_with_full_jitter():
    rig = Rig(in_turn(raw(b"", 500)), attempts=5)
    attempted(rig)
    assert rig.random.asked == [(0, 1.0), (0, 2.0), (0, 4.0), (0, 8.0)]
    assert rig.clock.slept == [1.0, 2.0, 4.0, 8.0]


def test_backoff_is_at_most_twenty_seconds():
    # Throttling is no outage: with server errors the circuit would open first.
    rig = Rig(in_turn(refusal(429)), attempts=9)
    attempted(rig)
    assert max(high for _, high in rig.random.asked) == 20


def test_attempts_are_bounded_and_the_last_answer_counts():
    rig = Rig(in_turn(raw(b"", 503), refusal(429), ok(STATISTICS)), attempts=3)
    assert attempted(rig) is None
    rig = Rig(in_turn(raw(b"", 503), refusal(429), ok(STATISTICS)), attempts=2)
    assert type(attempted(rig)) is errors.RateLimited


def test_an_outage_cannot_multiply_calls_beyond_the_budget():
    rig = Rig(in_turn(refusal(429)), attempts=10)

    async def main():
        for _ in range(5):
            with pytest.raises(errors.RateLimited):
                await rig.api.statistics(UUID)

    run(main())
    assert len(rig.sent) == 5 + 10


def test_no_slot_is_held_while_a_retry_waits():
    rig = Rig(in_turn(refusal(429), ok(STATISTICS)), concurrency=1)

    async def main():
        waiting = asyncio.Event()
        go_on = asyncio.Event()

        async def sleep(_seconds):
            waiting.set()
            await go_on.wait()

        rig.clock.sleep = sleep
        first = asyncio.create_task(rig.api.statistics(UUID))
        await waiting.wait()
        await rig.api.statistics(UUID)
        go_on.set()
        await first

    run(main())
    assert len(rig.sent) == 3


def test_a_retry_may_follow_at_once():
    """Full jitter begins at nothing, and no answer asked for more."""
    rig = Rig(in_turn(refusal(429), ok(STATISTICS)))
    rig.api._random = Lowest()
    assert attempted(rig) is None
    assert rig.clock.slept == [0]


class Lowest:
    def uniform(self, low, _high):
        return low


# Retry-After.


def later(clock, seconds):
    return formatdate(clock.time() + seconds, usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
def test_a_stated_delay_wins_over_a_shorter_one_of_ours(status):
    rig = Rig(in_turn(refusal(status, **{"retry-after": "7"}), ok(STATISTICS)))
    assert attempted(rig) is None
    assert rig.clock.slept == [7]


def test_the_longest_delay_that_is_waited_for_is_twenty_seconds():
    rig = Rig(in_turn(refusal(429, **{"retry-after": "20"}), ok(STATISTICS)))
    assert attempted(rig) is None
    assert rig.clock.slept == [20]


def test_a_stated_date_that_is_past_leaves_ours(clock):
    rig = Rig(in_turn(refusal(429, **{"retry-after": later(clock, -50)}), ok(STATISTICS)), clock)
    rig.api._random = Lowest()
    assert attempted(rig) is None
    assert rig.clock.slept == [0]


@pytest.mark.parametrize("status", [429, 503])
def test_a_stated_delay_may_be_a_date(status, clock):
    rig = Rig(in_turn(refusal(status, **{"retry-after": later(clock, 12)}), ok(STATISTICS)), clock)
    assert attempted(rig) is None
    assert rig.clock.slept == [12]


@pytest.mark.parametrize("value", ["0", "soon", "-5", "1.5", "", " ", "Tue", "\x00"])
def test_a_delay_that_says_nothing_leaves_ours(value):
    rig = Rig(in_turn(refusal(429, **{"retry-after": value}), ok(STATISTICS)))
    assert attempted(rig) is None
    assert rig.clock.slept == [1.0]


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize(("value", "held"), [("21", 21), ("3000", 3000), ("9" * 30, 3600)])
def test_a_long_delay_holds_the_account_back_instead_of_waiting(attempts, value, held):
    rig = Rig(in_turn(refusal(429, **{"retry-after": value}), ok(STATISTICS)), attempts=attempts)

    async def main():
        with pytest.raises(errors.RateLimited) as told:
            await rig.api.statistics(UUID)
        with pytest.raises(errors.Paused) as paused:
            await rig.api.statistics(UUID)
        assert str(paused.value).endswith(str(told.value))

    run(main())
    assert rig.clock.slept == []
    assert len(rig.sent) == 1
    assert rig.value("coc_exporter_api_paused_until_timestamp_seconds") == rig.clock.time() + held


def test_a_pause_vanishes_from_the_metrics_with_the_first_success():
    rig = Rig(in_turn(refusal(429, **{"retry-after": "60"}), ok(STATISTICS)))

    async def main():
        with pytest.raises(errors.RateLimited):
            await rig.api.statistics(UUID)
        rig.clock.advance(61)
        await rig.api.statistics(UUID)

    run(main())
    assert rig.value("coc_exporter_api_paused_until_timestamp_seconds") is None


# What an answer amounts to.

HTML = b"<html><body>Welcome</body></html>"
TABLE = [
    (refusal(401, "APIGW.0301", "Incorrect IAM authentication information: token expires"), errors.TokenRejected),
    (refusal(401, "APIGW.0301", "signature expired"), errors.ClockSkewed),
    (raw(HTML, 401), errors.Unauthorized),
    (refusal(403, "APIGW.0302"), errors.Forbidden),
    (refusal(400, "COC.00040709"), errors.NotFound),
    (refusal(400, "COC.00010002"), errors.BadRequest),
    (refusal(400, "COC.00040701"), errors.ServerFailed),
    (refusal(400, "APIG.0308"), errors.RateLimited),
    (raw(HTML, 400), errors.UnexpectedStatus),
    (refusal(404, "APIGW.0101"), errors.UnexpectedStatus),
    (refusal(429, "APIGW.0308"), errors.RateLimited),
    (raw(b"", 429), errors.RateLimited),
    (raw(b"", 500), errors.ServerFailed),
    (raw(HTML, 502), errors.ServerFailed),
    (raw(b"", 301, location="https://elsewhere.example/"), errors.UnexpectedStatus),
    (raw(b"", 307, location="https://elsewhere.example/"), errors.UnexpectedStatus),
    (raw(b"", 204), errors.UnexpectedStatus),
    (raw(b"{}", 206), errors.UnexpectedStatus),
    (raw(HTML), errors.Malformed),
    (raw(b""), errors.Malformed),
    (raw(b"{}"), errors.Malformed),
    (raw(b"[]"), errors.Malformed),
    (raw(b"null"), errors.Malformed),
    (raw(b'{"data": null}'), errors.Malformed),
    (raw(b'{"data": []}'), errors.Malformed),
    (raw(b'{"data": {"execute_statistics": null}}'), errors.Malformed),
    (raw(b'{"error_code": "COC.00040709", "error_msg": "x", "data": null}'), errors.NotFound),
    (raw(b'{"error_code": "COC.00040701", "data": null}'), errors.ServerFailed),
    (raw(b'{"error_code": "common.01010001", "data": null}'), errors.TokenRejected),
    (raw(b'{"error_code": "APIGW.0308"}'), errors.RateLimited),
    (raw(b'{"error_code": "COC.00010014"}'), errors.BadRequest),
    (raw(b'{"error_code": "COC.00000000", "data": null}'), errors.Malformed),
]


@pytest.mark.parametrize(("answer", "kind"), TABLE, ids=lambda value: getattr(value, "reason", None) or str(value))
def test_an_answer_that_is_no_success_has_its_reason(answer, kind):
    rig = Rig(in_turn(answer), attempts=1)
    error = attempted(rig)
    assert type(error) is kind
    assert str(error)
    assert len(rig.sent) == 1


THROTTLED = "the API throttles us; lower poll.requests_per_second."
MESSAGES = [
    (refusal(429), f"HTTP 429: {THROTTLED}"),
    (refusal(429, "APIGW.0308"), f"HTTP 429, APIGW.0308: {THROTTLED}"),
    (raw(b'{"error_code": "APIGW.0308"}'), f"HTTP 200, APIGW.0308: {THROTTLED}"),
    (
        refusal(400, "COC.00040709"),
        "HTTP 400, COC.00040709: the API knows no such ticket; check execute_uuid and the account's region.",
    ),
    (
        raw(b'{"error_code": "COC.00010014"}'),
        "HTTP 200, COC.00010014: the API refused the request; check project_id and the account's region.",
    ),
    (raw(b"", 404), "HTTP 404: this host does not serve the COC API; check region or endpoint."),
    (raw(b"", 500), "HTTP 500: the API failed inside; it is tried again."),
    (raw(b"", 204), "HTTP 204: an answer that the API does not document; is a proxy in between?"),
]


@pytest.mark.parametrize(("answer", "message"), MESSAGES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_message_tells_what_was_asked_what_came_and_what_to_do(answer, message):
    assert str(attempted(Rig(in_turn(answer), attempts=1))) == f"statistics: {message}"


def test_what_is_no_answer_to_the_question_is_told_with_the_question():
    error = attempted(Rig(in_turn(raw(HTML))), "batches")
    assert str(error).startswith("The answer to batches is not JSON")
    other = {"execute_uuid": "SCT-other", "status": "FINISHED"}
    assert str(attempted(Rig(in_turn(ok(other))), "ticket")).startswith("The answer to ticket tells of something else")
    error = attempted(Rig(in_turn(ok(page(row(1)) | {"batch_index": 2}))), "batch_page", 1, None)
    assert str(error).startswith("The answer to batch_page tells of something else")


def test_a_success_code_beside_the_data_is_a_success():
    assert attempted(Rig(in_turn(raw(b'{"error_code":"COC.00000000","data":{"execute_statistics":[]}}')))) is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status):
    rig = Rig(in_turn(raw(b"", status, location="https://elsewhere.example/")))
    attempted(rig)
    assert [request.url.host for request in rig.sent] == ["coc.example"]


@pytest.mark.parametrize(("answer", "_kind"), TABLE, ids=str)
def test_no_error_holds_a_secret_or_the_servers_own_text(answer, _kind):
    spoken = httpx.Response(
        answer.status_code, headers=answer.headers, content=answer.content.replace(b'"x"', CANARY.encode())
    )
    error = attempted(Rig(in_turn(spoken), attempts=1))
    while error is not None:
        assert CANARY not in f"{error!r} {error}"
        error = error.__cause__


def test_a_canonical_request_in_a_refusal_is_not_repeated():
    text = f"verify aksk signature fail,canonicalRequest:GET|/|x-auth-token:{CANARY}"
    error = attempted(Rig(in_turn(refusal(401, "APIGW.0301", text))))
    assert CANARY not in str(error)


# What counts as accepted.


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (ok(STATISTICS), 1),
        (refusal(400, "COC.00040709"), 1),
        (refusal(400, "COC.00010002"), 1),
        (refusal(401, "APIGW.0301"), 0),
        (refusal(403, "APIGW.0302"), 0),
        (refusal(429), 0),
        (raw(b"", 500), 0),
        (raw(HTML), 0),
        (raw(b"{}"), 0),
        (raw(HTML, 400), 0),
        (httpx.ConnectError("no"), 0),
    ],
    ids=str,
)
def test_only_an_answer_of_the_api_itself_tells_that_we_are_accepted(answer, accepted):
    rig = Rig(in_turn(answer), attempts=1)
    attempted(rig)
    assert rig.api.accepted == accepted


def test_every_accepted_answer_counts():
    rig = Rig(in_turn(ok(STATISTICS), refusal(400, "COC.00040709"), refusal(400, "COC.00040709"), ok(STATISTICS)))

    async def main():
        await asyncio.gather(*(rig.api.statistics(UUID) for _ in range(4)), return_exceptions=True)

    run(main())
    assert rig.api.accepted == 4


def test_the_last_error_is_the_last_one():
    rig = Rig(in_turn(raw(b"", 500), raw(b"", 204)), attempts=2)
    assert rig.api.last_error is None
    attempted(rig)
    assert type(rig.api.last_error) is errors.UnexpectedStatus


@pytest.mark.parametrize("attempts", [1, 2])
def test_no_error_holds_the_answer_that_it_is_about(attempts):
    rig = Rig(in_turn(raw(b"no json", 200), raw(b"", 503)), attempts=attempts)
    error = attempted(rig)
    for each in (error, rig.api.last_error):
        frames = [frame for frame, _ in traceback.walk_tb(each.__traceback__)]
        assert not [held for frame in frames for held in frame.f_locals.values() if isinstance(held, httpx.Response)]


def test_that_we_hold_back_is_the_last_error_while_there_is_no_other():
    rig = Rig(in_turn(ok(STATISTICS)))
    rig.gate.hold_until(rig.clock.time() + 60, "asked to wait")
    attempted(rig)
    assert type(rig.api.last_error) is errors.Paused


def test_whatever_fails_about_one_ticket_is_no_outage_of_the_api():
    rig = Rig(in_turn(raw(b"", 500)), attempts=1)

    async def main():
        asked = [rig.api.ticket(UUID), rig.api.statistics(UUID), rig.api.batches(UUID)]
        pages = [rig.api.batch_page(UUID, index, None) for index in (1, 2, 3)]
        await asyncio.gather(*asked, *pages, return_exceptions=True)
        assert rig.gate.paused_until is None
        with pytest.raises(errors.ServerFailed):
            await listed(rig.api, {})
        assert rig.gate.paused_until is not None

    run(main())


def test_the_last_error_is_what_failed_and_not_that_we_hold_back():
    rig = Rig(in_turn(httpx.ConnectError("refused")), attempts=1)

    async def main():
        outcomes = [rig.api.statistics(f"SCT{number}") for number in range(7)]
        return [type(outcome) for outcome in await asyncio.gather(*outcomes, return_exceptions=True)]

    assert errors.Paused in run(main())
    assert type(rig.api.last_error) is errors.ConnectFailed


# Sign-in.


class Fetching(TokenAuth):
    """A sign-in that sends a request of its own first, and whose token ends."""

    expires_at = None
    paused_until = None

    def __init__(self, ends, until=None):
        super().__init__(lambda: CANARY)
        self._ends, self._until = ends, until

    async def async_auth_flow(self, request):
        signing = httpx.Request("POST", "https://iam.example/v3/auth/tokens", extensions={"operation": "iam_token"})
        await_answer = yield signing
        assert await_answer.status_code == 201
        self.expires_at = self._ends
        self.paused_until = self._until
        yield request


def test_what_a_sign_in_sends_is_counted_and_its_end_is_shown():
    def handler(request):
        return raw(b"{}", 201) if request.method == "POST" else ok(STATISTICS)

    rig = Rig(handler, auth=Fetching(1.7e9))
    assert attempted(rig) is None
    assert rig.value(REQUESTS, operation="iam_token", code="201") == 1
    assert rig.value(REQUESTS, operation="statistics", code="200") == 1
    assert rig.value("coc_exporter_api_request_duration_seconds_count", operation="iam_token") == 1
    assert rig.value("coc_exporter_api_token_expiry_timestamp_seconds") == 1.7e9


def test_the_end_of_a_token_and_a_pause_of_the_sign_in_vanish_with_them():
    def handler(request):
        return raw(b"{}", 201) if request.method == "POST" else ok(STATISTICS)

    auth = Fetching(1.7e9, until=1.8e9)
    rig = Rig(handler, auth=auth)

    async def main():
        await rig.api.statistics(UUID)
        assert rig.value("coc_exporter_api_paused_until_timestamp_seconds") == 1.8e9
        auth._ends = auth._until = None
        await rig.api.statistics(UUID)

    run(main())
    assert rig.value("coc_exporter_api_token_expiry_timestamp_seconds") is None
    assert rig.value("coc_exporter_api_paused_until_timestamp_seconds") is None


def test_a_secret_that_cannot_be_read_asks_nothing():
    def unreadable():
        raise errors.SecretUnreadable("the token file cannot be read")

    rig = Rig(lambda _request: ok(STATISTICS), auth=TokenAuth(unreadable))
    assert type(attempted(rig)) is errors.SecretUnreadable
    assert rig.sent == []
    assert rig.api.accepted == 0


# Batches, whole or not at all.


def paged(*pages):
    """Answer each page of the batch by its marker."""
    by_marker = {None: pages[0]} | {
        str(before["execute_instances"][-1]["id"]): after for before, after in pairwise(pages)
    }
    return lambda request: ok(by_marker[request.url.params.get("marker")])


def test_a_batch_is_read_to_its_end_in_the_apis_order():
    rig = Rig(paged(page(row(9), row(7), total=3), page(row(3), total=3)))
    batch = answered(rig, "batch", UUID, 1)
    assert (batch.index, batch.stated, [instance.id for instance in batch.instances]) == (1, 3, [9, 7, 3])


@pytest.mark.parametrize("instances", [None, []])
def test_a_batch_without_instances_is_empty_and_one_that_lacks_them_is_incomplete(instances):
    assert (
        answered(Rig(in_turn(ok(page(total=0) | {"execute_instances": instances}))), "batch", UUID, 1).instances == ()
    )
    error = attempted(Rig(in_turn(ok(page(total=2) | {"execute_instances": instances}))), "batch", 1)
    assert type(error) is errors.Incomplete


def test_a_page_that_fails_in_the_middle_fails_the_batch():
    rig = Rig(in_turn(ok(page(row(1), total=2)), raw(b"", 500)), attempts=1)
    assert type(attempted(rig, "batch", 1)) is errors.ServerFailed


def test_an_instance_without_id_is_counted_and_never_makes_a_batch_smaller():
    nameless = {key: value for key, value in row(2).items() if key != "id"}
    rig = Rig(in_turn(ok(page(row(1), nameless))))
    assert type(attempted(rig, "batch", 1)) is errors.Incomplete
    assert rig.count(DROPPED, reason="malformed_record") > 0


@pytest.mark.parametrize("broken", [{}, {"batch_index": None}, {"batch_index": "2"}, 7])
def test_a_list_of_batches_with_one_that_cannot_be_read_is_refused_whole(broken):
    rig = Rig(in_turn(ok([{"batch_index": 1, "total_instances": 3}, broken])))
    assert type(attempted(rig, "batches")) is errors.Malformed


def test_batches_come_sorted_and_once_whatever_else_their_rows_say():
    rig = Rig(in_turn(ok([{"batch_index": 2, "total_instances": "x"}, {"batch_index": 1}, {"batch_index": 2}])))
    assert answered(rig, "batches", UUID) == (1, 2)


def test_statistics_are_counted_by_status_and_their_total_falls_back_to_the_sum():
    rows = [
        {"instance_status": "FINISHED", "instance_count": 2, "batch_indexes": [1, 2]},
        {"instance_status": "ROLLED BACK", "instance_count": 1, "batch_indexes": None},
    ]
    told = answered(Rig(in_turn(ok({"execute_statistics": rows}))), "statistics", UUID)
    assert told == Statistics(
        3, (StatusCount("FINISHED", 2, frozenset({1, 2})), StatusCount("ROLLBACKED", 1, frozenset()))
    )


def test_a_listing_drops_tickets_whose_id_could_not_stand_in_a_path():
    orders = [
        {"order_id": number, "execute_uuid": uuid, "status": "FINISHED"}
        for number, uuid in enumerate(["SCT1", "../x", "a/b", "", "x" * 27, "SCT1\n", None, 7], start=1)
    ]
    rig = Rig(in_turn(ok({"total": 8, "data": orders}), ok({"total": 8, "data": []})))
    pages = run(listed(rig.api, {}))
    assert [order.execute_uuid for page in pages for order in page.items] == ["SCT1"]
    assert rig.count(DROPPED, reason="malformed_record") == 7


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_a_listing_is_read_in_either_direction(order):
    ids = list(range(1, 251))[:: 1 if order == "ascending" else -1]
    rows = [{"order_id": number, "execute_uuid": f"SCT{number}", "status": "FINISHED"} for number in ids]

    def handler(request):
        marker = request.url.params.get("marker")
        start = 0 if marker is None else ids.index(int(marker)) + 1
        return ok({"total": 250, "data": rows[start : start + 100]})

    rig = Rig(handler)
    pages = run(listed(rig.api, {}))
    assert [order.id for page in pages for order in page.items] == ids
    assert [page.total for page in pages] == [250] * 3
    assert len(rig.sent) == 3


def test_closing_closes_the_clients_of_the_sign_in_too():
    rig = Rig(lambda _request: ok(STATISTICS))
    other = httpx.AsyncClient()
    rig.api._others = [other]
    run(rig.api.aclose())
    assert other.is_closed
    assert rig.api._http.is_closed


def test_a_body_is_bounded_by_the_transport_and_not_read_by_anyone_else():
    body = json.dumps({"data": STATISTICS}).encode()
    rig = Rig(in_turn(raw(body, **{"content-type": "text/plain; charset=utf-16"})))
    assert attempted(rig) is None
