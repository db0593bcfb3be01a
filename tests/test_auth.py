"""The kinds of sign-in at work: renewal, refusals, pauses, and secrets that stay inside."""

import asyncio
import functools
import json
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from random import Random
from typing import ParamSpec

import httpx
import pytest

from exporter import errors
from exporter.auth import AccountAuth, Login, MetadataKeys, PasswordAuth, SigningAuth, StaticKeys, TokenAuth

NOW = 1767323045.0
DAY = 86400.0
IAM = "https://iam.example.com"
URL = "https://coc.example.com/v1/job/script/orders"
PASSWORD = "pw-Canary1"
TOKEN = "tok-Canary2"
AK = "AKCANARY3"
SK = "SKCANARY4"
STS = "STSCANARY5"
P = ParamSpec("P")

SECRETS = (PASSWORD, TOKEN, AK, SK, STS)

LOCKED = "AK access failed to reach the limit,forbidden"
WRONG_SIGNATURE = f"verify aksk signature fail,canonicalRequest:GET|/v1|x-security-token:{STS}|{AK}|{SK}"
EXPIRED_TOKEN = f"token expires, expires_at: 2026-01-01T00:00:00.000000Z {TOKEN}"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Secret:
    """A file whose content changes; an error instead of a value is raised."""

    def __init__(self, value: str | errors.SecretUnreadable) -> None:
        self.value = value

    def __call__(self) -> str:
        if isinstance(self.value, errors.SecretUnreadable):
            raise self.value
        return self.value


class Service:
    """IAM or the metadata service: answers by operation, the last one for ever; errors are raised."""

    def __init__(self, **answers: list[httpx.Response | errors.ApiError]) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []
        self.operations: list[str] = []

    async def __call__(self, operation: str, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.operations.append(operation)
        await asyncio.sleep(0)  # the others' turn, as with a real exchange
        answers = self.answers[operation]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, errors.ApiError):
            raise answer
        return answer


class Api:
    """The API behind a sign-in: a function answers, and what arrived is kept."""

    def __init__(self, auth: AccountAuth, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []
        self.most_at_once = 0
        self._at_once = 0
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(self._handle), auth=auth)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        # The flow sends the same request object again, so what it looked like is copied.
        self.requests.append(httpx.Request(request.method, request.url, headers=request.headers))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        self._at_once -= 1
        return self.answer(request)

    async def get(self) -> int:
        return (await self._client.get(URL)).status_code

    async def get_together(self, number: int) -> list[int | BaseException]:
        return await asyncio.gather(*(self.get() for _ in range(number)), return_exceptions=True)

    async def refused(self, kind: type[errors.ApiError]) -> errors.ApiError:
        """Send a request that must fail; return its error, with proof that no secret is in it."""
        with pytest.raises(kind) as caught:
            await self.get()
        assert type(caught.value) is kind
        shown = repr(caught.value) + "".join(traceback.format_exception(caught.value))
        assert [secret for secret in SECRETS if secret in shown] == []
        return caught.value

    def sent(self, header: str) -> list[str]:
        return [request.headers[header] for request in self.requests]


def in_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return wrapper


@pytest.fixture
def clock() -> Clock:
    return Clock()


def jitter(seed: int = 1) -> Random:
    return Random(seed)  # noqa: S311 - spreads renewals, guards nothing


def ok(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"data": {}})


def refuses(message: str, code: str = "APIGW.0301") -> Callable[[httpx.Request], httpx.Response]:
    text = f"Incorrect IAM authentication information: {message}"
    body = {"error_msg": text, "error_code": code, "request_id": "0" * 32}
    return lambda _: httpx.Response(401, json=body)


def only(header: str, value: str) -> Callable[[httpx.Request], httpx.Response]:
    """Accept requests with this header; tell the others that their token must be updated."""
    refuse = refuses("The token must be updated", "APIGW.0307")
    return lambda request: ok(request) if request.headers[header] == value else refuse(request)


def stamp(at: float, form: str = "%Y-%m-%dT%H:%M:%S.%fZ") -> str:
    return datetime.fromtimestamp(at, UTC).strftime(form)


# Token


@in_loop
async def test_the_token_is_read_for_each_request() -> None:
    file = Secret(f"{TOKEN}\n")
    api = Api(TokenAuth(file), ok)
    assert await api.get() == 200
    file.value = "another"
    assert await api.get() == 200
    assert api.sent("X-Auth-Token") == [TOKEN, "another"]


@in_loop
async def test_a_refused_token_is_repeated_once_when_the_file_holds_another() -> None:
    file = Secret(TOKEN)
    auth = TokenAuth(file)

    def rotate(request: httpx.Request) -> httpx.Response:
        file.value = "fresh"
        return only("X-Auth-Token", "fresh")(request)

    api = Api(auth, rotate)
    assert await api.get() == 200
    assert api.sent("X-Auth-Token") == [TOKEN, "fresh"]
    assert (auth.expires_at, auth.paused_until) == (None, None)


@in_loop
async def test_a_refused_token_is_not_repeated_while_the_file_is_the_same() -> None:
    api = Api(TokenAuth(Secret(TOKEN)), refuses(EXPIRED_TOKEN))
    assert "fresh one" in str(await api.refused(errors.TokenRejected))
    assert len(api.requests) == 1


@in_loop
async def test_a_token_that_changes_all_the_time_is_repeated_once_only() -> None:
    tokens = (f"token-{number}" for number in range(9))
    api = Api(TokenAuth(lambda: next(tokens)), refuses(EXPIRED_TOKEN))
    await api.refused(errors.TokenRejected)
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    "value", ["", " \n", f"{TOKEN}\nsecond line", f"{TOKEN}é", errors.SecretUnreadable("no such file")]
)
@in_loop
async def test_a_token_that_no_header_can_carry_is_not_sent(value: str | errors.SecretUnreadable) -> None:
    api = Api(TokenAuth(Secret(value)), ok)
    await api.refused(errors.SecretUnreadable)
    assert api.requests == []


@in_loop
async def test_other_refusals_are_left_to_the_caller() -> None:
    for status in (302, 403, 429, 500):
        api = Api(TokenAuth(Secret(TOKEN)), lambda _, status=status: httpx.Response(status))  # type: ignore[misc]
        assert await api.get() == status


def test_a_synchronous_client_cannot_send_without_credentials() -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(ok), auth=TokenAuth(Secret(TOKEN))) as client,
        pytest.raises(RuntimeError, match="asynchronous"),
    ):
        client.get(URL)


# Password


def signed_in(token: str, expires_at: float = NOW + DAY) -> httpx.Response:
    body = {"token": {"expires_at": stamp(expires_at), "methods": ["password"]}}
    return httpx.Response(201, headers={"X-Subject-Token": token}, json=body)


def no_entry(status: int = 401) -> httpx.Response:
    message = f"The username or password is wrong: {PASSWORD}"
    return httpx.Response(status, json={"error": {"code": status, "message": message, "title": "Unauthorized"}})


def iam(*answers: httpx.Response | errors.ApiError) -> Service:
    return Service(iam_token=list(answers))


def by_password(service: Service, clock: Clock, password: Callable[[], str] = lambda: PASSWORD) -> PasswordAuth:
    login = Login("domain", "user", password, project="cn-north-4")
    return PasswordAuth(service, clock, jitter(), IAM, login)


@in_loop
async def test_many_first_requests_sign_in_once(clock: Clock) -> None:
    service = iam(signed_in(TOKEN))
    auth = by_password(service, clock)
    api = Api(auth, ok)
    assert await api.get_together(20) == [200] * 20
    assert api.sent("X-Auth-Token") == [TOKEN] * 20
    assert service.operations == ["iam_token"]
    assert auth.expires_at == NOW + DAY
    assert auth.paused_until is None


@pytest.mark.parametrize(
    ("kind", "value", "scope"),
    [
        ("project", "cn-north-4", {"project": {"name": "cn-north-4"}}),
        ("project_id", "0123", {"project": {"id": "0123"}}),
        ("scope_domain", "domain", {"domain": {"name": "domain"}}),
    ],
)
@in_loop
async def test_iam_is_asked_as_documented(clock: Clock, kind: str, value: str, scope: dict[str, object]) -> None:
    service = iam(signed_in(TOKEN))
    login = Login("domain", "üser", lambda: PASSWORD, **{kind: value})
    await Api(PasswordAuth(service, clock, jitter(), f"{IAM}/", login), ok).get()
    (request,) = service.requests
    assert (request.method, str(request.url)) == ("POST", f"{IAM}/v3/auth/tokens?nocatalog=true")
    assert request.headers["Content-Type"] == "application/json;charset=utf8"
    user = {"name": "üser", "password": PASSWORD, "domain": {"name": "domain"}}
    identity = {"methods": ["password"], "password": {"user": user}}
    assert json.loads(request.content) == {"auth": {"identity": identity, "scope": scope}}


@pytest.mark.parametrize("scopes", [{}, {"project": "p", "project_id": "i"}])
def test_a_login_has_exactly_one_scope(scopes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Login("domain", "user", lambda: PASSWORD, **scopes)


@in_loop
async def test_the_token_is_renewed_before_it_ends(clock: Clock) -> None:
    service = iam(signed_in("first"), signed_in("second", NOW + 2 * DAY))
    auth = by_password(service, clock)
    api = Api(auth, ok)
    await api.get()
    clock.now = NOW + DAY - 51 * 60
    await api.get()
    clock.now = NOW + DAY - 39 * 60
    assert await api.get_together(5) == [200] * 5
    assert api.sent("X-Auth-Token") == ["first", "first"] + ["second"] * 5
    assert auth.expires_at == NOW + 2 * DAY


@in_loop
async def test_a_short_lived_token_is_kept_for_more_than_half_of_its_life(clock: Clock) -> None:
    service = iam(signed_in("first", NOW + 600), signed_in("second", NOW + 1200))
    api = Api(by_password(service, clock), ok)
    for clock.now in (NOW, NOW + 340, NOW + 401):
        await api.get()
    assert api.sent("X-Auth-Token") == ["first", "first", "second"]


@in_loop
async def test_renewals_are_spread_over_time(clock: Clock) -> None:
    login = Login("domain", "user", lambda: PASSWORD, project="p")
    last_minutes = set()
    for seed in range(5):
        service = iam(signed_in("first"), signed_in("second", NOW + 2 * DAY))
        api = Api(PasswordAuth(service, clock, jitter(seed), IAM, login), ok)
        clock.now = NOW
        await api.get()
        while len(service.operations) == 1:
            clock.now += 60
            await api.get()
        last_minutes.add((NOW + DAY - clock.now) // 60)
    assert len(last_minutes) > 1
    assert last_minutes <= set(range(39, 51))


@in_loop
async def test_an_early_renewal_that_fails_leaves_the_old_token_in_use(clock: Clock) -> None:
    service = iam(signed_in("first"), errors.ConnectFailed("down"), signed_in("second", NOW + 2 * DAY))
    api = Api(by_password(service, clock), ok)
    await api.get()
    clock.now = NOW + DAY - 30 * 60
    assert await api.get_together(5) == [200] * 5
    assert len(service.operations) == 2
    clock.now += 61
    await api.get()
    assert api.sent("X-Auth-Token") == ["first"] * 6 + ["second"]


@in_loop
async def test_many_requests_refused_at_once_renew_once(clock: Clock) -> None:
    """A token revoked in mid-poll."""
    service = iam(signed_in("first"), signed_in(TOKEN))
    api = Api(by_password(service, clock), ok)
    await api.get()
    api.answer = only("X-Auth-Token", TOKEN)
    assert await api.get_together(20) == [200] * 20
    assert service.operations == ["iam_token"] * 2
    assert api.sent("X-Auth-Token") == ["first"] * 21 + [TOKEN] * 20


@in_loop
async def test_a_refusal_that_comes_late_uses_the_token_that_others_renewed(clock: Clock) -> None:
    service = iam(signed_in("first"), signed_in(TOKEN))
    auth = by_password(service, clock)
    api = Api(auth, ok)
    await api.get()
    late = auth.async_auth_flow(httpx.Request("GET", URL))
    await anext(late)
    api.answer = only("X-Auth-Token", TOKEN)
    assert await api.get() == 200
    repeated = await late.asend(refuses(EXPIRED_TOKEN)(httpx.Request("GET", URL)))
    assert repeated.headers["X-Auth-Token"] == TOKEN
    assert service.operations == ["iam_token"] * 2
    await late.aclose()


@in_loop
async def test_a_fresh_token_that_is_refused_too_does_not_renew_at_each_request(clock: Clock) -> None:
    """A project of another region: no token of this login will do."""
    service = iam(signed_in(TOKEN))
    api = Api(by_password(service, clock), refuses("", "APIGW.0307"))
    assert "another region" in str(await api.refused(errors.TokenRejected))
    assert (len(api.requests), len(service.operations)) == (2, 2)
    for _ in range(3):
        await api.refused(errors.TokenRejected)
    assert (len(api.requests), len(service.operations)) == (5, 2)
    clock.now += 301
    api.answer = ok
    assert await api.get() == 200


@in_loop
async def test_a_policy_refusal_does_not_renew(clock: Clock) -> None:
    service = iam(signed_in(TOKEN))
    api = Api(by_password(service, clock), lambda _: httpx.Response(401, json={"error": {"code": "EPS.0003"}}))
    await api.refused(errors.Forbidden)
    assert len(service.operations) == 1


@in_loop
async def test_a_wrong_password_is_tried_again_after_growing_pauses(clock: Clock) -> None:
    service = iam(no_entry())
    auth = by_password(service, clock)
    api = Api(auth, ok)
    for attempt, seconds in enumerate((300, 600, 1200, 2400, 3600, 3600, 3600), 1):
        assert "wrong password" in str(await api.refused(errors.Unauthorized))
        assert auth.paused_until == clock.now + seconds
        clock.now += seconds - 1
        paused = await api.refused(errors.Paused)
        assert isinstance(paused, errors.Paused)
        assert paused.until == clock.now + 1
        assert "wrong password" in str(paused)
        assert len(service.operations) == attempt
        clock.now += 1
        assert auth.paused_until is None
    assert api.requests == []


@in_loop
async def test_a_wrong_password_is_tried_once_by_many_requests(clock: Clock) -> None:
    service = iam(no_entry())
    outcomes = await Api(by_password(service, clock), ok).get_together(20)
    assert {type(outcome) for outcome in outcomes} == {errors.Unauthorized}
    assert len(service.operations) == 1


@in_loop
async def test_another_password_ends_the_pause_at_once(clock: Clock) -> None:
    service = iam(no_entry(), no_entry(), signed_in(TOKEN))
    password = Secret(PASSWORD)
    auth = by_password(service, clock, password)
    api = Api(auth, ok)
    await api.refused(errors.Unauthorized)
    password.value = "still wrong"
    await api.refused(errors.Unauthorized)
    assert auth.paused_until == NOW + 300
    password.value = "right"
    assert await api.get() == 200
    assert auth.paused_until is None


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (400, errors.Unauthorized, "domain, user or project is unknown"),
        (403, errors.Forbidden, "programmatic access"),
        (404, errors.Unauthorized, "iam_endpoint"),
        (302, errors.UnexpectedStatus, "redirects are not followed"),
        (200, errors.UnexpectedStatus, "does not answer like IAM"),
    ],
)
@in_loop
async def test_other_ways_of_iam_to_say_no_pause_too(
    clock: Clock, status: int, kind: type[errors.ApiError], advice: str
) -> None:
    service = iam(no_entry(status))
    auth = by_password(service, clock)
    api = Api(auth, ok)
    assert advice in str(await api.refused(kind))
    assert auth.paused_until == NOW + 300
    await api.refused(errors.Paused)
    assert len(service.operations) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(503, headers={"Retry-After": "7"}),
        httpx.Response(429, headers={"Retry-After": "7"}),
        errors.TimedOut("slow"),
        errors.ConnectFailed("down"),
    ],
)
@in_loop
async def test_trouble_of_iam_is_passed_on_without_a_pause(
    clock: Clock, trouble: httpx.Response | errors.ApiError
) -> None:
    service = iam(trouble, signed_in(TOKEN))
    auth = by_password(service, clock)
    api = Api(auth, ok)
    with pytest.raises(errors.ApiError) as caught:
        await api.get()
    assert caught.value.retryable
    assert getattr(caught.value, "retry_after", 7.0) == 7.0
    assert auth.paused_until is None
    assert await api.get() == 200


@in_loop
async def test_a_failed_sign_in_is_shared_by_all_who_waited_for_it(clock: Clock) -> None:
    service = iam(errors.TimedOut("slow"))
    outcomes = await Api(by_password(service, clock), ok).get_together(20)
    assert {type(outcome) for outcome in outcomes} == {errors.TimedOut}
    assert len(service.operations) == 1


@in_loop
async def test_a_cancelled_sign_in_is_taken_over_by_the_next_who_waits(clock: Clock) -> None:
    service = iam(signed_in(TOKEN))
    api = Api(by_password(service, clock), ok)
    first, second = (asyncio.create_task(api.get()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 200
    assert first.cancelled()


@pytest.mark.parametrize(
    ("expires_at", "advice"),
    [
        (None, "without a readable time"),
        (17, "without a readable time"),
        ("soon", "without a readable time"),
        ("", "without a readable time"),
        (stamp(NOW), "clock"),
        (stamp(NOW - DAY), "clock"),
        ("0001-01-01T00:00:00+14:00", "clock"),
        ("9999-12-31T23:59:59Z", "31 days"),
        ("9999-12-31T23:59:59-14:00", "31 days"),
    ],
)
@in_loop
async def test_a_senseless_end_of_a_token_is_told(clock: Clock, expires_at: object, advice: str) -> None:
    body = {"token": {"expires_at": expires_at}}
    service = iam(httpx.Response(201, headers={"X-Subject-Token": TOKEN}, json=body))
    assert advice in str(await Api(by_password(service, clock), ok).refused(errors.Malformed))


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S"])
@in_loop
async def test_the_end_of_a_token_comes_with_and_without_fraction(clock: Clock, form: str) -> None:
    body = {"token": {"expires_at": stamp(NOW + DAY, form)}}
    auth = by_password(iam(httpx.Response(201, headers={"X-Subject-Token": TOKEN}, json=body)), clock)
    await Api(auth, ok).get()
    assert auth.expires_at == NOW + DAY


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(201, json={"token": {"expires_at": stamp(NOW + DAY)}}),
        httpx.Response(201, headers={"X-Subject-Token": " "}, json={"token": {"expires_at": stamp(NOW + DAY)}}),
        httpx.Response(
            201,
            headers=[(b"X-Subject-Token", f"{TOKEN}é".encode())],
            json={"token": {"expires_at": stamp(NOW + DAY)}},
        ),
        httpx.Response(201, headers={"X-Subject-Token": TOKEN}),
        httpx.Response(201, headers={"X-Subject-Token": TOKEN}, content=b"\xff" + PASSWORD.encode()),
        httpx.Response(201, headers={"X-Subject-Token": TOKEN}, content=b"[" * 100_000),
        httpx.Response(201, headers={"X-Subject-Token": TOKEN}, json=[]),
        httpx.Response(201, headers={"X-Subject-Token": TOKEN}, json={"token": TOKEN}),
    ],
)
@in_loop
async def test_a_malformed_answer_of_iam_is_told_and_not_asked_for_at_each_request(
    clock: Clock, answer: httpx.Response
) -> None:
    service = iam(answer)
    api = Api(by_password(service, clock), ok)
    await api.refused(errors.Malformed)
    await api.refused(errors.Paused)
    assert len(service.operations) == 1


@in_loop
async def test_a_password_that_cannot_be_read_neither_signs_in_nor_pauses(clock: Clock) -> None:
    service = iam(signed_in(TOKEN))
    password = Secret("")
    api = Api(by_password(service, clock, password), ok)
    await api.refused(errors.SecretUnreadable)
    password.value = errors.SecretUnreadable("no such file")
    await api.refused(errors.SecretUnreadable)
    password.value = PASSWORD
    assert await api.get() == 200


@in_loop
async def test_a_pause_survives_a_restart(clock: Clock) -> None:
    service = iam(signed_in(TOKEN))
    password = Secret(PASSWORD)
    auth = by_password(service, clock, password)
    auth.restore_pause(NOW + 600)
    api = Api(auth, ok)
    assert auth.paused_until == NOW + 600
    await api.refused(errors.Paused)
    assert service.operations == []
    clock.now += 601
    assert await api.get() == 200


@in_loop
async def test_a_restored_pause_ends_when_the_password_changes(clock: Clock) -> None:
    password = Secret(PASSWORD)
    auth = by_password(iam(signed_in(TOKEN)), clock, password)
    auth.restore_pause(NOW + 600)
    api = Api(auth, ok)
    await api.refused(errors.Paused)
    password.value = "right"
    assert await api.get() == 200


def test_a_restored_pause_is_bounded_and_a_past_one_is_none(clock: Clock) -> None:
    auth = by_password(iam(), clock)
    auth.restore_pause(NOW + 30 * DAY)
    assert auth.paused_until == NOW + 3600
    auth.restore_pause(NOW - 1)
    assert auth.paused_until is None


@in_loop
async def test_a_clock_that_is_set_back_does_not_prolong_a_pause(clock: Clock) -> None:
    auth = by_password(iam(no_entry(), signed_in(TOKEN)), clock)
    api = Api(auth, ok)
    await api.refused(errors.Unauthorized)
    clock.now -= 7200
    assert auth.paused_until is None
    assert await api.get() == 200


# Access key and secret key


def by_keys(
    clock: Clock, secret: Callable[[], str] = lambda: SK, token: Callable[[], str] | None = None
) -> SigningAuth:
    return SigningAuth(StaticKeys(lambda: AK, secret, token), clock)


@in_loop
async def test_each_request_is_signed_with_the_keys_as_they_are_then(clock: Clock) -> None:
    token = Secret("one")
    auth = by_keys(clock, token=token)
    api = Api(auth, ok)
    await api.get()
    token.value = "two"
    await api.get()
    assert api.sent("X-Security-Token") == ["one", "two"]
    assert api.sent("X-Sdk-Date") == [stamp(NOW, "%Y%m%dT%H%M%SZ")] * 2
    assert "SignedHeaders=host;x-sdk-date;x-security-token," in api.sent("Authorization")[0]
    assert (auth.expires_at, auth.paused_until) == (None, None)


@in_loop
async def test_a_request_that_is_sent_again_is_signed_anew(clock: Clock) -> None:
    keys = by_keys(clock, token=lambda: "temporary")
    plain = by_keys(clock)
    request = httpx.Request("PUT", URL, json={"a": 1})
    for auth in (keys, plain):
        flow = auth.async_auth_flow(request)
        await anext(flow)
        await flow.aclose()
    assert "X-Security-Token" not in request.headers
    assert "SignedHeaders=content-type;host;x-sdk-date," in request.headers["Authorization"]


@in_loop
async def test_a_path_that_cannot_be_signed_is_not_sent(clock: Clock) -> None:
    flow = by_keys(clock).async_auth_flow(httpx.Request("GET", f"{URL}/A%2FB"))
    with pytest.raises(errors.BadRequest):
        await anext(flow)


@in_loop
async def test_a_refused_signature_is_not_repeated_and_three_make_a_pause(clock: Clock) -> None:
    auth = by_keys(clock)
    api = Api(auth, refuses(WRONG_SIGNATURE))
    for attempt in (1, 2, 3):
        assert auth.paused_until is None
        assert "secret key" in str(await api.refused(errors.Unauthorized))
        assert len(api.requests) == attempt
    assert auth.paused_until == NOW + 300
    paused = await api.refused(errors.Paused)
    assert isinstance(paused, errors.Paused)
    assert paused.until == NOW + 300
    assert len(api.requests) == 3


@in_loop
async def test_after_the_pause_one_more_refusal_pauses_again(clock: Clock) -> None:
    auth = by_keys(clock)
    api = Api(auth, refuses(WRONG_SIGNATURE))
    for _ in range(3):
        await api.refused(errors.Unauthorized)
    clock.now += 300
    await api.refused(errors.Unauthorized)
    assert auth.paused_until == clock.now + 300


@in_loop
async def test_wrong_keys_are_tried_three_times_by_many_requests(clock: Clock) -> None:
    """The sixth failure in a row would lock the key for everyone who uses it."""
    api = Api(by_keys(clock), refuses(WRONG_SIGNATURE))
    outcomes = await api.get_together(20)
    assert [type(outcome) for outcome in outcomes].count(errors.Paused) == 17
    assert len(api.requests) == 3
    assert api.most_at_once == 1


@in_loop
async def test_keys_that_were_accepted_are_used_by_many_at_once(clock: Clock) -> None:
    api = Api(by_keys(clock), ok)
    await api.get()
    await api.get_together(10)
    assert api.most_at_once == 10


@in_loop
async def test_a_request_that_breaks_off_gives_its_turn_to_the_next(clock: Clock) -> None:
    api = Api(by_keys(clock), ok)
    first, second = (asyncio.create_task(api.get()) for _ in range(2))
    for _ in range(3):
        await asyncio.sleep(0)
    first.cancel()
    assert await second == 200


@in_loop
async def test_a_locked_key_pauses_at_once(clock: Clock) -> None:
    auth = by_keys(clock)
    api = Api(auth, ok)
    await api.get()
    api.answer = refuses(LOCKED)
    assert "five minutes" in str(await api.refused(errors.KeyLocked))
    assert auth.paused_until == NOW + 300
    await api.refused(errors.Paused)
    assert len(api.requests) == 2
    clock.now += 301
    api.answer = ok
    assert await api.get() == 200


@in_loop
async def test_a_success_in_between_starts_the_count_anew(clock: Clock) -> None:
    auth = by_keys(clock)
    api = Api(auth, ok)
    for _ in range(3):
        api.answer = refuses(WRONG_SIGNATURE)
        await api.refused(errors.Unauthorized)
        await api.refused(errors.Unauthorized)
        api.answer = lambda _: httpx.Response(400)
        await api.get()
    assert auth.paused_until is None


@pytest.mark.parametrize("status", [429, 502])
@in_loop
async def test_throttling_and_server_errors_prove_nothing_about_the_keys(clock: Clock, status: int) -> None:
    auth = by_keys(clock)
    api = Api(auth, ok)
    for _ in range(3):
        api.answer = refuses(WRONG_SIGNATURE)
        await api.refused(errors.Unauthorized)
        api.answer = lambda _: httpx.Response(status)
        if auth.paused_until is None:
            await api.get()
    assert auth.paused_until == NOW + 300


@in_loop
async def test_other_keys_end_the_pause(clock: Clock) -> None:
    secret = Secret(SK)
    auth = by_keys(clock, secret)
    api = Api(auth, refuses(LOCKED))
    await api.refused(errors.KeyLocked)
    secret.value = "another"
    api.answer = ok
    assert await api.get() == 200
    assert auth.paused_until is None


@in_loop
async def test_a_refusal_of_keys_that_were_replaced_meanwhile_does_not_count(clock: Clock) -> None:
    secret = Secret(SK)
    auth = by_keys(clock, secret)
    api = Api(auth, ok)
    await api.get()
    late = auth.async_auth_flow(httpx.Request("GET", URL))
    await anext(late)
    secret.value = "another"
    await api.get()
    with pytest.raises(errors.KeyLocked):
        await late.asend(refuses(LOCKED)(httpx.Request("GET", URL)))
    assert auth.paused_until is None


@in_loop
async def test_a_clock_that_is_off_is_told(clock: Clock) -> None:
    api = Api(by_keys(clock), refuses("calc ak sk signature fail:signature expired"))
    assert "NTP" in str(await api.refused(errors.ClockSkewed))


@in_loop
async def test_a_policy_refusal_is_no_refusal_of_the_keys(clock: Clock) -> None:
    auth = by_keys(clock)
    api = Api(auth, lambda _: httpx.Response(401, json={"error": {"code": "EPS.0003"}}))
    for _ in range(4):
        await api.refused(errors.Forbidden)
    assert auth.paused_until is None


@in_loop
async def test_a_rejected_security_token_is_repeated_once_with_the_next_one(clock: Clock) -> None:
    token = Secret(STS)

    def rotate(request: httpx.Request) -> httpx.Response:
        token.value = "fresh"
        return only("X-Security-Token", "fresh")(request)

    api = Api(by_keys(clock, token=token), rotate)
    assert await api.get() == 200
    assert api.sent("X-Security-Token") == [STS, "fresh"]


@in_loop
async def test_an_expired_security_token_that_nobody_renews_pauses_after_three(clock: Clock) -> None:
    auth = by_keys(clock, token=lambda: STS)
    api = Api(auth, refuses(f"security token {STS} expired"))
    for _ in range(3):
        assert "fresh set" in str(await api.refused(errors.TokenRejected))
    await api.refused(errors.Paused)
    assert len(api.requests) == 3


@in_loop
async def test_a_restored_lock_is_waited_for(clock: Clock) -> None:
    secret = Secret(SK)
    auth = by_keys(clock, secret)
    auth.restore_pause(NOW + DAY)
    assert auth.paused_until == NOW + 300
    api = Api(auth, ok)
    await api.refused(errors.Paused)
    assert api.requests == []
    secret.value = "another"
    assert await api.get() == 200


@in_loop
async def test_an_unreadable_key_is_told(clock: Clock) -> None:
    api = Api(by_keys(clock, lambda: f"{SK}\n{SK}"), ok)
    assert "the secret key" in str(await api.refused(errors.SecretUnreadable))


# Metadata service


def keys(access: str = AK, expires_at: float = NOW + DAY) -> httpx.Response:
    fields = {"access": access, "secret": SK, "securitytoken": STS, "expires_at": stamp(expires_at)}
    return httpx.Response(200, json={"credential": fields})


def metadata(
    *answers: httpx.Response | errors.ApiError, token: list[httpx.Response | errors.ApiError] | None = None
) -> Service:
    return Service(metadata_token=token or [httpx.Response(200, text="mt-1")], metadata_key=list(answers))


def by_metadata(service: Service, clock: Clock) -> SigningAuth:
    return SigningAuth(MetadataKeys(service, clock, jitter()), clock)


def access_keys(api: Api) -> list[str]:
    return [line.partition("Access=")[2].partition(",")[0] for line in api.sent("Authorization")]


@in_loop
async def test_temporary_keys_are_fetched_once_for_many(clock: Clock) -> None:
    service = metadata(keys())
    auth = by_metadata(service, clock)
    api = Api(auth, ok)
    assert await api.get_together(10) == [200] * 10
    assert service.operations == ["metadata_token", "metadata_key"]
    ask, fetch = service.requests
    assert (ask.method, str(ask.url)) == ("PUT", "http://169.254.169.254/meta-data/latest/api/token")
    assert ask.headers["X-Metadata-Token-Ttl-Seconds"] == "21600"
    assert (fetch.method, str(fetch.url)) == ("GET", "http://169.254.169.254/openstack/latest/securitykey")
    assert fetch.headers["X-Metadata-Token"] == "mt-1"
    assert fetch.extensions["timeout"]["connect"] == 3.0
    assert set(api.sent("X-Security-Token")) == {STS}
    assert auth.expires_at == NOW + DAY


@pytest.mark.parametrize("status", [404, 405, 503])
@in_loop
async def test_without_token_mode_the_keys_are_fetched_plainly(clock: Clock, status: int) -> None:
    service = metadata(keys("a1", NOW + 3600), keys("a2", NOW + 2 * DAY), token=[httpx.Response(status)])
    api = Api(by_metadata(service, clock), ok)
    await api.get()
    clock.now += 3500
    await api.get()
    assert service.operations == ["metadata_token", "metadata_key", "metadata_key"]
    assert "X-Metadata-Token" not in service.requests[-1].headers
    assert access_keys(api) == ["a1", "a2"]
    clock.now += 2 * DAY - 3600
    service.answers["metadata_key"] = [keys("a3", clock.now + DAY)]
    await api.get()
    assert service.operations[3:] == ["metadata_token", "metadata_key"]


@in_loop
async def test_temporary_keys_are_renewed_in_time(clock: Clock) -> None:
    service = metadata(keys("a1"), keys("a2", NOW + 2 * DAY))
    api = Api(by_metadata(service, clock), ok)
    for clock.now in (NOW, NOW + DAY - 51 * 60, NOW + DAY - 39 * 60):
        await api.get_together(3)
    assert access_keys(api) == ["a1"] * 6 + ["a2"] * 3
    assert service.operations == ["metadata_token", "metadata_key"] * 2


@in_loop
async def test_keys_that_the_service_hands_out_again_are_not_fetched_at_each_request(clock: Clock) -> None:
    service = metadata(keys())
    api = Api(by_metadata(service, clock), ok)
    for clock.now in range(int(NOW), int(NOW + DAY), 30):
        await api.get()
    assert service.operations.count("metadata_key") < 25


@in_loop
async def test_a_metadata_token_that_ended_is_renewed_once(clock: Clock) -> None:
    tokens: list[httpx.Response | errors.ApiError] = [httpx.Response(200, text=text) for text in ("mt-1", "mt-2")]
    service = metadata(httpx.Response(401), keys(), token=tokens)
    assert await Api(by_metadata(service, clock), ok).get() == 200
    assert service.operations == ["metadata_token", "metadata_key"] * 2
    assert service.requests[-1].headers["X-Metadata-Token"] == "mt-2"


@in_loop
async def test_a_metadata_service_that_refuses_its_token_is_told(clock: Clock) -> None:
    service = metadata(httpx.Response(401, text=TOKEN))
    api = Api(by_metadata(service, clock), ok)
    assert "refused its own fresh token" in str(await api.refused(errors.Unauthorized))
    assert len(service.operations) == 4


@in_loop
async def test_a_host_without_agency_is_told_and_not_asked_for_at_each_request(clock: Clock) -> None:
    service = metadata(httpx.Response(401, text="Please configure Cloud Service Agency first"), keys())
    api = Api(by_metadata(service, clock), ok)
    for _ in range(3):
        assert "bind an agency" in str(await api.refused(errors.Unauthorized))
    assert service.operations == ["metadata_token", "metadata_key"]
    clock.now += 61
    assert await api.get() == 200


@pytest.mark.parametrize("kind", [errors.ConnectFailed, errors.TimedOut])
@in_loop
async def test_an_absent_metadata_service_is_told(clock: Clock, kind: type[errors.ApiError]) -> None:
    service = metadata(keys(), token=[kind("down"), httpx.Response(200, text="mt-1")])
    api = Api(by_metadata(service, clock), ok)
    assert "sign in by aksk" in str(await api.refused(kind))
    assert await api.get() == 200


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(302), errors.UnexpectedStatus),
        (httpx.Response(404), errors.UnexpectedStatus),
        (httpx.Response(429), errors.RateLimited),
        (httpx.Response(500), errors.ServerFailed),
        (httpx.Response(200, text=f"<html>{SK}"), errors.Malformed),
        (httpx.Response(200, json=[AK]), errors.Malformed),
        (httpx.Response(200, json={"credential": {"access": AK}}), errors.Malformed),
        (httpx.Response(200, json={"credential": {"access": 1, "secret": SK}}), errors.Malformed),
        (keys(f"{AK}\n{AK}"), errors.Malformed),
        (keys(expires_at=NOW - 1), errors.Malformed),
        (keys(expires_at=NOW + 400 * DAY), errors.Malformed),
    ],
)
@in_loop
async def test_other_answers_of_the_metadata_service_are_told(
    clock: Clock, answer: httpx.Response, kind: type[errors.ApiError]
) -> None:
    api = Api(by_metadata(metadata(answer), clock), ok)
    await api.refused(kind)
    assert api.requests == []


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (httpx.Response(200), errors.Malformed),
        (httpx.Response(200, text=f"{TOKEN}\nx"), errors.Malformed),
        (httpx.Response(500), errors.ServerFailed),
        (httpx.Response(301), errors.UnexpectedStatus),
    ],
)
@in_loop
async def test_a_metadata_token_that_cannot_be_had_is_told(
    clock: Clock, token: httpx.Response, kind: type[errors.ApiError]
) -> None:
    await Api(by_metadata(metadata(keys(), token=[token]), clock), ok).refused(kind)


@pytest.mark.parametrize(
    "body",
    [
        {"credentials": {"accessKeyId": AK, "secretAccessKey": SK, "securityToken": STS}},
        {"credential": {"access_key_id": AK, "secret_access_key": SK, "security_token": STS}},
        {"access": AK, "secret": SK, "securitytoken": STS},
    ],
)
@pytest.mark.parametrize("name", ["expires_at", "expiration"])
@in_loop
async def test_every_spelling_of_the_fields_is_understood(
    clock: Clock, body: dict[str, dict[str, str]], name: str
) -> None:
    inner = body.get("credential") or body.get("credentials") or body
    answer = httpx.Response(200, json={**body, **_with(body, {**inner, name: stamp(NOW + DAY, "%Y-%m-%dT%H:%M:%SZ")})})
    auth = by_metadata(metadata(answer), clock)
    api = Api(auth, ok)
    await api.get()
    assert access_keys(api) == [AK]
    assert api.sent("X-Security-Token") == [STS]
    assert auth.expires_at == NOW + DAY


def _with(body: dict[str, dict[str, str]], inner: dict[str, object]) -> dict[str, object]:
    envelope = next((key for key in ("credential", "credentials") if key in body), None)
    return {envelope: inner} if envelope else inner


@in_loop
async def test_temporary_keys_that_the_api_refuses_are_fetched_anew(clock: Clock) -> None:
    service = metadata(keys("a1"), keys("a2"))
    api = Api(by_metadata(service, clock), refuses(f"ak {AK} not exist"))
    await api.refused(errors.Unauthorized)
    api.answer = ok
    assert await api.get() == 200
    assert access_keys(api) == ["a1", "a2"]


@in_loop
async def test_a_rejected_temporary_token_is_repeated_once_with_new_keys(clock: Clock) -> None:
    service = metadata(keys("a1"), keys("a2"))
    api = Api(by_metadata(service, clock), ok)
    await api.get()

    def answer(request: httpx.Request) -> httpx.Response:
        return ok(request) if "Access=a2," in request.headers["Authorization"] else refuses(EXPIRED_TOKEN)(request)

    api.answer = answer
    assert await api.get_together(5) == [200] * 5
    assert service.operations.count("metadata_key") == 2
    assert access_keys(api) == ["a1"] * 6 + ["a2"] * 5


@in_loop
async def test_new_keys_that_are_rejected_too_are_not_tried_a_third_time(clock: Clock) -> None:
    service = metadata(keys("a1"), keys("a2"), keys("a3"))
    api = Api(by_metadata(service, clock), refuses(EXPIRED_TOKEN))
    await api.refused(errors.TokenRejected)
    assert access_keys(api) == ["a1", "a2"]


def test_no_sign_in_shows_its_secrets(clock: Clock) -> None:
    login = Login("domain", "user", lambda: PASSWORD, project="p")
    shown = repr([login, by_password(iam(), clock), by_keys(clock), TokenAuth(Secret(TOKEN))])
    assert [secret for secret in SECRETS if secret in shown] == []
