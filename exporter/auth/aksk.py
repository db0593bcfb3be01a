"""Sign-in by signature: the keys sign each request, nothing is sent ahead."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from exporter.auth.base import UNAUTHORIZED, AccountAuth, Clock, fingerprint, refused
from exporter.auth.guard import Guard
from exporter.auth.signing import Keys, Parts, canonical_query, sign, wire_path
from exporter.errors import Forbidden, KeyLocked, TokenRejected, Unauthorized

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx

    from exporter.auth.keys import KeySource

LOCK_SECONDS = 300.0
"""As long as the API locks a key, after more than five failures in a row."""

MAX_REFUSALS = 3

_SIGNED = ("host", "content-type", "x-project-id", "x-language")
_THROTTLED = 429
_SERVER_ERRORS = 500


class SigningAuth(AccountAuth):
    """
    Signs each request with the keys as they are then.

    Failed signatures lock the key for everyone who uses it. So a refused signature is not tried again, three
    in a row make a pause, and keys that were not accepted yet are tried by one request at a time.
    """

    def __init__(self, keys: KeySource, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._guard = Guard(clock, LOCK_SECONDS)
        self._probe = asyncio.Lock()

    @property
    def expires_at(self) -> float | None:
        """When temporary keys end, in Unix seconds."""
        return self._keys.expires_at

    @property
    def paused_until(self) -> float | None:
        """When the next request is let through, in Unix seconds."""
        return self._guard.until

    def restore_pause(self, until: float) -> None:
        """Hold back until then, five minutes at most."""
        self._guard.restore(until)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send signed; repeat once only if a token of temporary keys was rejected and there are new keys."""
        await request.aread()
        async with AsyncExitStack() as turn:
            keys = await self._admitted()
            if not self._guard.proven:
                await turn.enter_async_context(self._probe)
                keys = await self._admitted()
                if self._guard.proven:
                    await turn.aclose()
            self._sign(request, keys)
            response = yield request
            if response.status_code != UNAUTHORIZED:
                self._note(response, keys)
                return
            error = await refused(response)
            self._keys.drop(keys)
            if isinstance(error, TokenRejected) and (other := await self._admitted()) != keys:
                keys = other
                self._sign(request, keys)
                response = yield request
                if response.status_code != UNAUTHORIZED:
                    self._note(response, keys)
                    return
                error = await refused(response)
                self._keys.drop(keys)
            self._refuse(error, keys)
            raise error

    async def _admitted(self) -> Keys:
        keys = await self._keys.get()
        self._guard.admit(_print(keys))
        return keys

    def _sign(self, request: httpx.Request, keys: Keys) -> None:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        path, query = wire_path(path), canonical_query(query)
        request.url = request.url.copy_with(raw_path=f"{path}?{query}".encode() if query else path.encode())
        headers = {name: request.headers[name] for name in _SIGNED if name in request.headers}
        request.headers.pop("X-Security-Token", None)
        request.headers.update(sign(Parts(request.method, path, query, headers, request.content), keys, self._clock()))

    def _note(self, response: httpx.Response, keys: Keys) -> None:
        # Throttling and server errors can come before the signature was looked at.
        if response.status_code != _THROTTLED and response.status_code < _SERVER_ERRORS:
            self._guard.accept(_print(keys))

    def _refuse(self, error: Unauthorized | Forbidden, keys: Keys) -> None:
        if isinstance(error, Forbidden) or not self._guard.refuse(_print(keys)):
            return
        if isinstance(error, KeyLocked) or self._guard.refusals >= MAX_REFUSALS:
            self._guard.pause(LOCK_SECONDS, str(error))


def _print(keys: Keys) -> bytes:
    return fingerprint(keys.access, keys.secret, keys.security_token)
