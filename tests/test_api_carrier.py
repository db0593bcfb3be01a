"""What carries a request below httpx's client, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
from contextlib import asynccontextmanager

import aiohttp
import httpx
import pytest
from aiohttp import http_exceptions
from conftest import run

from exporter.api import carrier
from exporter.api.carrier import AiohttpTransport
from exporter.api.transport import MAX_HEADERS, MeteredTransport
from exporter.errors import ConnectFailed

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Served:
    """A server that answers each request with the next of these octets; ``asked`` are the requests' heads."""

    def __init__(self, *answers):
        self._answers = iter(answers)
        self.asked = []
        self.connections = 0

    async def __call__(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(head)
                writer.write(next(self._answers))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, StopIteration):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def at(served, **options):
    """Yield a client of the server, and its address."""
    inner = AiohttpTransport(ssl.create_default_context(), connections=2, **options)
    async with await asyncio.start_server(served, "127.0.0.1", 0) as server, httpx.AsyncClient(transport=inner) as http:
        yield http, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_target_goes_over_the_wire_octet_for_octet_as_it_was_signed():
    served = Served(OK)
    target = "/v1/a%2Fb/%E8%BF%90?name=a%2Bb%20c%27%28~&empty="

    async def main():
        async with at(served) as (http, url):
            await http.get(f"{url}{target}")

    run(main())
    assert served.asked[0].startswith(b"GET " + target.encode() + b" HTTP/1.1\r\n")


def test_headers_are_those_of_the_request_and_no_others():
    served = Served(OK)

    async def main():
        async with at(served) as (http, url):
            request = httpx.Request("GET", url, headers={"X-Auth-Token": "t", "Accept-Encoding": "gzip"})
            await http.send(request)

    run(main())
    names = {line.partition(b":")[0].lower() for line in served.asked[0].split(b"\r\n")[1:] if line}
    # What aiohttp adds says nothing of the account.
    assert names - {b"accept", b"user-agent"} == {b"host", b"x-auth-token", b"accept-encoding"}


def test_a_body_is_sent_with_its_length():
    served = Served(OK)

    async def main():
        async with at(served) as (http, url):
            await http.post(url, content=b'{"auth":1}')

    run(main())
    assert b"content-length: 10\r\n" in served.asked[0].lower()


def test_one_connection_serves_request_after_request():
    served = Served(OK, OK, OK)

    async def main():
        async with at(served) as (http, url):
            for _ in range(3):
                assert (await http.get(url)).content == b"{}"

    run(main())
    assert served.connections == 1


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced():
    closing = OK.replace(b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n", 1)
    gone = asyncio.Event

    async def main():
        closed = gone()

        async def once(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(closing)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            closed.set()

        async with at(once) as (http, url):
            await http.get(url)
            await closed.wait()
            assert (await http.get(url)).content == b"{}"

    run(main())


def test_a_redirect_is_an_answer_like_any_other():
    served = Served(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")

    async def main():
        async with at(served) as (http, url):
            answer = await http.get(url)
            assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:1/")

    run(main())


def test_a_cookie_is_not_kept():
    served = Served(OK.replace(b"content-length", b"set-cookie: a=b; path=/\r\ncontent-length"), OK)

    async def main():
        inner = AiohttpTransport(ssl.create_default_context(), connections=2)
        async with await asyncio.start_server(served, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            for _ in range(2):
                answer = await inner.handle_async_request(httpx.Request("GET", url))
                await answer.aread()
            await inner.aclose()

    run(main())
    assert b"cookie" not in served.asked[1].lower()


def test_a_compressed_body_is_left_to_whoever_bounds_it():
    served = Served(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope")

    async def main():
        inner = AiohttpTransport(ssl.create_default_context(), connections=2)
        async with await asyncio.start_server(served, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            answer = await inner.handle_async_request(httpx.Request("GET", url))
            assert b"".join([chunk async for chunk in answer.stream]) == b"nope"
            await inner.aclose()

    run(main())


def test_more_headers_than_the_bound_are_refused():
    many = b"".join(b"x-%d: 1\r\n" % number for number in range(MAX_HEADERS + 1))
    served = Served(b"HTTP/1.1 200 OK\r\n" + many + b"content-length: 0\r\n\r\n")

    async def main():
        async with at(served) as (http, url):
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(url)

    run(main())


def test_a_secret_with_a_line_break_is_not_sent_and_not_told():
    served = Served(OK)

    async def main():
        async with at(served) as (http, url):
            with pytest.raises(httpx.LocalProtocolError) as raised:
                await http.get(url, headers={"X-Auth-Token": "canary\r\nX-Evil: 1"})
            assert "canary" not in str(raised.value)

    run(main())
    assert served.asked == []


def test_a_handshake_that_is_cut_off_leaves_no_connection_open():
    async def main():
        greeted, gone = asyncio.Event(), asyncio.Event()

        async def silent(reader, writer):
            while await reader.read(4096):
                greeted.set()
            gone.set()
            writer.close()

        inner = AiohttpTransport(ssl.create_default_context(), connections=1)
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            asking = asyncio.ensure_future(inner.handle_async_request(httpx.Request("GET", url)))
            await greeted.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(gone.wait(), 30)
            await inner.aclose()

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_a_chunk_that_is_none_ends_the_answer_at_once():
    async def main():
        received = asyncio.Event()

        async def broken(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            await received.wait()
            writer.write(b"many\r\n")
            writer.close()

        async with at(broken) as (http, url), http.stream("GET", url) as answer:
            received.set()
            with pytest.raises(httpx.ReadError):
                await asyncio.wait_for(answer.aread(), 20)

    run(main())


def test_an_idle_connection_that_is_reset_is_no_matter_for_the_log(caplog):
    async def main():
        received, answered, lost = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def fickle(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK[:-2])
            await received.wait()
            writer.write(OK[-2:])
            await answered.wait()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()

        async with at(fickle) as (http, url):
            async with http.stream("GET", url) as answer:
                received.set()
                await answer.aread()
            (protocol,) = (each for row in http._transport._session.connector._conns.values() for each, _ in row)
            protocol.closed.add_done_callback(lambda _closed: lost.set())
            del protocol
            answered.set()
            await lost.wait()
            # The one that was lost is forgotten with the next request.
            await http.get(url)
            gc.collect()

    run(main())
    assert not caplog.records


def test_a_host_that_is_none_cannot_be_reached(telemetry, clock):
    async def main():
        inner = AiohttpTransport(ssl.create_default_context(), connections=1)
        metered = MeteredTransport(inner, account="prod", timeout=5, telemetry=telemetry, clock=clock)
        async with httpx.AsyncClient(transport=metered, base_url=f"http://{'a' * 70}.example") as http:
            await http.get("/", extensions={"operation": "statistics"})

    with pytest.raises(ConnectFailed):
        run(main())


def kinds(*roots):
    for kind in roots:
        yield kind
        yield from kinds(*kind.__subclasses__())


@pytest.mark.parametrize(
    "kind",
    sorted({*kinds(aiohttp.ClientError, http_exceptions.HttpProcessingError)}, key=lambda kind: kind.__name__),
    ids=lambda kind: kind.__name__,
)
def test_every_exception_of_aiohttp_becomes_one_of_httpx(kind):
    error = kind.__new__(kind)
    error.args = ("canary",)
    with pytest.raises(httpx.TransportError) as raised, carrier._translated():
        raise error
    assert raised.value.__cause__ is error
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (aiohttp.ClientConnectorDNSError, httpx.ConnectError),
        (aiohttp.ClientConnectorCertificateError, httpx.ConnectError),
        (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
        (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
        (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
        (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
        (aiohttp.ClientConnectionResetError, httpx.ReadError),
        (aiohttp.ClientOSError, httpx.ReadError),
        (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_special_goes_before_the_general(kind, expected):
    error = kind.__new__(kind)
    with pytest.raises(expected), carrier._translated():
        raise error
