"""The telemetry path: the bytes of the last poll, in the form that the scraper asks for."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from exporter.exposition import Encoding, Variant
from exporter.exposition.packing import gzip, pack
from exporter.server.family_filter import only
from exporter.server.negotiation import content_type, negotiated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from exporter.exposition import Body
    from exporter.server.negotiation import Choice
    from exporter.server.site import Exposition

# All scrapers share one body; what is copied for a slow one is at most a piece of it.
_PIECE = 1024 * 1024


class Metrics:
    """Answer scrapes, at most ``limit`` at once; 0 means no limit."""

    def __init__(self, board: Exposition, limit: int) -> None:
        self._board = board
        self._limit = limit
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one scrape; it is under way until its last byte is taken."""
        if scope["method"] not in ("GET", "HEAD"):
            refusal = PlainTextResponse("Method Not Allowed", 405, {"Allow": "GET, HEAD"})
            return await refusal(scope, receive, send)
        if self._limit and self._under_way >= self._limit:
            text = f"Limit of concurrent requests reached ({self._limit}), try again later.\n"
            return await PlainTextResponse(text, 503)(scope, receive, send)
        with self._counted():
            await self._answer(scope, send)
        return None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _answer(self, scope: Scope, send: Send) -> None:
        headers = Headers(scope=scope)
        choice = negotiated(_joined(headers, "accept"), _joined(headers, "accept-encoding"))
        names = names_of(scope["query_string"])
        body = await (self._part(choice, names) if names else self._whole(choice))
        length = sum(map(len, body))
        await send({"type": "http.response.start", "status": 200, "headers": _headers(choice, length)})
        await _send_body(() if scope["method"] == "HEAD" else body, send)

    async def _whole(self, choice: Choice) -> Body:
        return await self._board.body(Variant(choice.format, choice.encoding))

    async def _part(self, choice: Choice, names: frozenset[bytes]) -> Body:
        whole = await self._board.body(Variant(choice.format, Encoding.IDENTITY))
        return await asyncio.to_thread(_part, whole, names, choice.encoding)


def names_of(query: bytes) -> frozenset[bytes]:
    """Return the values of ``name[]`` in a query string."""
    # As text: of bytes that are no UTF-8, parse_qsl makes an exception.
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return frozenset(value.encode("utf-8", "replace") for key, value in pairs if key == "name[]")


async def _send_body(body: Body, send: Send) -> None:
    pieces = [*_pieces(body)] or [memoryview(b"")]
    for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        if left:
            # A fast reader never makes us wait: the others have their turn, and we learn when the client is gone.
            await asyncio.sleep(0)


def _pieces(body: Body) -> Iterator[memoryview]:
    for part in body:
        view = memoryview(part)
        yield from (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))


def _part(body: Body, names: frozenset[bytes], encoding: Encoding) -> Body:
    part = only(b"".join(body), names)
    return (part if encoding is Encoding.IDENTITY else b"".join(gzip([pack(part)])),)


def _headers(choice: Choice, length: int) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", content_type(choice).encode()),
        (b"content-length", str(length).encode()),
        (b"vary", b"Accept, Accept-Encoding"),
    ]
    if choice.encoding is Encoding.GZIP:
        headers.append((b"content-encoding", b"gzip"))
    return headers


def _joined(headers: Headers, name: str) -> bytes:
    return ",".join(headers.getlist(name)).encode("latin-1")
