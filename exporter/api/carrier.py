"""
What carries a request below httpx's client: aiohttp, at a third of the CPU of httpx's own transport.

aiohttp is loaded with the first request, so that the exporter listens before it pays for that. Its exceptions become
those that httpx documents for a transport.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import httpx

from exporter.api.transport import MAX_HEADERS

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import AsyncIterator, Iterator

    import aiohttp


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Send requests over at most ``connections`` at once, through ``proxy`` if one is given; follow no redirect."""

    def __init__(self, tls: ssl.SSLContext, *, proxy: str | None = None, connections: int) -> None:
        self.tls = tls
        self.proxy = proxy
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer, its body still to be read as it comes; raise an httpx.TransportError."""
        from yarl import URL  # noqa: PLC0415  with the first request

        session = self._session = self._session or self._opened()
        with _translated():
            answer = await session.request(
                request.method,
                # As it was signed, octet for octet.
                URL(str(request.url), encoded=True),
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=request.content or None,
                allow_redirects=False,
                proxy=self.proxy,
                timeout=self._time(request.extensions.get("timeout", {}).get("connect")),
            )
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer))

    @staticmethod
    @cache
    def _time(to_connect: float | None) -> aiohttp.ClientTimeout:
        from aiohttp import ClientTimeout  # noqa: PLC0415  with the first request

        return ClientTimeout(sock_connect=to_connect)

    def _opened(self) -> aiohttp.ClientSession:
        from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415  with the first request

        return ClientSession(
            connector=TCPConnector(ssl=self.tls, limit=self._connections),
            cookie_jar=DummyCookieJar(),
            # Unpacked by aiohttp, a body has no bound.
            auto_decompress=False,
            max_headers=MAX_HEADERS,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        protocol = None if answer.connection is None else answer.connection.protocol
        self._lost = None if protocol is None else protocol.closed
        if self._lost is not None:
            # Once for each connection, however many answers it carries.
            self._lost.remove_done_callback(_look_at)
            self._lost.add_done_callback(_look_at)
            self._lost.add_done_callback(self._cut_off)

    def _cut_off(self, _lost: asyncio.Future[None]) -> None:
        # aiohttp closes the connection for a chunk that is none, and lets whoever reads the body wait for ever.
        content = self._answer.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(httpx.ReadError("The connection was lost before the body's end."))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        if self._lost is not None:
            self._lost.remove_done_callback(self._cut_off)
        # A connection that was read to its end is in the pool again; any other is cut.
        self._answer.close()


def _look_at(lost: asyncio.Future[None]) -> None:
    # An exception that nobody looks at is complained of in the log.
    if not lost.cancelled():
        lost.exception()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        for theirs, ours in _kinds():
            if isinstance(error, theirs):
                raise ours(type(error).__name__) from error
        raise


@cache
def _kinds() -> tuple[tuple[type[Exception], type[httpx.TransportError]], ...]:
    """Return aiohttp's exceptions, the special before the general, each with httpx's for the same."""
    import aiohttp  # noqa: PLC0415  with the first request
    from aiohttp.http_exceptions import HttpProcessingError  # noqa: PLC0415  likewise

    return (
        (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
        (aiohttp.ClientHttpProxyError, httpx.ProxyError),
        (aiohttp.ClientConnectorError, httpx.ConnectError),
        (aiohttp.InvalidURL, httpx.ConnectError),
        (aiohttp.ServerFingerprintMismatch, httpx.ConnectError),
        (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
        (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
        (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
        (aiohttp.ClientConnectionError, httpx.ReadError),
        (aiohttp.ClientPayloadError, httpx.ReadError),
        (aiohttp.ClientError, httpx.RemoteProtocolError),
        (HttpProcessingError, httpx.RemoteProtocolError),
        (UnicodeError, httpx.ConnectError),
        # A header that cannot be sent: a secret with a line break, say. Its text must not get any further.
        (ValueError, httpx.LocalProtocolError),
    )
