"""The gateway verifies tokens and signatures for real; IAM and the metadata service issue what it accepts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from exporter.simulator import Credentials, Script, build, running, signing
from exporter.simulator.messages import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

NOON = 1_767_323_045.0
ORDERS = "/v1/job/script/orders"
KNOWN = Credentials()
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


class Stage:
    """An application that is another one for every test, so that they share a socket."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Stage, httpx.Client]]:
    stage = Stage()
    with running(stage) as url, httpx.Client(base_url=url) as client:
        yield stage, client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(stage: tuple[Stage, httpx.Client], clock: Clock) -> httpx.Client:
    stage[0].app = build(world=Script(), clock=clock)
    return stage[1]


def signed(
    client: httpx.Client,
    *,
    access: str = KNOWN.access_key,
    secret: str = KNOWN.secret_key,
    now: float = NOON,
    **headers: str,
) -> httpx.Response:
    """List the tickets with a signature over ``headers``, host and date."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    host = client.base_url.netloc.decode()
    sent = {"host": host, "x-sdk-date": date, **names}
    order = tuple(sorted(sent))
    request = Request("GET", ORDERS, "limit=10&creator=%E8%BF%90%E7%BB%B4%20user~1", sent)
    signature = signing.signature(secret, date, signing.canonical_request(request, order))
    claim = f"{signing.ALGORITHM} Access={access}, SignedHeaders={';'.join(order)}, Signature={signature}"
    return client.get(f"{ORDERS}?{request.raw_query}", headers={**sent, "Authorization": claim})


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert body["request_id"] == answer.headers["x-request-id"]
    text = body["error_msg"].removeprefix("Incorrect IAM authentication information: ")
    return answer.status_code, body["error_code"], text


def wrong(answer: httpx.Response) -> str:
    """Return the text of a refusal that must be a failed sign-in."""
    status, code, text = refusal(answer)
    assert (status, code) == (401, "APIGW.0301")
    return text


def password(**changes: Any) -> dict[str, Any]:
    """Return a sign-in body; ``changes`` replace the user's fields or the scope."""
    scope = changes.pop("scope", {"project": {"name": "cn-north-4"}})
    user = {"name": KNOWN.user, "password": KNOWN.password, "domain": {"name": KNOWN.domain}} | changes
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, "scope": scope}}


def issued(client: httpx.Client, **changes: Any) -> str:
    answer = client.post("/v3/auth/tokens?nocatalog=true", json=password(**changes))
    assert answer.status_code == 201, answer.text
    return answer.headers["x-subject-token"]


def listing(client: httpx.Client, token: str, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(ORDERS, headers={"X-Auth-Token": token, **names})


# Vectors: "API request signing guide" (V0) and the official SDK's signer (V1, V2, V4, V5).
COMMON = {
    "content-type": "application/json",
    "host": "coc.myhuaweicloud.com",
    "x-sdk-date": "20260102T030405Z",
}
UUID = "SCT2023083109562601af694bf"
EXAMPLE_SECRET = "SKexample000000000000000000000000000000x"
PUBLISHED = Request(
    "GET",
    "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
    "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
    {"content-type": "application/json", "host": "service.region.example.com", "x-sdk-date": "20191115T033655Z"},
)


@pytest.mark.parametrize(
    ("secret", "request_", "expected"),
    [
        pytest.param(
            "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc",
            PUBLISHED,
            "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
            id="V0 as published",
        ),
        pytest.param(
            EXAMPLE_SECRET,
            Request("GET", f"{ORDERS}/{UUID}/batches/1", "status=ABNORMAL&limit=50&marker=1588", COMMON),
            "a54380a212ac9bf1efce717b9817b3707539e13eba9e934f007533b66f92a83a",
            id="V1 query",
        ),
        pytest.param(
            EXAMPLE_SECRET,
            Request(
                "GET",
                ORDERS,
                "creator=%E8%BF%90%E7%BB%B4%20user~1&limit=100&name_like=a%2Bb%2Fc%3Dd%26e%2A%28f%29",
                COMMON,
            ),
            "c272867f12cd223011bca8d335e9c5cdb83ec4f4073af55de05c62eacef34243",
            id="V2 reserved characters",
        ),
        pytest.param(
            EXAMPLE_SECRET,
            Request("GET", f"{ORDERS}/SCT%20%E6%B5%8B%E8%AF%95~1/statistics", "", COMMON),
            "59065710b1a117953dc8a69f4fac427fccd66828b3aa2ba84c581d04be4e1cb4",
            id="V3 path",
        ),
        pytest.param(
            EXAMPLE_SECRET,
            Request(
                "GET",
                f"{ORDERS}/{UUID}/batches",
                "",
                COMMON
                | {
                    "x-language": "en-us",
                    "x-project-id": "0123456789abcdef0123456789abcdef",
                    "x-security-token": "gQpjbi1ub3J0aC00EXAMPLETOKEN",
                },
            ),
            "97eec426e8d902c16c1d1f48ed08a0c2ff79e5e7199261cdb07b8b619f6d5567",
            id="V4 security token",
        ),
        pytest.param(
            EXAMPLE_SECRET,
            Request(
                "PUT",
                f"{ORDERS}/{UUID}/operation",
                "",
                COMMON | {"content-type": "application/json;charset=UTF-8"},
                b'{"operation_type": "CANCEL_ORDER"}',
            ),
            "31181c4130e46a7536ba9b0279798a5131c8c76826035afde4b9c39049bc7b2f",
            id="V5 body",
        ),
    ],
)
def test_the_verifier_computes_the_known_signatures(secret: str, request_: Request, expected: str) -> None:
    canonical = signing.canonical_request(request_, tuple(sorted(request_.headers)))
    assert signing.signature(secret, request_.headers["x-sdk-date"], canonical) == expected


def test_the_canonical_request_is_laid_out_as_the_guide_says() -> None:
    request = Request("GET", f"{ORDERS}/{UUID}/batches/1", "status=ABNORMAL&limit=50&marker=1588", COMMON)
    assert signing.canonical_request(request, tuple(COMMON)).splitlines() == [
        "GET",
        f"{ORDERS}/{UUID}/batches/1/",
        "limit=50&marker=1588&status=ABNORMAL",
        "content-type:application/json",
        "host:coc.myhuaweicloud.com",
        "x-sdk-date:20260102T030405Z",
        "",
        "content-type;host;x-sdk-date",
        EMPTY,
    ]


def test_a_date_that_is_not_signed_or_not_readable_counts_as_expired(client: httpx.Client) -> None:
    claim = f"{signing.ALGORITHM} Access={KNOWN.access_key}, SignedHeaders=host, Signature=00"
    for date in ("20260102T030405Z", "yesterday"):
        answer = client.get(ORDERS, headers={"Authorization": claim, "X-Sdk-Date": date})
        assert wrong(answer) == "calc ak sk signature fail:signature expired"
    answer = client.get(ORDERS, headers={"Authorization": claim.replace("host", "x-sdk-date"), "X-Sdk-Date": "soon"})
    assert wrong(answer) == "calc ak sk signature fail:signature expired"


def test_a_right_signature_is_let_in_whatever_headers_it_covers(client: httpx.Client) -> None:
    assert signed(client).status_code == 200
    assert signed(client, x_language="en-us", x_project_id=KNOWN.project_id).status_code == 200


def test_no_sign_in_at_all_is_refused(client: httpx.Client) -> None:
    assert wrong(client.get(ORDERS)) == "x-auth-token not found"


def test_a_wrong_secret_key_is_told_by_the_canonical_request(client: httpx.Client) -> None:
    text = wrong(signed(client, secret="wrong"))
    assert text.startswith(f"verify aksk signature fail,canonicalRequest:GET|{ORDERS}/|creator=")


def test_an_unknown_access_key_is_refused(client: httpx.Client) -> None:
    assert wrong(signed(client, access="UNKNOWN")) == "ak UNKNOWN not exist"


@pytest.mark.parametrize(("skew", "status"), [(899, 200), (-899, 200), (901, 401), (-901, 401)])
def test_a_clock_may_be_off_by_fifteen_minutes(client: httpx.Client, skew: int, status: int) -> None:
    answer = signed(client, now=NOON + skew)
    assert answer.status_code == status
    assert status == 200 or wrong(answer) == "calc ak sk signature fail:signature expired"


def test_a_header_changed_on_the_way_breaks_the_signature(client: httpx.Client) -> None:
    right = signed(client, x_language="en-us").request
    right.headers["x-language"] = "zh-cn"
    assert wrong(client.send(right)).startswith("verify aksk signature fail")


def test_more_than_five_failures_in_a_row_lock_the_key_for_five_minutes(client: httpx.Client, clock: Clock) -> None:
    for _ in range(6):
        assert wrong(signed(client, secret="wrong")).startswith("verify aksk")
    assert wrong(signed(client)) == "AK access failed to reach the limit,forbidden"
    clock.now += 299
    assert wrong(signed(client, now=clock.now)) == "AK access failed to reach the limit,forbidden"
    clock.now += 1
    assert signed(client, now=clock.now).status_code == 200


def test_five_failures_and_a_success_lock_nothing(client: httpx.Client) -> None:
    for _ in range(2):
        for _ in range(5):
            signed(client, secret="wrong")
        assert signed(client).status_code == 200


def test_the_static_token_is_accepted_and_another_is_not(client: httpx.Client) -> None:
    assert listing(client, "demo-token").status_code == 200
    assert wrong(listing(client, "made-up")) == "decrypt token fail"
    assert wrong(listing(client, "9999999999.x.0.made-up")) == "decrypt token fail"


@pytest.mark.parametrize(
    "scope",
    [
        {"project": {"name": "cn-north-4"}},
        {"project": {"id": KNOWN.project_id}},
        {"domain": {"name": KNOWN.domain}},
        {"domain": {"id": KNOWN.domain_id}},
    ],
)
def test_a_password_buys_a_token_of_project_or_domain(client: httpx.Client, scope: dict[str, Any]) -> None:
    assert listing(client, issued(client, scope=scope)).status_code == 200


def test_a_token_tells_when_it_expires_and_then_it_does(client: httpx.Client, clock: Clock) -> None:
    body = client.post("/v3/auth/tokens", json=password()).json()["token"]
    assert (body["issued_at"], body["expires_at"]) == (
        "2026-01-02T03:04:05.000000Z",
        "2026-01-03T03:04:05.000000Z",
    )
    token = issued(client)
    clock.now += KNOWN.token_lifetime - 1
    assert listing(client, token).status_code == 200
    clock.now += 1
    assert wrong(listing(client, token)) == "token expires, expires_at: 2026-01-03T03:04:05.000000Z"


def test_a_restart_still_accepts_the_tokens_issued_before(
    client: httpx.Client, stage: tuple[Stage, httpx.Client], clock: Clock
) -> None:
    token = issued(client)
    stage[0].app = build(world=Script(), clock=clock)
    assert listing(client, token).status_code == 200


def test_a_token_or_project_of_another_region_must_be_updated(client: httpx.Client) -> None:
    foreign = issued(client, scope={"project": {"name": "ap-southeast-3"}})
    answers = [
        listing(client, foreign),
        listing(client, "demo-token", x_project_id=KNOWN.projects["ap-southeast-3"]),
        signed(client, x_project_id="f" * 32),
    ]
    assert [refusal(answer) for answer in answers] == [(401, "APIGW.0307", "The token must be updated")] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "wrong"},
        {"name": "nobody"},
        {"domain": {"name": "nowhere"}},
        {"scope": {"project": {"name": "mars-1"}}},
        {"scope": {"domain": {"name": "nowhere"}}},
    ],
)
def test_a_wrong_sign_in_is_401_with_iams_own_body(client: httpx.Client, changes: dict[str, Any]) -> None:
    answer = client.post("/v3/auth/tokens", json=password(**changes))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert answer.json()["error"]["title"] == "Unauthorized"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"auth":{}}', b'{"auth":{"identity":{"password":{"user":7}}}}', b'{"auth":7}', b"\xff"],
)
def test_a_sign_in_of_another_shape_is_a_bad_request(client: httpx.Client, body: bytes) -> None:
    assert client.post("/v3/auth/tokens", content=body).json()["error"]["code"] == 400


def test_repeated_wrong_passwords_lock_the_user_for_a_while(client: httpx.Client, clock: Clock) -> None:
    for _ in range(5):
        client.post("/v3/auth/tokens", json=password(password="wrong"))
    locked = client.post("/v3/auth/tokens", json=password())
    assert (locked.status_code, "locked" in locked.text) == (401, True)
    clock.now += 15 * 60
    assert issued(client)


def test_projects_are_found_by_name(client: httpx.Client) -> None:
    headers = {"X-Auth-Token": "demo-token"}
    found = client.get("/v3/projects?name=cn-north-4", headers=headers).json()["projects"]
    assert [project["id"] for project in found] == [KNOWN.project_id]
    assert len(client.get("/v3/projects", headers=headers).json()["projects"]) == 2
    assert client.get("/v3/projects?name=mars", headers=headers).json()["projects"] == []
    assert wrong(client.get("/v3/projects")) == "x-auth-token not found"


def metadata_key(client: httpx.Client) -> dict[str, str]:
    ttl = {"X-Metadata-Token-Ttl-Seconds": "21600"}
    token = client.put("/meta-data/latest/api/token", headers=ttl).text
    answer = client.get("/openstack/latest/securitykey", headers={"X-Metadata-Token": token})
    credential: dict[str, str] = answer.json()["credential"]
    return credential


def test_the_metadata_services_keys_sign_until_they_expire(client: httpx.Client, clock: Clock) -> None:
    key = metadata_key(client)
    assert key["expires_at"] == "2026-01-02T09:04:05.000000Z"

    def use(security_token: str) -> httpx.Response:
        return signed(
            client, access=key["access"], secret=key["secret"], now=clock.now, x_security_token=security_token
        )

    assert use(key["securitytoken"]).status_code == 200
    assert wrong(use("other")) == "Get secretKey failed"
    clock.now += KNOWN.key_lifetime
    assert wrong(use(key["securitytoken"])) == "calc ak sk signature fail:signature expired"


def test_the_metadata_service_wants_its_token_and_the_token_ends(client: httpx.Client, clock: Clock) -> None:
    assert client.put("/meta-data/latest/api/token").status_code == 400
    token = client.put("/meta-data/latest/api/token", headers={"X-Metadata-Token-Ttl-Seconds": "60"}).text
    key = "/openstack/latest/securitykey"
    assert client.get(key).status_code == 401
    assert client.get(key, headers={"X-Metadata-Token": token}).status_code == 200
    clock.now += 60
    assert client.get(key, headers={"X-Metadata-Token": token}).status_code == 401


@pytest.mark.parametrize(("mode", "put", "get"), [("plain", 404, 200), ("absent", 404, 404), ("no_agency", 200, 401)])
def test_the_metadata_service_can_be_of_another_kind(client: httpx.Client, mode: str, put: int, get: int) -> None:
    client.post(f"/-/switches/metadata/{mode}")
    ttl = {"X-Metadata-Token-Ttl-Seconds": "60"}
    assert client.put("/meta-data/latest/api/token", headers=ttl).status_code == put
    answer = client.get("/openstack/latest/securitykey")
    assert answer.status_code == get
    assert ("Please configure Cloud Service Agency first" in answer.text) == (mode == "no_agency")
