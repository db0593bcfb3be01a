"""Sign-in by a token that somebody else renews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.auth.base import UNAUTHORIZED, AccountAuth, Secret, header_value, refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx

TOKEN_HEADER = "X-Auth-Token"  # noqa: S105 - the header's name


class TokenAuth(AccountAuth):
    """Puts the token on each request; a refused one is repeated once if by then the file holds another."""

    def __init__(self, read: Secret) -> None:
        self._read = read

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send with the token as it is now."""
        token = self._token()
        request.headers[TOKEN_HEADER] = token
        response = yield request
        if response.status_code != UNAUTHORIZED:
            return
        error = await refused(response)
        if (other := self._token()) == token:
            raise error
        request.headers[TOKEN_HEADER] = other
        response = yield request
        if response.status_code == UNAUTHORIZED:
            raise await refused(response)

    def _token(self) -> str:
        return header_value(self._read(), "the token")
