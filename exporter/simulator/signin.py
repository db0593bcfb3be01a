"""
The gateway's door: verify ``X-Auth-Token`` or the request's signature, and refuse in the gateway's words.

Texts from Huawei Cloud, "API request signing guide", error codes APIGW.0301 and APIGW.0307.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter.simulator import signing
from exporter.simulator.credentials import TemporaryKey, known_key, read_token, timestamp
from exporter.simulator.messages import Refused, gateway, unauthorized

if TYPE_CHECKING:
    from exporter.simulator.credentials import Credentials
    from exporter.simulator.faults import Switches
    from exporter.simulator.messages import Request

_SKEW = 15 * 60
_FAILURES, _LOCK = 5, 5 * 60
_LOCKED = "AK access failed to reach the limit,forbidden"


class Gate:
    """Lets a request in or raises Refused; remembers only failures in a row, by access key."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._failures: dict[str, int] = {}
        self._locked_until: dict[str, float] = {}

    def check(self, request: Request, now: float, switches: Switches) -> None:
        """Refuse ``request`` unless it is signed in and for this region's project."""
        authorization = signing.parse(request.headers.get("authorization", ""))
        token = request.headers.get("x-auth-token", "")
        if authorization is not None:
            self._check_key(request, authorization, now, switches)
        elif token:
            self._check_token(token, now, switches)
        else:
            raise unauthorized("x-auth-token not found")
        self._check_project(request)

    def _check_project(self, request: Request) -> None:
        project = request.headers.get("x-project-id", self._credentials.project_id)
        if project != self._credentials.project_id:
            raise _foreign()

    def _check_token(self, text: str, now: float, switches: Switches) -> None:
        if text == self._credentials.token and not switches.revoked_tokens:
            return
        token = read_token(self._credentials, "token", text)
        if token is None or token.generation < switches.revoked_tokens:
            raise unauthorized("decrypt token fail")
        if token.expires <= now:
            raise unauthorized(f"token expires, expires_at: {timestamp(token.expires)}")
        if token.scope not in {self._credentials.project_id, self._credentials.domain_id}:
            raise _foreign()

    def _check_key(self, request: Request, claim: signing.Authorization, now: float, switches: Switches) -> None:
        access = claim.access
        if switches.locked_key or now < self._locked_until.get(access, 0):
            raise unauthorized(_LOCKED)
        try:
            self._verify(request, claim, now)
        except Refused:
            self._failed(access, now)
            raise
        self._failures.pop(access, None)

    def _failed(self, access: str, now: float) -> None:
        self._failures[access] = self._failures.get(access, 0) + 1
        if self._failures[access] > _FAILURES:
            self._locked_until[access] = now + _LOCK
            del self._failures[access]

    def _verify(self, request: Request, claim: signing.Authorization, now: float) -> None:
        secret = self._secret(request, claim.access, now)
        date = request.headers.get("x-sdk-date", "")
        if "x-sdk-date" not in claim.signed or abs(now - _seconds(date)) > _SKEW:
            raise unauthorized("calc ak sk signature fail:signature expired")
        canonical = signing.canonical_request(request, claim.signed)
        if not hmac.compare_digest(signing.signature(secret, date, canonical), claim.signature):
            shown = canonical.replace("\n", "|")
            raise unauthorized(f"verify aksk signature fail,canonicalRequest:{shown}")

    def _secret(self, request: Request, access: str, now: float) -> str:
        if access == self._credentials.access_key:
            return self._credentials.secret_key
        key = known_key(self._credentials, access)
        if key is None:
            raise unauthorized(f"ak {access} not exist")
        _check_temporary(key, request, now)
        return key.secret


def _check_temporary(key: TemporaryKey, request: Request, now: float) -> None:
    if key.expires <= now:
        raise unauthorized("calc ak sk signature fail:signature expired")
    if request.headers.get("x-security-token") != key.security_token:
        raise unauthorized("Get secretKey failed")


def _foreign() -> Refused:
    return gateway(401, "APIGW.0307", "The token must be updated")


def _seconds(date: str) -> float:
    """Return the Unix time of an ``X-Sdk-Date``; one that cannot be read is as far off as can be."""
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
