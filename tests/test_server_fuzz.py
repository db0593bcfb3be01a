"""Anything at all, over a real socket: no 5xx, and the server lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_server_kit import Served, running, site

from exporter.server import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER: list[Served] = []
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "QUERY"]
PATHS = ["/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/config", "/api/v1/openapi.json", "/x"]
VISIBLE = st.binary(max_size=40).map(lambda some: some.translate(None, b"\r\n"))
ACCEPT_PIECES = [b"text/plain", b"application/openmetrics-text", b"*/*", b";q=", b"0", b"1.0", b",", b";version=", b'"']
ACCEPT = VISIBLE | st.lists(st.sampled_from([*ACCEPT_PIECES, b"1.0.0", b"gzip", b"\xff"]), max_size=9).map(b"".join)
TARGET = st.sampled_from(PATHS).map(str.encode) | VISIBLE.map(lambda some: b"/" + some) | VISIBLE
QUERY = st.just(b"") | VISIBLE.map(lambda some: b"?" + some) | VISIBLE.map(lambda some: b"?name[]=" + some)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with running(site(lifecycle=True), limits=Limits(request_time=0.5, idle_time=0)) as served:
        SERVER.append(served)
        yield
        SERVER.clear()


def answers(raw: bytes) -> list[bytes]:
    """Return the status of each answer to some bytes."""
    answer = SERVER[0].tell(raw)
    return [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(METHODS), TARGET, QUERY, ACCEPT, ACCEPT)
@example("GET", b"*", b"", b"", b"")
@example("OPTIONS", b"*", b"", b"", b"")
@example("CONNECT", b"a:80", b"", b"", b"")
@example("GET", b"http://other.example/metrics", b"", b"", b"")
@example("GET", b"//metrics", b"?name[]=%", b"", b"")
@example("GET", b"/\xff", b"", b"", b"")
@example("GET", b"/%ff%00%0d%0a", b"", b"", b"")
def test_no_request_is_answered_by_5xx(
    method: str, target: bytes, query: bytes, accept: bytes, encoding: bytes
) -> None:
    lines = [method.encode() + b" " + target + query + b" HTTP/1.1", b"Host: a", b"Connection: close"]
    lines += [b"Accept: " + accept, b"Accept-Encoding: " + encoding]
    statuses = answers(b"\r\n".join(lines) + b"\r\n\r\n")
    assert len(statuses) <= 1
    assert all(b"200" <= status < b"500" for status in statuses)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(b"GET / HTTP/9.9\r\n\r\n")
@example(b"GET /metrics\r\n\r\n")
@example(b"\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n")
def test_no_bytes_are_answered_by_5xx(raw: bytes) -> None:
    assert all(b"100" <= status < b"500" for status in answers(raw + b"\r\n\r\n"))


def test_pipelined_requests_are_answered_in_order() -> None:
    first = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert answers(first * 3 + last) == [b"200", b"200", b"200", b"404"]
