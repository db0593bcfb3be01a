"""What all kinds of sign-in share: their outward face, and the careful handling of secrets and answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Never

import httpx

from exporter.auth.refusals import refusal, server_words
from exporter.errors import Forbidden, Malformed, SecretUnreadable, Unauthorized

Clock = Callable[[], float]
"""Unix seconds."""

Secret = Callable[[], str]
"""Read at each use, so that a rotated file is noticed; may raise SecretUnreadable."""

Send = Callable[[str, httpx.Request], Awaitable[httpx.Response]]
"""Send the named operation's request as it is, follow no redirect, and return the answer, its body read."""

UNAUTHORIZED = 401

_MAX_AHEAD_SECONDS = 31 * 86400.0


class AccountAuth(httpx.Auth):
    """The sign-in of one account; asynchronous only."""

    requires_request_body = True
    requires_response_body = True

    @property
    def expires_at(self) -> float | None:
        """When the present token or temporary key ends, in Unix seconds; None when that is unknown."""
        return None

    @property
    def paused_until(self) -> float | None:
        """When the next attempt is made after refusals, in Unix seconds; None when nothing is held back."""
        return None

    def restore_pause(self, until: float) -> None:
        """Hold back until then, as an earlier process had decided."""

    def sync_auth_flow(self, request: httpx.Request) -> Never:
        """Refuse: a synchronous client would send the request without credentials."""
        message = f"{type(self).__name__} signs in for asynchronous clients only, not for {request.method}"
        raise RuntimeError(message)


async def refused(response: httpx.Response) -> Unauthorized | Forbidden:
    """Read why the API answered 401; that no body is too large is the transport's care."""
    return refusal(response.status_code, *server_words(await response.aread()))


def header_value(secret: str, what: str) -> str:
    """
    Return the secret as a header can carry it.

    Checked here because the HTTP library's own complaint would quote the secret.
    """
    value = secret.strip()
    if not value:
        raise SecretUnreadable(f"{what} is empty; write it into its file or variable")
    if not (value.isascii() and value.isprintable()):
        raise SecretUnreadable(f"{what} holds line breaks or characters that are not ASCII; write it anew")
    return value


def fingerprint(*secrets: str) -> bytes:
    """Return what tells whether secrets changed, without keeping them."""
    lengths = ",".join(str(len(secret)) for secret in secrets)
    text = "\0".join((lengths, *secrets))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def json_object(body: bytes) -> dict[str, object]:
    """Return the JSON object of a body, empty when it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def expiry(text: object, now: float, what: str) -> float:
    """Return the Unix seconds of a time like ``2020-01-04T09:05:22.701000Z``, with or without fraction."""
    moment = _unix_seconds(text)
    if moment is None:
        raise Malformed(f"{what} came without a readable time of expiry; check that the endpoint is the right one")
    if moment <= now:
        raise Malformed(f"{what} had expired when it arrived; check this host's clock (NTP)")
    if moment > now + _MAX_AHEAD_SECONDS:
        raise Malformed(f"{what} claims to be valid for more than 31 days; check this host's clock (NTP)")
    return moment


def _unix_seconds(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def retry_after(response: httpx.Response) -> float | None:
    """Return the delay in seconds that the server asks for, if it states a plain number."""
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None  # noqa: PLR2004 - a sane number
