"""
HTTP/1.1 by uvicorn and httptools, with a bound on everything that a client can stretch.

httptools itself bounds nothing: sizes, numbers and times are checked here, as the bytes come in and before anything
is made of them. A connection that exceeds a time is cut, whatever is left in its buffers.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from uvicorn import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    Admits = Callable[[Mapping[str, object] | None], bool]

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")
_VERSIONS = ("1.0", "1.1")


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds; a request is taken as a whole within ``request_time``."""

    connections: int = 512
    url: int = 8 * 1024
    headers: int = 100
    header_bytes: int = 16 * 1024
    request_bytes: int = 64 * 1024
    pipelined: int = 16
    request_time: float = 10.0
    response_time: float = 60.0
    idle_time: int = 75
    handshake_time: float = 10.0
    drain_time: float = 10.0


class _Refused(Exception):
    """A request exceeds a limit; the parser stops at any exception."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection; ``admits`` judges its client certificate."""

    def __init__(self, config: Config, state: ServerState, limits: Limits, admits: Admits) -> None:
        super().__init__(config, state, {})
        self._limits = limits
        self._admits = admits
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._received = 0
        self._header_bytes = 0
        self._header_count = 0
        self._headers_ended = False
        self._fault = HTTPStatus.BAD_REQUEST
        self._unanswered: deque[RequestResponseCycle] = deque()
        self.closed: asyncio.Future[None] = self.loop.create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Take a connection, unless there are too many or its certificate bears no allowed name."""
        self.transport = transport
        full = len(self.connections) >= self._limits.connections
        if full or not self._admits(transport.get_extra_info("peercert")):
            transport.abort()
            return
        super().connection_made(transport)
        self._begin("request", self._limits.request_time)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers; nothing more is written for any of its requests."""
        for name in tuple(self._timers):
            self._end(name)
        # uvicorn tells the last request alone.
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take bytes, at most so many a request."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        super().data_received(data)
        if self._received > self._limits.request_bytes and not self.transport.is_closing():
            self._fault = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin to measure a request."""
        super().on_message_begin()
        self._header_bytes = self._header_count = 0
        self._headers_ended = False
        self._begin("request", self._limits.request_time)

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        super().on_url(url)
        if len(self.url) > self._limits.url:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is bounded likewise, and dropped."""
        self._header_bytes += len(name) + len(value)
        self._header_count += 1
        if self._header_bytes > self._limits.header_bytes or self._header_count > self._limits.headers:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        # Else what stands behind the body could sign in, or name another host, for what stands before it.
        if not self._headers_ended:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the request is one that a proxy before us may have read in another way."""
        self._headers_ended = True
        if self.parser.get_http_version() not in _VERSIONS or not self._names_one_host():
            self._refuse(HTTPStatus.BAD_REQUEST)
        if len(self._unanswered) >= self._limits.pipelined:
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS)
        self.server_state.default_headers = [(b"date", _date(int(time.time())))]
        self._begin("response", self._limits.response_time)
        super().on_headers_complete()
        self._unanswered.append(self.cycle)

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._received = 0
        self._end("request")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that the response is handed to the transport."""
        self._unanswered.popleft()
        # What a closing transport still holds must be taken within the time as well.
        if not self.transport.is_closing():
            self._end("response")
            if self._unanswered:
                self._begin("response", self._limits.response_time)
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Cut an idle connection, with what a stuck reader left in its buffer."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request; within a response nothing sensible can be said any more."""
        if self._unanswered:
            self.transport.abort()
            return
        self.transport.write(_refusal(self._fault, msg))
        self.transport.close()

    def _names_one_host(self) -> bool:
        hosts = [value for name, value in self.headers if name == b"host"]
        if not hosts:
            return self.parser.get_http_version() == "1.0"
        return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None

    def _refuse(self, status: HTTPStatus) -> None:
        self._fault = status
        raise _Refused

    def _begin(self, name: str, seconds: float) -> None:
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, self.transport.abort)

    def _end(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def _refusal(status: HTTPStatus, reason: str) -> bytes:
    body = f"{reason or status.phrase}\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\n"
        "x-content-type-options: nosniff\r\n"
        "connection: close\r\n\r\n"
    )
    return (head + body).encode("ascii")
