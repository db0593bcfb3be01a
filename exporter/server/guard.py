"""What stands before every path: rate limit, response headers and basic auth of the web config."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from exporter.server.basic_auth import Passwords
from exporter.server.rate_limit import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from exporter.server.web_config import WebConfigFile

    Headers = tuple[tuple[bytes, bytes], ...]

_HARDENED = {"X-Content-Type-Options": "nosniff"}


class Guard:
    """Let pass to ``app`` what the web config, as it stands at that moment, lets pass."""

    def __init__(self, app: ASGIApp, web: WebConfigFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._web = web
        self._clock = clock
        self._bucket = TokenBucket()
        self._passwords = Passwords()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 429 or 401, or pass the request on."""
        config = self._web.fresh()
        app: ASGIApp = self._app
        if not self._bucket.allows(config.rate, self._clock()):
            app = PlainTextResponse("Too Many Requests\n", 429, _HARDENED)
        elif config.users and not await self._passwords.accept(config.users, _authorization(scope)):
            app = PlainTextResponse("Unauthorized\n", 401, {"WWW-Authenticate": "Basic", **_HARDENED})
        await app(scope, receive, _with_headers(send, config.headers) if config.headers else send)


def _authorization(scope: Scope) -> bytes:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0] if len(values) == 1 else b""


def _with_headers(send: Send, headers: Headers) -> Send:
    """Return a ``send`` that sets the operator's headers, also in place of our own."""
    ours = {name.lower() for name, _ in headers}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message["headers"] if pair[0].lower() not in ours]
            message = {**message, "headers": [*kept, *headers]}
        await send(message)

    return sending
