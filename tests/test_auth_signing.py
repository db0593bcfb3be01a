"""The signature: published vectors, the official signer as a judge, and the wire against what was signed."""

import asyncio
import hashlib
import types
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import httpx
import pytest
from huaweicloudsdkcore.sdk_request import SdkRequest  # type: ignore[import-untyped]
from huaweicloudsdkcore.signer.signer import Signer  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import errors
from exporter.auth import Keys, SigningAuth, StaticKeys
from exporter.auth.signing import (
    Parts,
    canonical_path,
    canonical_query,
    canonical_request,
    sign,
    signature,
    string_to_sign,
    wire_path,
)

KEYS = Keys("AKEXAMPLE0000000001X", "SKexample000000000000000000000000000000x")
DATE = "20260102T030405Z"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
HOST = "coc.myhuaweicloud.com"
JSON = {"Host": HOST, "Content-Type": "application/json"}
ORDERS = "/v1/job/script/orders"
TICKET = f"{ORDERS}/SCT2023083109562601af694bf"
EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

V0 = Parts(
    "GET",
    "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
    "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
    {"Content-Type": "application/json", "Host": "service.region.example.com"},
)
V0_KEYS = Keys("QTWAOYTTINDUT2QVKYUC", "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc")
V1 = Parts("GET", f"{TICKET}/batches/1", "status=ABNORMAL&limit=50&marker=1588", JSON)
V2 = Parts(
    "GET",
    ORDERS,
    f"limit=100&creator={quote('运维 user~1')}&name_like={quote('a+b/c=d&e*(f)', safe='')}",
    JSON,
)
V3 = Parts("GET", f"{ORDERS}/SCT%20%E6%B5%8B%E8%AF%95~1/statistics", "", JSON)
V4_TOKEN = "gQpjbi1ub3J0aC00EXAMPLETOKEN"
V4 = Parts(
    "GET",
    f"{TICKET}/batches",
    "",
    {**JSON, "X-Language": "en-us", "X-Project-Id": "0123456789abcdef0123456789abcdef"},
)
V5 = Parts(
    "PUT",
    f"{TICKET}/operation",
    "",
    {"Host": HOST, "Content-Type": "application/json;charset=UTF-8"},
    b'{"operation_type": "CANCEL_ORDER"}',
)
V6 = Parts("GET", "/v3/projects", "name=cn-north-4", {"Host": "iam.cn-north-4.myhuaweicloud.com"})


def dated(parts: Parts, date: str = DATE, token: str = "") -> Parts:
    added = {"X-Sdk-Date": date} | ({"X-Security-Token": token} if token else {})
    return Parts(parts.method, parts.path, parts.query, {**parts.headers, **added}, parts.body)


VECTORS = [
    pytest.param(
        dated(V0, "20191115T033655Z"),
        V0_KEYS,
        "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a",
        "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
        id="V0 the published example",
    ),
    pytest.param(
        dated(V1),
        KEYS,
        "f612a8fcf23463ad752a2ff78a196ce75babfcc6bd91b51b85e94e7e2bf40eba",
        "a54380a212ac9bf1efce717b9817b3707539e13eba9e934f007533b66f92a83a",
        id="V1 a query out of order",
    ),
    pytest.param(
        dated(V2),
        KEYS,
        "5ca093b9d2cd2deda53b59bcc13162efff217c0a90b7c432c791efc65e0421dd",
        "c272867f12cd223011bca8d335e9c5cdb83ec4f4073af55de05c62eacef34243",
        id="V2 reserved characters in the query",
    ),
    pytest.param(
        dated(V3),
        KEYS,
        "feb80dc4bb9cc0c3c2c59a4684f3f689852d116ac8b0dc3a6f85770358a6cd30",
        "59065710b1a117953dc8a69f4fac427fccd66828b3aa2ba84c581d04be4e1cb4",
        id="V3 a path that is not ASCII",
    ),
    pytest.param(
        dated(V4, token=V4_TOKEN),
        KEYS,
        "951cc333e1cf0736b0b06307bab56599a0130ad1f12a99b1554cad995806edc7",
        "97eec426e8d902c16c1d1f48ed08a0c2ff79e5e7199261cdb07b8b619f6d5567",
        id="V4 project, language and security token",
    ),
    pytest.param(
        dated(V5),
        KEYS,
        "ac20f3acfa82acaf0377239b4c009863d805aaa76d4d42f9f4e7b273bb576f06",
        "31181c4130e46a7536ba9b0279798a5131c8c76826035afde4b9c39049bc7b2f",
        id="V5 a body",
    ),
    pytest.param(
        dated(V6),
        KEYS,
        "e92db4612b298261b54ae977c3128cc3b2c056466377f811e25bca85ad9eb77b",
        "e113ad2f2411d88908f1bf483d01947e131395fb96a92728d414f67bf98f27f3",
        id="V6 IAM, without content type",
    ),
]


@pytest.mark.parametrize(("parts", "keys", "request_hash", "expected"), VECTORS)
def test_vectors_of_the_algorithm(parts: Parts, keys: Keys, request_hash: str, expected: str) -> None:
    canonical = canonical_request(parts)
    text = string_to_sign(canonical, parts.headers["X-Sdk-Date"])
    assert hashlib.sha256(canonical.encode()).hexdigest() == request_hash
    assert text == f"SDK-HMAC-SHA256\n{parts.headers['X-Sdk-Date']}\n{request_hash}"
    assert signature(keys.secret, text) == expected


@pytest.mark.parametrize(
    ("parts", "token", "signed", "expected"),
    [
        (
            V1,
            "",
            "content-type;host;x-sdk-date",
            "a54380a212ac9bf1efce717b9817b3707539e13eba9e934f007533b66f92a83a",
        ),
        (
            V4,
            V4_TOKEN,
            "content-type;host;x-language;x-project-id;x-sdk-date;x-security-token",
            "97eec426e8d902c16c1d1f48ed08a0c2ff79e5e7199261cdb07b8b619f6d5567",
        ),
    ],
)
def test_sign_returns_the_headers_to_add(parts: Parts, token: str, signed: str, expected: str) -> None:
    added = sign(parts, Keys(KEYS.access, KEYS.secret, token), NOW)
    authorization = f"SDK-HMAC-SHA256 Access={KEYS.access}, SignedHeaders={signed}, Signature={expected}"
    assert added == {
        "X-Sdk-Date": DATE,
        "Authorization": authorization,
        **({"X-Security-Token": token} if token else {}),
    }


def test_the_canonical_request_is_what_the_documentation_shows() -> None:
    assert canonical_request(dated(V1)) == (
        f"GET\n{TICKET}/batches/1/\nlimit=50&marker=1588&status=ABNORMAL\n"
        f"content-type:application/json\nhost:{HOST}\nx-sdk-date:{DATE}\n\n"
        f"content-type;host;x-sdk-date\n{EMPTY_HASH}"
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ""),
        ("a", "a="),
        ("a=", "a="),
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1", "a=1&a=2"),
        ("a=b=c", "a=b%3Dc"),
        ("a+b=c+d", "a%20b=c%20d"),
        ("a=%2b", "a=%2B"),
        ("&&a=1&", "a=1"),
        ("%7e=%ff", "~=%FF"),
    ],
)
def test_queries_become_canonical(query: str, expected: str) -> None:
    assert canonical_query(query) == expected


def test_the_path_ends_in_a_slash_only_where_it_is_signed() -> None:
    assert canonical_path("/v1/a(b)") == "/v1/a%28b%29/"
    assert canonical_path("/v1/") == "/v1/"
    assert wire_path("/v1/a(b)") == "/v1/a%28b%29"


@pytest.mark.parametrize("path", ["/a%2Fb", "/a%2f", "/%2E%2e/b", "/%2e", "/../b"])
def test_a_path_that_would_be_signed_as_another_is_refused(path: str) -> None:
    with pytest.raises(errors.BadRequest, match="cannot be signed"):
        wire_path(path)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
RESERVED = st.text(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~é运\u00a0\U0001f600", max_size=12)
VALUES = TEXT | RESERVED
SEGMENTS = st.lists(VALUES.filter(lambda part: part not in {".", ".."}).map(lambda part: part.replace("/", "")))
HEADER_VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Language", "X-Project-Id", "X-Security-Token", "User-Agent"]),
    HEADER_VALUES,
)


def official(
    method: str, path: str, query: list[tuple[str, object]], headers: dict[str, str], body: bytes = b""
) -> tuple[str, str]:
    """Return the query as it is sent and the Authorization header, both by the official signer."""
    request = SdkRequest(
        method=method,
        schema="https",
        host=HOST,
        resource_path=path,
        query_params=query,
        header_params={**headers, "Host": HOST, "X-Sdk-Date": DATE},
        body=body,
    )
    Signer(types.SimpleNamespace(ak=KEYS.access, sk=KEYS.secret)).sign(request)
    return request.uri.partition("?")[2], request.header_params["Authorization"]


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "post"]),
    segments=SEGMENTS,
    query=st.lists(st.tuples(VALUES.filter(bool), VALUES)),
    headers=HEADERS,
    body=st.binary(max_size=30),
)
def test_the_official_signer_signs_the_same(
    method: str, segments: list[str], query: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    headers.pop("Content-Type", None)  # the official signer leaves bodies out for types other than JSON
    path = "/" + "/".join(quote(part, safe="") for part in segments)
    raw = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    sent, authorization = official(method, path, list(query), headers, body)
    assert canonical_query(raw) == sent
    added = sign(Parts(method, path, raw, {**headers, "Host": HOST}, body), KEYS, NOW)
    assert added["Authorization"] == authorization


@settings(deadline=None)
@given(
    names=st.lists(VALUES.filter(bool), unique=True, max_size=4),
    values=st.lists(VALUES, min_size=1),
    flag=st.booleans(),
)
def test_lists_and_truth_values_are_signed_as_the_official_signer_has_them(
    names: list[str], values: list[str], flag: bool
) -> None:
    """httpx writes a list as a name repeated and a truth value in lower case, before we see it."""
    query: list[tuple[str, object]] = [(name, list(values)) for name in names]
    raw = str(httpx.URL(f"https://{HOST}/", params=dict.fromkeys(names, values)).query, "ascii")
    assert canonical_query(raw) == official("GET", "/", query, {})[0]
    flagged = httpx.URL(f"https://{HOST}/", params={"flag": flag}).query.decode()
    assert canonical_query(flagged) == official("GET", "/", [("flag", flag)], {})[0]


@settings(deadline=None)
@given(
    segments=SEGMENTS,
    params=st.dictionaries(VALUES.filter(bool), VALUES),
    project=st.text("0123456789abcdef", min_size=1),
    port=st.sampled_from(["", ":443", ":8443"]),
)
def test_what_is_on_the_wire_is_what_was_signed(
    segments: list[str], params: dict[str, str], project: str, port: str
) -> None:
    """A verifier that knows nothing but the bytes it received comes to the same signature."""
    wire: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        wire.append(request)
        return httpx.Response(200)

    async def run() -> None:
        auth = SigningAuth(StaticKeys(lambda: KEYS.access, lambda: KEYS.secret), lambda: NOW)
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), auth=auth) as client:
            path = "/".join(quote(part, safe="") for part in segments)
            url = f"https://{HOST}{port}/{path}"
            await client.get(url, params=params, headers={"X-Project-Id": project, "X-Language": "en-us"})

    asyncio.run(run())
    (request,) = wire
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    assert canonical_query(query) == query
    assert canonical_path(path).removesuffix("/") == path.removesuffix("/")
    assert request.headers["Host"] == HOST + ("" if port == ":443" else port)

    signed = request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert signed == ["host", "x-language", "x-project-id", "x-sdk-date"]
    judge = SdkRequest(
        method=request.method,
        schema="https",
        host=request.headers["Host"],
        resource_path=path,
        query_params=[tuple(unquote(half) for half in pair.split("=")) for pair in query.split("&") if pair],
        header_params={name: request.headers[name] for name in signed},
    )
    Signer(types.SimpleNamespace(ak=KEYS.access, sk=KEYS.secret)).sign(judge)
    assert judge.header_params["Authorization"] == request.headers["Authorization"]


def test_keys_and_parts_do_not_show_themselves() -> None:
    secrets = (V4_TOKEN, KEYS.access, KEYS.secret)
    shown = repr(Keys(KEYS.access, KEYS.secret, V4_TOKEN)) + repr(dated(V4, token=V4_TOKEN))
    assert not any(secret in shown for secret in secrets)
