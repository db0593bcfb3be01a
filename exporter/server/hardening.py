"""Response headers that keep a browser from doing with our pages what they are not for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = {"X-Content-Type-Options": "nosniff"}
_OF_HTML = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Hardened:
    """Add the headers that a response lacks; one that a page sets itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the response back with its headers."""

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                _harden(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, hardened)


def _harden(headers: MutableHeaders) -> None:
    html = headers.get("content-type", "").startswith("text/html")
    for name, value in (_ALWAYS | _OF_HTML if html else _ALWAYS).items():
        headers.setdefault(name, value)
