"""What no client can do to the others: hold memory, hold workers, hold the server up."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from test_server_kit import FakeBoard, running, site, until_closed

from exporter.exposition import Format
from exporter.server import Limits

if TYPE_CHECKING:
    import socket

    from exporter.exposition import Body, Variant

GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HUGE = b"x" * 32 * 1024 * 1024
SMALL_WINDOW = 4096


@dataclass
class HeldBoard:
    """Gives no body before it is released, and tells when it was asked."""

    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def body(self, _variant: Variant) -> Body:
        self.asked.release()
        await self.released.wait()
        return (b"coc_up 1\n",)


def slow_reader(connection: socket.socket) -> None:
    """Ask for the body, take its first bytes, and no more."""
    connection.sendall(GET)
    assert connection.recv(16).startswith(b"HTTP/1.1 200")


def test_over_max_requests_is_503_at_once() -> None:
    board = HeldBoard()
    with running(site(board=board, max_requests=2)) as server, server.connect() as one, server.connect() as two:
        for connection in (one, two):
            connection.sendall(LAST_GET)
            assert board.asked.acquire(timeout=10)
        refused = server.tell(LAST_GET)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"concurrent requests reached (2)" in refused
        assert server.tell(LAST_GET.replace(b"/metrics", b"/-/healthy")).startswith(b"HTTP/1.1 200 ")
        server.loop.call_soon_threadsafe(board.released.set)
        assert until_closed(one).startswith(b"HTTP/1.1 200 ")
        assert until_closed(two).startswith(b"HTTP/1.1 200 ")
        assert server.tell(LAST_GET).startswith(b"HTTP/1.1 200 ")


def test_a_scrape_is_counted_until_its_last_byte_is_taken() -> None:
    board = FakeBoard({Format.TEXT: HUGE})
    with running(site(board=board, max_requests=1)) as server, server.connect(SMALL_WINDOW) as slow:
        slow_reader(slow)
        assert server.tell(LAST_GET).startswith(b"HTTP/1.1 503 ")


def test_no_limit_when_it_is_0() -> None:
    board = HeldBoard()
    with running(site(board=board, max_requests=0)) as server, ThreadPoolExecutor(60) as pool:
        answers = [pool.submit(server.tell, LAST_GET) for _ in range(60)]
        for _ in answers:
            assert board.asked.acquire(timeout=10)
        server.loop.call_soon_threadsafe(board.released.set)
        assert all(answer.result(10).startswith(b"HTTP/1.1 200 ") for answer in answers)


def test_100_scrapers_with_slow_readers_among_them() -> None:
    """Thirty never read on; the other seventy get their body whole."""
    body = b"coc_line 1\n" * 100_000
    with running(site(board=FakeBoard({Format.TEXT: body * 8}), max_requests=0)) as server:
        slow = [server.connect(SMALL_WINDOW) for _ in range(30)]
        for connection in slow:
            slow_reader(connection)
        with ThreadPoolExecutor(10) as pool:
            lengths = list(pool.map(lambda _: len(server.tell(LAST_GET).partition(b"\r\n\r\n")[2]), range(70)))
        assert lengths == [len(body) * 8] * 70
        for connection in slow:
            connection.close()


def test_a_slow_reader_holds_no_copy_of_the_body() -> None:
    """What waits in the server for fifty stuck readers of 32 MiB is a piece for each."""
    with running(site(board=FakeBoard({Format.TEXT: HUGE}), max_requests=0)) as server:
        slow = [server.connect(SMALL_WINDOW) for _ in range(50)]
        for connection in slow:
            slow_reader(connection)
        assert server.tell(LAST_GET.replace(b"/metrics", b"/-/healthy")).startswith(b"HTTP/1.1 200 ")
        waiting = [server.buffered(connection.getsockname()) for connection in slow]
        for connection in slow:
            connection.close()
    assert all(0 < size < 512 * 1024 for size in waiting)


def test_a_stuck_reader_is_cut() -> None:
    limits = Limits(response_time=0.2)
    shown = site(board=FakeBoard({Format.TEXT: HUGE}))
    with running(shown, limits=limits) as server, server.connect(SMALL_WINDOW) as slow:
        slow_reader(slow)
        assert server.wait_for_connections(0)
        assert len(until_closed(slow)) < len(HUGE)


def test_a_stuck_reader_on_a_closing_connection_is_cut() -> None:
    """The application is done and the transport closing, but its buffer was never taken."""
    body = b"x" * 8 * 1024 * 1024
    limits = Limits(response_time=0.2)
    shown = site(board=FakeBoard({Format.TEXT: body}))
    with running(shown, limits=limits) as server, server.connect(SMALL_WINDOW) as slow:
        slow.sendall(LAST_GET)
        assert slow.recv(16)
        assert server.wait_for_connections(0)


def test_a_stuck_reader_of_a_second_answer_on_the_same_connection_is_cut() -> None:
    """Asked for before the first was taken, the second has a time of its own."""
    shown = site(board=FakeBoard({Format.TEXT: HUGE}))
    with running(shown, limits=Limits(response_time=0.5)) as server, server.connect(SMALL_WINDOW) as slow:
        slow.sendall(GET.replace(b"/metrics", b"/-/healthy") + GET)
        assert slow.recv(16).startswith(b"HTTP/1.1 200")
        assert server.wait_for_connections(0)
        assert len(until_closed(slow)) < len(HUGE)


def test_nothing_more_is_written_for_a_client_that_asked_twice_and_left(caplog: pytest.LogCaptureFixture) -> None:
    with running(site(board=FakeBoard({Format.TEXT: HUGE}))) as server:
        with server.connect(SMALL_WINDOW) as leaving:
            slow_reader(leaving)
            leaving.sendall(GET)
        assert server.wait_for_connections(0)
        assert server.tell(LAST_GET.replace(b"/metrics", b"/-/healthy")).startswith(b"HTTP/1.1 200 ")
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_a_client_that_asks_on_without_waiting_is_cut() -> None:
    """Each request that waits costs memory, and a packet has room for thousands."""
    board = HeldBoard()
    with running(site(board=board)) as server, server.connect() as connection:
        connection.sendall(GET)
        assert board.asked.acquire(timeout=10)
        with suppress(ConnectionError):
            connection.sendall(GET * 20)
        assert until_closed(connection) == b""


SLOW_REQUESTS = {
    "nothing at all": b"",
    "half a request line": b"GET /met",
    "headers without end": b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-A: b\r\n",
    "a body that does not come": b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
}


@pytest.mark.parametrize("request_bytes", SLOW_REQUESTS.values(), ids=SLOW_REQUESTS)
def test_a_request_that_takes_too_long_is_cut(request_bytes: bytes) -> None:
    with running(limits=Limits(request_time=0.2)) as server, server.connect() as connection:
        connection.sendall(request_bytes)
        answer = until_closed(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 403 ")


def test_a_drip_does_not_buy_time() -> None:
    """Each byte would start a timer of inactivity anew; ours is for the whole request."""
    with running(limits=Limits(request_time=0.3)) as server, server.connect() as connection:
        connection.settimeout(0.02)
        cut = False
        for _ in range(500):
            try:
                connection.sendall(b"G")
                cut = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                cut = True
            if cut:
                break
    assert cut


def test_an_idle_connection_is_closed() -> None:
    with running(limits=Limits(idle_time=0)) as server, server.connect() as connection:
        connection.sendall(GET)
        assert until_closed(connection).startswith(b"HTTP/1.1 200 ")


def test_a_connection_is_kept_between_scrapes() -> None:
    with running() as server, server.connect() as connection:
        for _ in range(3):
            connection.sendall(b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


BIG = {
    "a long URL": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414 "),
    "a long header": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 17000 + b"\r\n\r\n", b"431 "),
    "a header without end": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 70000, b"413 "),
    "a header name without end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 70000, b"413 "),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", b"431 "),
    "10,000 headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", b"431 "),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400 "),
    "an unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", b"400 "),
    "a line break in the path": (b"GET /a\nb HTTP/1.1\r\nHost: a\r\n\r\n", b"400 "),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400 "),
    "HTTP/0.9": (b"GET /metrics\r\n\r\n", b"400 "),
    "HTTP/0.9 with a host": (b"GET /metrics\r\nHost: a\r\n\r\n", b"400 "),
    "no host": (b"GET /metrics HTTP/1.1\r\n\r\n", b"400 "),
    "two hosts": (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400 "),
    "a host that is none": (b"GET /metrics HTTP/1.1\r\nHost: a/b\r\n\r\n", b"400 "),
    "length and chunks": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400 "),
}


@pytest.mark.parametrize(("request_bytes", "status"), BIG.values(), ids=BIG)
def test_a_request_out_of_bounds_is_refused(request_bytes: bytes, status: bytes) -> None:
    with running() as server:
        answer = server.tell(request_bytes)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer


def test_http_1_0_needs_no_host() -> None:
    with running() as server:
        assert server.tell(b"GET /-/healthy HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_an_endless_body_is_cut() -> None:
    with running(limits=Limits(request_time=60)) as server, server.connect() as connection:
        connection.sendall(b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(b"x" * 512 * 1024 * 1024)


def test_nonsense_after_a_request_does_not_get_into_its_response() -> None:
    board = HeldBoard()
    with running(site(board=board)) as server, server.connect() as connection:
        connection.sendall(GET)
        assert board.asked.acquire(timeout=10)
        connection.sendall(b"\x00\x01 nonsense \r\n\r\n")
        assert until_closed(connection) == b""


def test_too_many_connections_are_closed_at_once() -> None:
    with running(limits=Limits(connections=3)) as server:
        held = [server.connect() for _ in range(3)]
        for connection in held:
            connection.sendall(b"HEAD /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert server.tell(b"") == b""
        held.pop().close()
        assert server.wait_for_connections(2)
        assert server.tell(LAST_GET).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()


def test_stopping_finishes_what_is_under_way() -> None:
    board = HeldBoard()
    with running(site(board=board)) as server, server.connect() as idle, server.connect() as busy:
        idle.sendall(b"HEAD /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(4096)
        busy.sendall(GET)
        assert board.asked.acquire(timeout=10)
        server.loop.call_soon_threadsafe(server.stop.set)
        assert until_closed(idle) == b""
        server.loop.call_soon_threadsafe(board.released.set)
        assert until_closed(busy).endswith(b"\r\n\r\ncoc_up 1\n")


def test_stopping_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    with running(site(board=HeldBoard()), limits=Limits(drain_time=0.1)) as server, server.connect() as busy:
        busy.sendall(GET)
        assert server.wait_for_connections(1)
        server.end()
        assert until_closed(busy) == b""
    assert "Cut connections that did not end" in caplog.text
