"""Sign-in by IAM user and password: a token is fetched, kept and renewed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from exporter.auth.base import (
    UNAUTHORIZED,
    AccountAuth,
    Clock,
    Secret,
    Send,
    expiry,
    fingerprint,
    json_object,
    refused,
    retry_after,
)
from exporter.auth.guard import Guard
from exporter.auth.renewal import Lease, Renewal
from exporter.auth.tokens import TOKEN_HEADER
from exporter.errors import (
    ApiError,
    Forbidden,
    Malformed,
    RateLimited,
    SecretUnreadable,
    ServerFailed,
    Unauthorized,
    UnexpectedStatus,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from random import Random

FIRST_PAUSE_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 3600.0

_CREATED = 201
_TOO_MANY = 429
_SERVER_ERRORS = 500
_REFUSALS: dict[int, tuple[type[Unauthorized | Forbidden], str]] = {
    400: (
        Unauthorized,
        (
            "refused the sign-in: domain, user or project is unknown there; check domain, username and the "
            "project, which must belong to the region"
        ),
    ),
    401: (
        Unauthorized,
        (
            "refused the sign-in: wrong password, user or domain, or the user is locked; check all three, "
            "and use an IAM user, not a HUAWEI ID"
        ),
    ),
    403: (
        Forbidden,
        (
            "forbids the sign-in: the user is disabled, lacks programmatic access or comes from an address "
            "that is not allowed; check the user in IAM"
        ),
    ),
    404: (
        Unauthorized,
        "finds nothing: unknown project or wrong address; check the project and iam_endpoint",
    ),
}


@dataclass(frozen=True, slots=True)
class Login:
    """An IAM user and what its token is to be valid for: exactly one of the last three."""

    domain: str
    username: str
    password: Secret = field(repr=False)
    project: str | None = None
    project_id: str | None = None
    scope_domain: str | None = None

    def __post_init__(self) -> None:
        if sum(scope is not None for scope in (self.project, self.project_id, self.scope_domain)) != 1:
            raise ValueError("a login takes exactly one of project, project_id and scope_domain")

    def body(self, password: str) -> bytes:
        """Return the request's body for IAM."""
        user = {"name": self.username, "password": password, "domain": {"name": self.domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return json.dumps({"auth": {"identity": identity, "scope": self._scope()}}).encode()

    def _scope(self) -> dict[str, dict[str, str]]:
        if self.project is not None:
            return {"project": {"name": self.project}}
        if self.project_id is not None:
            return {"project": {"id": self.project_id}}
        return {"domain": {"name": self.scope_domain or ""}}


class PasswordAuth(AccountAuth):
    """
    Puts an IAM token on each request, and fetches another in time or when the API rejects it.

    Wrong passwords lock the user. So after IAM has said no, it is asked again when a pause is over, which
    doubles from five minutes to an hour, or when the password has changed.
    """

    def __init__(self, send: Send, clock: Clock, random: Random, endpoint: str, login: Login) -> None:
        self._send = send
        self._clock = clock
        self._url = httpx.URL(endpoint).copy_with(path="/v3/auth/tokens", query=b"nocatalog=true")
        self._login = login
        self._guard = Guard(clock, LONGEST_PAUSE_SECONDS)
        self._renewal = Renewal(self._sign_in, clock, random)
        self._futile_until = 0.0

    @property
    def expires_at(self) -> float | None:
        """When the present token ends, in Unix seconds."""
        return self._renewal.expires_at

    @property
    def paused_until(self) -> float | None:
        """When IAM is asked again, in Unix seconds."""
        return self._guard.until

    def restore_pause(self, until: float) -> None:
        """Do not ask IAM until then, an hour at most."""
        self._guard.restore(until)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send with the token; a refused request is repeated once with a new token."""
        lease = await self._renewal.get()
        request.headers[TOKEN_HEADER] = lease.value
        response = yield request
        if response.status_code != UNAUTHORIZED:
            return
        error = await refused(response)
        if isinstance(error, Forbidden) or self._is_futile():
            raise error
        self._renewal.drop(lease)
        lease = await self._renewal.get()
        request.headers[TOKEN_HEADER] = lease.value
        response = yield request
        if response.status_code == UNAUTHORIZED:
            # Not the token's age, then: without this, each request would sign in anew.
            self._futile_until = self._clock() + FIRST_PAUSE_SECONDS
            raise await refused(response)

    def _is_futile(self) -> bool:
        return 0 < self._futile_until - self._clock() <= FIRST_PAUSE_SECONDS

    async def _sign_in(self) -> Lease[str]:
        password = self._login.password()
        if not password:
            raise SecretUnreadable("the password is empty; write it into its file or variable")
        mark = fingerprint(password)
        self._guard.admit(mark)
        response = await self._send("iam_token", self._request(password))
        try:
            lease = self._token(response)
        except ApiError as error:
            if not error.retryable:
                self._guard.refuse(mark)
                self._guard.pause(_pause_seconds(self._guard.refusals), str(error))
            raise
        self._guard.accept(mark)
        return lease

    def _request(self, password: str) -> httpx.Request:
        headers = {"Content-Type": "application/json;charset=utf8"}
        return httpx.Request("POST", self._url, headers=headers, content=self._login.body(password))

    def _token(self, response: httpx.Response) -> Lease[str]:
        if response.status_code != _CREATED:
            raise _failure(response, self._url.host)
        token = response.headers.get("X-Subject-Token", "").strip()
        if not (token and token.isascii() and token.isprintable()):
            raise Malformed(f"{self._url.host} answered without a token in X-Subject-Token; check iam_endpoint")
        body = json_object(response.content).get("token")
        ends = body.get("expires_at") if isinstance(body, dict) else None
        return Lease(token, expiry(ends, self._clock(), "IAM's token"))


def _failure(response: httpx.Response, host: str) -> ApiError:
    status = response.status_code
    if status in _REFUSALS:
        error, sentence = _REFUSALS[status]
        return error(f"IAM ({host}) {sentence} (HTTP {status})")
    if status == _TOO_MANY:
        return RateLimited(f"IAM ({host}) asks to be called less often (HTTP {status})", retry_after(response))
    if status >= _SERVER_ERRORS:
        return ServerFailed(f"IAM ({host}) failed (HTTP {status})", retry_after(response))
    return UnexpectedStatus(
        f"{host} does not answer like IAM (HTTP {status}); check iam_endpoint; redirects are not followed"
    )


def _pause_seconds(refusals: int) -> float:
    # At the fifth refusal the longest is reached; beyond, the power would only grow.
    return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(refusals - 1, 5)))
