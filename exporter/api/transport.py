"""
One exchange over the wire: bounded in bytes and time, measured, counted, its failures translated.

It stands below httpx's client, so that a request that an ``httpx.Auth`` sends on its own is counted as well.
"""

from __future__ import annotations

import asyncio
import zlib
from functools import cache, partial
from typing import TYPE_CHECKING, cast

import httpx

from exporter.api.dates import unix_seconds
from exporter.api.foreign import mapped
from exporter.errors import BodyTooLarge, ProtocolBroken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.clock import Clock
    from exporter.telemetry import Telemetry

MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer, packed or not: 50 logs of 1 MB, and room."""

MAX_HEADERS = 200

_STEP = 32 * 1024

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_OWN_CLOCK = frozenset({"metadata_token", "metadata_key"})
_KEPT_HEADERS = frozenset({b"content-type", b"date", b"retry-after", b"x-request-id", b"x-subject-token"})


class MeteredTransport(httpx.AsyncBaseTransport):
    """
    Send a request through ``inner``; return the whole answer, decoded.

    The operation to count under is the request's extension ``operation``; ``timeout`` seconds bound the whole
    exchange, from the first byte sent to the last received; ``way`` tells in messages how the host is reached.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        account: str,
        way: str = "",
        timeout: float,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._inner = inner
        self._way = way
        self._timeout = timeout
        self._clock = clock
        # Looked up once: labels() takes as long as decoding some instances.
        self._requests = cache(partial(telemetry.api_requests.labels, account))
        self._durations = cache(partial(telemetry.api_request_duration.labels, account))
        self._offset = partial(telemetry.api_clock_offset.labels, account)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer; raise an ApiError."""
        operation = request.extensions["operation"]
        started = self._clock.monotonic()
        code = "error"
        try:
            with mapped(f"{request.url.host}{self._way}"):
                async with asyncio.timeout(self._timeout):
                    answer = await self._exchange(request)
            code = str(answer.status_code)
        finally:
            self._requests(operation, code).inc()
            self._durations(operation).observe(self._clock.monotonic() - started)
        if operation not in _OWN_CLOCK:
            self._note_clock(answer)
        return answer

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        try:
            if len(response.headers) > MAX_HEADERS:
                raise ProtocolBroken(f"{request.url.host} sent more than {MAX_HEADERS} headers.")
            content = await _whole_body(response, request.url.host)
        finally:
            await response.aclose()
        headers = [(name, value) for name, value in response.headers.raw if name.lower() in _KEPT_HEADERS]
        return _Answer(response.status_code, headers, content)

    def _note_clock(self, response: httpx.Response) -> None:
        theirs = unix_seconds(response.headers.get("date", ""))
        if theirs is not None:
            self._offset().set(theirs - self._clock.time())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Answer(httpx.Response):
    """An answer whose body is here; httpx would lead it through its decoders twice."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._body = body
        super().__init__(status, headers=headers, stream=self.stream)

    @property
    def stream(self) -> httpx.ByteStream:
        """The body, as a stream."""
        return httpx.ByteStream(self._body)

    @stream.setter
    def stream(self, stream: object) -> None:
        """Keep ours: httpx's would hold what holds it, and only the garbage collector would end that, in pauses."""

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body

    async def aread(self) -> bytes:
        """Return the body."""
        return self._body


async def _whole_body(response: httpx.Response, host: str) -> bytes:
    # httpx would decode without a bound: a megabyte of gzip can hold a gigabyte.
    unpack = _unpacking(response.headers.get("content-encoding", "identity").strip().lower(), host)
    parts: list[bytes] = []
    received = size = 0
    try:
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            received += len(chunk)
            for part in (chunk,) if unpack is None else _unpacked(unpack, chunk, host):
                size += len(part)
                if max(received, size) > MAX_BODY:
                    raise BodyTooLarge(f"{host} sent more than {MAX_BODY} bytes for one answer.")
                parts.append(part)
        if unpack is not None and received and not unpack.eof:
            raise ProtocolBroken(f"{host} sent a compressed answer that breaks off.")
        return b"".join(parts)
    finally:
        # An exception holds this frame for as long as somebody holds the exception.
        parts.clear()


def _unpacking(encoding: str, host: str) -> zlib._Decompress | None:
    if encoding not in ("identity", "gzip", "deflate"):
        raise ProtocolBroken(f"{host} answered in an encoding that was not asked for.")
    return None if encoding == "identity" else zlib.decompressobj(_GZIP_OR_ZLIB)


def _unpacked(unpack: zlib._Decompress, chunk: bytes, host: str) -> Iterator[bytes]:
    # What follows the end would be kept by zlib, however much it is.
    if unpack.eof:
        raise ProtocolBroken(f"{host} sent more than one compressed answer at once.")
    try:
        while chunk:
            # In steps of the block that zlib allocates: what it joins of several it holds twice.
            yield unpack.decompress(chunk, _STEP)
            chunk = unpack.unconsumed_tail
    except zlib.error as error:
        raise ProtocolBroken(f"{host} sent a compressed answer that cannot be decoded.") from error
