"""One exchange over the wire: bounded, measured, counted, and every foreign exception translated."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import tracemalloc
import zlib
from email.utils import formatdate

import httpx
import pytest
from conftest import run

from exporter.api import transport
from exporter.api.dates import unix_seconds
from exporter.api.foreign import mapped, translated
from exporter.errors import ApiError, BodyTooLarge, ConnectFailed, ProtocolBroken, TimedOut, TlsFailed

URL = "https://coc.example/v1/job/script/orders"


class Inner(httpx.AsyncBaseTransport):
    """Answer with these chunks; ``closed`` tells that the response was let go."""

    def __init__(self, *chunks, status=200, headers=(), failure=None):
        self._chunks, self._status, self._headers, self._failure = chunks, status, headers, failure
        self.closed = False
        self.yielded = 0

    async def handle_async_request(self, _request):
        if self._failure is not None:
            raise self._failure
        return httpx.Response(self._status, headers=self._headers, stream=self._stream())

    def _stream(self):
        inner = self

        class Stream(httpx.AsyncByteStream):
            async def __aiter__(self):
                for chunk in inner._chunks:
                    inner.yielded += len(chunk)
                    yield chunk

            async def aclose(self):
                inner.closed = True

        return Stream()


def exchanged(inner, telemetry, clock, *, operation="statistics", timeout=5):
    metered = transport.MeteredTransport(inner, account="prod", timeout=timeout, telemetry=telemetry, clock=clock)
    request = httpx.Request("GET", URL, extensions={"operation": operation})
    return run(metered.handle_async_request(request))


@pytest.fixture
def exchange(telemetry, clock):
    return lambda inner, **fields: exchanged(inner, telemetry, clock, **fields)


def counted(telemetry, code, operation="statistics"):
    labels = {"account": "prod", "operation": operation, "code": code}
    return telemetry.registry.get_sample_value("coc_exporter_api_requests_total", labels)


def offset(telemetry):
    return telemetry.registry.get_sample_value("coc_exporter_api_clock_offset_seconds", {"account": "prod"})


def endless(chunk):
    while True:
        yield chunk


def lazy(chunks):
    """Answer with chunks that nobody holds before they are sent."""
    inner = Inner()
    inner._chunks = chunks
    return inner


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress), (None, bytes)]
)
def test_a_body_is_unpacked_whatever_its_chunks(exchange, encoding, pack):
    packed = pack(b"hello " * 100_000)
    headers = {} if encoding is None else {"content-encoding": encoding}
    inner = Inner(*(packed[place : place + 7] for place in range(0, len(packed), 7)), headers=headers)
    assert exchange(inner).content == b"hello " * 100_000
    assert inner.closed


def test_an_empty_body_may_claim_to_be_packed(exchange):
    assert exchange(Inner(headers={"content-encoding": "gzip"})).content == b""


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_an_encoding_that_was_not_asked_for_is_refused(exchange, encoding):
    with pytest.raises(ProtocolBroken, match="encoding"):
        exchange(Inner(b"x", headers={"content-encoding": encoding}))


def test_a_gzip_bomb_is_refused_and_never_held_twice(exchange, monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY", 4 * 1024 * 1024)
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    bomb = packer.compress(bytes(64 * 1024 * 1024)) + packer.flush()
    inner = Inner(
        *(bomb[place : place + 65536] for place in range(0, len(bomb), 65536)), headers={"content-encoding": "gzip"}
    )
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            exchange(inner)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * 1024 * 1024
    assert inner.closed


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "gzip"}], ids=["plain", "stored in gzip"])
def test_an_endless_body_is_refused(exchange, monkeypatch, headers):
    monkeypatch.setattr(transport, "MAX_BODY", 1024 * 1024)
    chunk = b"x" * 65536
    if headers:
        # Blocks that hold nothing: they never add up to anything.
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        begin = packer.compress(b"") + packer.flush(zlib.Z_SYNC_FLUSH)
        chunk = b"\x00\x00\x00\xff\xff" * 10000
        inner = Inner(headers=headers)
        inner._chunks = (piece for part in ([begin], endless(chunk)) for piece in part)
    else:
        inner = Inner(headers=headers)
        inner._chunks = endless(chunk)
    with pytest.raises(BodyTooLarge):
        exchange(inner)
    assert inner.yielded < 2 * 1024 * 1024
    assert inner.closed


def test_an_answer_that_was_given_up_is_not_held_by_its_error(exchange, monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY", 4 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge) as caught:
            exchange(lazy(bytes(65536 + number) for number in range(100)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.tb
    assert held < 1024 * 1024


@pytest.mark.parametrize(
    "chunks",
    [
        (b"no gzip at all",),
        (gzip.compress(b"x" * 10000)[:-9],),
        (gzip.compress(b"x" * 10000)[:20], b"\x00" * 50),
        (gzip.compress(b"x"), gzip.compress(b"y")),
        (gzip.compress(b"x"), b"\x00" * 10),
    ],
    ids=["not gzip", "breaks off", "garbage", "two in a row", "something after the end"],
)
def test_broken_gzip_is_a_broken_answer(exchange, chunks):
    with pytest.raises(ProtocolBroken):
        exchange(Inner(*chunks, headers={"content-encoding": "gzip"}))


def test_too_many_headers_are_refused(exchange):
    inner = Inner(b"{}", headers=[(f"x-{number}", "y") for number in range(201)])
    with pytest.raises(ProtocolBroken, match="headers"):
        exchange(inner)
    assert inner.closed


def test_only_the_headers_that_somebody_reads_are_kept(exchange):
    answer = exchange(
        Inner(b"{}", headers={"set-cookie": "a=b", "x-request-id": "7", "retry-after": "3", "location": "/"})
    )
    assert set(answer.headers) - {"content-length"} == {"x-request-id", "retry-after"}


def test_each_exchange_is_counted_and_measured_by_operation_and_status(exchange, telemetry):
    exchange(Inner(b"{}", status=429))
    exchange(Inner(b"{}", status=429))
    with pytest.raises(ConnectFailed):
        exchange(Inner(failure=httpx.ConnectError("refused")))
    assert counted(telemetry, "429") == 2
    assert counted(telemetry, "error") == 1
    labels = {"account": "prod", "operation": "statistics"}
    assert telemetry.registry.get_sample_value("coc_exporter_api_request_duration_seconds_count", labels) == 3


def test_a_cancelled_exchange_is_counted_and_let_go(telemetry, clock):
    inner = Inner()

    async def hang():
        yield b"{"
        await asyncio.Event().wait()

    class Stream(httpx.AsyncByteStream):
        def __aiter__(self):
            return hang()

        async def aclose(self):
            inner.closed = True

    inner._stream = Stream

    async def main():
        metered = transport.MeteredTransport(inner, account="prod", timeout=5, telemetry=telemetry, clock=clock)
        request = httpx.Request("GET", URL, extensions={"operation": "statistics"})
        task = asyncio.create_task(metered.handle_async_request(request))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert inner.closed
    assert counted(telemetry, "error") == 1


def test_a_server_that_never_ends_is_given_up_in_time(exchange):
    async def drip():
        yield b" "
        await asyncio.Event().wait()

    class Stream(httpx.AsyncByteStream):
        def __aiter__(self):
            return drip()

    inner = Inner()
    inner._stream = Stream
    with pytest.raises(TimedOut):
        exchange(inner, timeout=0.05)


def test_the_offset_of_the_apis_clock_is_shown(exchange, telemetry, clock):
    exchange(Inner(b"{}", headers={"date": formatdate(clock.time() - 65, usegmt=True)}))
    assert offset(telemetry) == -65


@pytest.mark.parametrize("date", ["", "soon", "Mon, 32 Jan 2026 00:00:00 GMT", "\x01", "99999999999999"])
def test_a_date_that_is_none_is_ignored(exchange, telemetry, date):
    assert exchange(Inner(b"{}", headers={"date": date})).status_code == 200
    assert offset(telemetry) is None


def test_the_metadata_services_clock_is_not_the_apis(exchange, telemetry, clock):
    headers = {"date": formatdate(clock.time() - 65, usegmt=True)}
    exchange(Inner(b"{}", headers=headers), operation="metadata_token")
    assert offset(telemetry) is None


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000"])
def test_a_date_is_of_greenwich_wherever_we_are(zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    assert unix_seconds(f"Tue, 14 Nov 2023 22:13:20 {zone}") == 1_700_000_000


# Foreign exceptions.


def kinds(*roots):
    for kind in roots:
        yield kind
        yield from kinds(*kind.__subclasses__())


FOREIGN = sorted(
    set(kinds(httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)),
    key=lambda kind: kind.__name__,
)


def made(kind):
    """Return an exception of this kind, whatever its constructor asks for."""
    error = kind.__new__(kind)
    error.args = (f"Illegal header value b'{CANARY}'",)
    return error


CANARY = "canary-token-77"


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_every_exception_of_httpx_becomes_one_of_ours(kind):
    with pytest.raises(ApiError) as raised, mapped("coc.example"):
        raise made(kind)
    assert isinstance(raised.value.__cause__, kind)
    assert "coc.example" in str(raised.value)
    assert CANARY not in str(raised.value)


def test_every_name_that_httpx_exports_as_an_exception_is_in_the_walk():
    exported = {value for value in vars(httpx).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert exported <= set(FOREIGN)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectTimeout("x"), TimedOut),
        (httpx.PoolTimeout("x"), TimedOut),
        (TimeoutError(), TimedOut),
        (httpx.ConnectError("x"), ConnectFailed),
        (httpx.ProxyError("x"), ConnectFailed),
        (ConnectionResetError(), ConnectFailed),
        (UnicodeError("label too long"), ConnectFailed),
        (httpx.RemoteProtocolError("x"), ProtocolBroken),
        (httpx.ReadError("x"), ProtocolBroken),
    ],
    ids=repr,
)
def test_a_foreign_exception_has_its_reason(error, kind):
    assert type(translated(error, "h")) is kind


def test_a_certificate_that_cannot_be_verified_is_no_ordinary_failure_to_connect():
    inner = ssl.SSLCertVerificationError("certificate verify failed")
    middle = OSError("x")
    middle.__context__ = inner
    outer = httpx.ConnectError("x")
    outer.__cause__ = middle
    assert type(translated(outer, "h")) is TlsFailed


def test_an_error_of_ours_and_a_bug_pass_as_they_are():
    for error in (BodyTooLarge("x"), KeyError("x")):
        with pytest.raises(type(error)) as raised, mapped("h"):
            raise error
        assert raised.value is error
