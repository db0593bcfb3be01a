"""The paths of the HTTP surface, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from test_server_kit import SITE, FakeBoard, Served, running, site
from tools import tool

from exporter.errors import ExporterError, UsageError
from exporter.exposition import Format
from exporter.server import build, prefix_of
from exporter.server.family_filter import only
from exporter.server.lifecycle import of_this_site
from exporter.server.paths import landing_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

BOARD = FakeBoard()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with running() as server:
        yield server


GET_PATHS = ("/", "/metrics", "/config", "/-/healthy", "/-/ready", "/api/v1/openapi.json")


@pytest.mark.parametrize("path", GET_PATHS)
def test_get_and_head_agree(served: Served, path: str) -> None:
    with served.client() as client:
        got, head = client.get(path), client.head(path)
    assert got.status_code == head.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "x-content-type-options"):
        assert got.headers[name] == head.headers[name]


@pytest.mark.parametrize("path", GET_PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(served: Served, path: str, method: str) -> None:
    with served.client() as client:
        answer = client.request(method, path)
    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/metric", "/metrics/", "/-/", "/-/quit", "//", "/../metrics", "/%2e%2e/etc/passwd"])
def test_elsewhere_is_404(served: Served, path: str) -> None:
    answer = served.tell(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


FORMATS = {
    "text 0.0.4": ("text/plain;version=0.0.4", Format.TEXT, text_string_to_metric_families),
    "text 1.0.0": ("text/plain;version=1.0.0", Format.TEXT, text_string_to_metric_families),
    "OpenMetrics": (
        "application/openmetrics-text;version=1.0.0",
        Format.OPENMETRICS,
        openmetrics_parser.text_string_to_metric_families,
    ),
}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(("accept", "kind", "parse"), FORMATS.values(), ids=FORMATS)
def test_every_format_reads_back(served: Served, accept: str, kind: Format, parse: Any, encoding: str) -> None:
    with served.client() as client:
        answer = client.get("/metrics", headers={"Accept": accept, "Accept-Encoding": encoding})
    assert answer.headers.get("content-encoding", "identity") == encoding
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["content-type"].startswith(accept.replace(";", "; "))
    assert answer.content == BOARD.bodies[kind]
    assert {family.name for family in parse(answer.text)} >= {"coc_instances", "coc_wait_seconds"}


def test_several_accept_headers_are_one(served: Served) -> None:
    request = (
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/plain;q=0.1\r\nAccept: application/openmetrics-text\r\n"
    )
    answer = served.tell(request + b"Connection: close\r\n\r\n")
    assert b"content-type: application/openmetrics-text; version=1.0.0;" in answer


def test_a_body_of_many_pieces_arrives_whole() -> None:
    body = bytes(range(256)) * 8192 + b"end"
    with running(site(board=FakeBoard({Format.TEXT: body}))) as server, server.client() as client:
        assert client.get("/metrics").content == body


def test_an_empty_body_is_a_body() -> None:
    with running(site(board=FakeBoard({Format.TEXT: b""}))) as server, server.client() as client:
        answer = client.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


# name[] filters


def names(*wanted: str, kind: Format = Format.TEXT) -> list[str]:
    part = only(BOARD.bodies[kind], frozenset(name.encode() for name in wanted)).decode()
    parse = text_string_to_metric_families if kind is Format.TEXT else openmetrics_parser.text_string_to_metric_families
    return [sample.name for family in parse(part) for sample in family.samples]


WAIT = ["coc_wait_seconds_bucket"] * 3 + ["coc_wait_seconds_count", "coc_wait_seconds_sum"]


@pytest.mark.parametrize("kind", Format)
def test_a_family_is_asked_for_by_its_name_or_by_a_samples(kind: Format) -> None:
    assert names("coc_instances", kind=kind) == ["coc_instances"]
    assert sorted(names("coc_wait_seconds", kind=kind)) == WAIT
    assert sorted(names("coc_wait_seconds_sum", kind=kind)) == WAIT
    assert names("coc_instances_sum", "coc_wait_second", kind=kind) == []
    assert names("coc_exporter_polls_total", kind=kind) == ["coc_exporter_polls_total"]
    assert names("coc_exporter_polls", kind=kind) == ["coc_exporter_polls_total"]
    assert names("coc_ticket_info", "coc_instances", kind=kind) == ["coc_instances", "coc_ticket_info"]
    assert names("no_family", "no", kind=kind) == []


@pytest.mark.parametrize("kind", Format)
def test_asking_for_all_gives_all(kind: Format) -> None:
    wanted = {b"coc_instances", b"coc_exporter_polls", b"coc_wait_seconds", b"coc_ticket_info"}
    assert only(BOARD.bodies[kind], frozenset(wanted)) == BOARD.bodies[kind]


def test_filters_over_the_wire(served: Served) -> None:
    with served.client() as client:
        part = client.get("/metrics", params={"name[]": ["coc_instances", "coc_ticket_info"], "other": "x"})
        packed = client.get("/metrics?name[]=coc_instances", headers={"Accept-Encoding": "gzip"})
        none = client.get("/metrics?name[]=")
    assert part.text.count("# TYPE") == 2
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text.count("# TYPE") == 1
    assert none.content == b""


def test_the_filter_is_not_fooled_by_odd_query_bytes(served: Served) -> None:
    answer = served.tell(b"GET /metrics?name[]=%ff%00&&&=&name%5B%5D=coc_instances HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"coc_instances{" in answer


def test_openmetrics_filtered_to_nothing_still_ends(served: Served) -> None:
    with served.client() as client:
        answer = client.get("/metrics?name[]=x", headers={"Accept": "application/openmetrics-text"})
    assert answer.text == "# EOF\n"


# Lifecycle


def test_ready_is_503_until_ready() -> None:
    state = [False]
    with running(site(ready=lambda: state[0])) as server, server.client() as client:
        assert client.get("/-/ready").status_code == 503
        assert client.get("/-/healthy").status_code == 200
        state[0] = True
        assert client.get("/-/ready").status_code == 200


@pytest.mark.parametrize("question", ["healthy", "ready"])
def test_promtool_finds_us(served: Served, question: str) -> None:
    done = subprocess.run(
        [tool("promtool"), "check", question, f"--url={served.url}"], capture_output=True, text=True, check=False
    )
    assert "SUCCESS" in done.stderr


def test_reload_is_403_unless_enabled(served: Served) -> None:
    with served.client() as client:
        answers = [client.request(method, "/-/reload") for method in ("POST", "PUT", "GET", "DELETE")]
    assert [answer.status_code for answer in answers] == [403, 403, 405, 405]
    assert {name.strip() for name in answers[2].headers["allow"].split(",")} == {"POST", "PUT"}
    assert "--web.enable-lifecycle" in answers[0].text


def test_reload_says_why_it_failed() -> None:
    faults = [ExporterError("config.yaml:3: poll: unknown key"), None]

    async def reload() -> None:
        fault = faults.pop(0)
        if fault is not None:
            raise fault

    with running(site(lifecycle=True, reload=reload)) as server, server.client() as client:
        failed, done = client.post("/-/reload"), client.put("/-/reload")
    assert failed.status_code == 500
    assert "config.yaml:3: poll: unknown key" in failed.text
    assert done.status_code == 200


FROM = {
    "no browser": ({}, True),
    "our own page": ({"sec-fetch-site": "same-origin", "origin": "http://coc:10262", "host": "coc:10262"}, True),
    "typed into the address bar": ({"sec-fetch-site": "none"}, True),
    "through the proxy": ({"origin": "https://ops.example.com", "host": "10.0.0.1:10262"}, True),
    "another site": ({"sec-fetch-site": "cross-site", "origin": "https://evil.example", "host": "coc:10262"}, False),
    "a sister site": ({"sec-fetch-site": "same-site"}, False),
    "another site of an old browser": ({"origin": "https://evil.example", "host": "coc:10262"}, False),
    "a page without an origin": ({"origin": "null", "host": "coc:10262"}, False),
    "an origin that is no URL": ({"origin": "http://[", "host": "coc:10262"}, False),
    "neither origin nor host": ({"origin": "", "host": ""}, False),
}


@pytest.mark.parametrize(("headers", "allowed"), FROM.values(), ids=FROM)
def test_reload_is_refused_to_other_sites(headers: dict[str, str], allowed: bool) -> None:
    assert of_this_site(headers, "https://ops.example.com/coc/") is allowed


def test_a_page_of_another_site_cannot_reload() -> None:
    called = []

    async def reload() -> None:
        called.append(1)

    with running(site(lifecycle=True, reload=reload)) as server, server.client() as client:
        assert client.post("/-/reload", headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.post("/-/reload", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert called == []


# Pages, prefix and headers


def test_the_landing_page_links_what_there_is(served: Served) -> None:
    with served.client() as client:
        page = client.get("/")
        links = [part.partition('"')[0] for part in page.text.split('href="')[1:]]
        assert links[0] == "metrics"
        assert [client.get(link).status_code for link in links] == [200] * 5


def test_html_is_hardened_and_metrics_are_plain(served: Served) -> None:
    with served.client() as client:
        page, metrics = client.get("/"), client.get("/metrics")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "content-security-policy" not in metrics.headers
    assert metrics.headers["x-content-type-options"] == "nosniff"


async def overview(_request: Request) -> HTMLResponse:
    return HTMLResponse("<p>overview", headers={"Content-Security-Policy": "default-src 'none'"})


async def ticket(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.path_params))


PAGES = (Route("/", overview), Route("/api/v1/tickets/{account}/{execute_uuid}", ticket))


def test_pages_take_the_landing_pages_place() -> None:
    with running(site(pages=PAGES)) as server, server.client() as client:
        page = client.get("/")
        answer = client.get("/api/v1/tickets/prod/SCT1")
    assert page.text == "<p>overview"
    assert page.headers["content-security-policy"] == "default-src 'none'"
    assert answer.json() == {"account": "prod", "execute_uuid": "SCT1"}


@pytest.mark.parametrize("prefix", ["/coc", "coc/", "/coc/"])
def test_everything_moves_below_the_prefix(prefix: str) -> None:
    with running(site(route_prefix=prefix, pages=PAGES)) as server, server.client() as client:
        for path in ("/metrics", "/-/healthy", "/config", "/api/v1/openapi.json", "/", "/api/v1/tickets/a/b"):
            assert client.get("/coc" + path).status_code == 200
        assert client.get("/metrics").status_code == 404
        assert client.get("/coc/").text == "<p>overview"
        for path in ("/", "/coc"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (302, "/coc/")
        assert client.get("/coc/api/v1/openapi.json").json()["servers"] == [{"url": "/coc"}]


PREFIXES = {
    "nothing": ((None, ""), ""),
    "the external path": ((None, "https://ops.example.com/tools/coc/"), "/tools/coc"),
    "a root external path": ((None, "https://ops.example.com"), ""),
    "a prefix beside an external URL": (("/", "https://ops.example.com/tools/coc/"), ""),
    "a prefix": (("/x", ""), "/x"),
}


@pytest.mark.parametrize(("given", "expected"), PREFIXES.values(), ids=PREFIXES)
def test_prefix(given: tuple[str | None, str], expected: str) -> None:
    assert prefix_of(*given) == expected


@pytest.mark.parametrize("given", [(None, "ops.example.com/coc"), ("/{x}", ""), ("/a//b", ""), ("/a b", "")])
def test_a_prefix_that_is_none(given: tuple[str | None, str]) -> None:
    with pytest.raises(UsageError):
        prefix_of(*given)


def test_redirects_lead_to_where_people_are() -> None:
    outside = site(route_prefix="/x", external_url="https://ops.example.com/tools/coc/")
    assert landing_of(outside) == "/tools/coc/"
    assert landing_of(site(route_prefix="/x", external_url="https://ops.example.com/")) == "/x/"


def test_a_telemetry_path_of_ones_own() -> None:
    with running(site(telemetry_path="/m/coc")) as server, server.client() as client:
        assert client.get("/m/coc").status_code == 200
        assert client.get("/metrics").status_code == 404
        assert 'href="m/coc"' in client.get("/").text


def test_no_landing_page_where_the_metrics_are_at_the_root() -> None:
    with running(site(telemetry_path="/")) as server, server.client() as client:
        assert client.get("/").content == BOARD.bodies[Format.TEXT]


@pytest.mark.parametrize("path", ["metrics", "/-/healthy", "/config", "/a{b}", "/a b", "//metrics", "/api/v1/x", ""])
def test_a_telemetry_path_that_cannot_be(path: str) -> None:
    with pytest.raises(UsageError, match=r"--web\.telemetry-path="):
        build(site(telemetry_path=path))


def test_an_error_shows_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    def config_text() -> str:
        raise RuntimeError("canary")

    with running(site(config_text=config_text)) as server, server.client() as client:
        answer = client.get("/config")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert "Exception in ASGI application" in caplog.text


def test_the_server_does_not_say_what_it_runs_on(served: Served) -> None:
    with served.client() as client:
        headers = client.get("/metrics").headers
    assert "server" not in headers
    assert headers["date"].endswith(" GMT")


def test_packed_and_plain_are_the_same(served: Served) -> None:
    plain = served.tell(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")[2]
    packed = served.tell(
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    ).partition(b"\r\n\r\n")[2]
    assert gzip.decompress(packed) == plain


def test_the_site_is_frozen() -> None:
    with pytest.raises(AttributeError):
        SITE.max_requests = 1  # type: ignore[misc]  # that is the point


def test_a_reload_under_way_does_not_hold_scrapes_up() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def reload() -> None:
        entered.set()
        await go.wait()

    with running(site(lifecycle=True, reload=reload)) as server, server.client() as client, server.connect() as slow:
        slow.sendall(b"POST /-/reload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        asyncio.run_coroutine_threadsafe(entered.wait(), server.loop).result(10)
        assert client.get("/metrics").status_code == 200
        server.loop.call_soon_threadsafe(go.set)
        assert slow.recv(64).startswith(b"HTTP/1.1 200 ")
