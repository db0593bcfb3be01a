"""Where signing keys come from: what the user gives, or the temporary keys of the cloud server we run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httpx

from exporter.auth.base import (
    UNAUTHORIZED,
    Clock,
    Secret,
    Send,
    expiry,
    header_value,
    json_object,
    retry_after,
)
from exporter.auth.renewal import Lease, Renewal
from exporter.auth.signing import Keys
from exporter.errors import (
    ApiError,
    ConnectFailed,
    Malformed,
    RateLimited,
    ServerFailed,
    TimedOut,
    Unauthorized,
    UnexpectedStatus,
)

if TYPE_CHECKING:
    from random import Random

METADATA_ENDPOINT = "http://169.254.169.254"

_OK = 200
_TOO_MANY = 429
_SERVER_ERRORS = 500
_NO_TOKEN_MODE = frozenset({404, 405, 503})
_TOKEN_SECONDS = 6 * 3600.0
_ASK_AGAIN_SECONDS = 24 * 3600.0
_HOLD_SECONDS = 60.0
_TIMEOUT = httpx.Timeout(3.0).as_dict()
_NO_AGENCY = "please configure cloud service agency first"

# Spellings as the official SDK accepts them.
_ENVELOPES = ("credential", "credentials")
_ACCESS = ("access", "accessKeyId", "access_key_id")
_SECRET = ("secret", "secretAccessKey", "secret_access_key")
_SECURITY_TOKEN = ("securitytoken", "securityToken", "security_token")
_EXPIRY = ("expires_at", "expiration")


class KeySource(Protocol):
    """Hands out the keys to sign with."""

    @property
    def expires_at(self) -> float | None:
        """When the present keys end, in Unix seconds; None when they do not or nobody knows."""

    async def get(self) -> Keys:
        """Return the keys to use now."""

    def drop(self, keys: Keys) -> None:
        """Note that the API refused these keys."""


class StaticKeys:
    """Keys that the user gives, read at each use."""

    def __init__(self, access_key: Secret, secret_key: Secret, security_token: Secret | None = None) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._security_token = security_token

    @property
    def expires_at(self) -> float | None:
        """Return None: what the user gives does not say when it ends."""
        return None

    async def get(self) -> Keys:
        """Read the keys."""
        return Keys(
            header_value(self._access_key(), "the access key"),
            header_value(self._secret_key(), "the secret key"),
            header_value(self._security_token(), "the security token") if self._security_token else "",
        )

    def drop(self, keys: Keys) -> None:
        """Do nothing: the next use reads them anyway."""


class MetadataKeys:
    """Temporary keys of the host's agency, from the metadata service, renewed in time."""

    def __init__(self, send: Send, clock: Clock, random: Random, endpoint: str = METADATA_ENDPOINT) -> None:
        self._send = send
        self._clock = clock
        self._endpoint = httpx.URL(endpoint)
        self._renewal = Renewal(self._fetch, clock, random, hold=_HOLD_SECONDS)
        self._lease: Lease[Keys] | None = None
        self._token = ""
        self._ask_token_at = 0.0

    @property
    def expires_at(self) -> float | None:
        """When the present keys end, in Unix seconds."""
        return self._renewal.expires_at

    async def get(self) -> Keys:
        """Return the present keys, fetched anew when they are about to end."""
        self._lease = await self._renewal.get()
        return self._lease.value

    def drop(self, keys: Keys) -> None:
        """Fetch other keys at the next use, unless these are old ones already."""
        if self._lease and self._lease.value is keys:
            self._renewal.drop(self._lease)

    async def _fetch(self) -> Lease[Keys]:
        if not 0 < self._ask_token_at - self._clock() <= _ASK_AGAIN_SECONDS:
            await self._renew_token()
        response = await self._ask_keys()
        if response.status_code == UNAUTHORIZED and _NO_AGENCY not in _text(response).lower():
            await self._renew_token()
            response = await self._ask_keys()
        return self._keys(response)

    async def _renew_token(self) -> None:
        headers = {"X-Metadata-Token-Ttl-Seconds": f"{_TOKEN_SECONDS:.0f}"}
        response = await self._request("metadata_token", "PUT", "/meta-data/latest/api/token", headers)
        now = self._clock()
        if response.status_code in _NO_TOKEN_MODE:
            self._token, self._ask_token_at = "", now + _ASK_AGAIN_SECONDS
            return
        if response.status_code != _OK:
            raise _failure(response)
        token = _text(response).strip()
        if not (token and token.isascii() and token.isprintable()):
            raise Malformed("the metadata service answered with a token that no header can carry")
        self._token, self._ask_token_at = token, now + _TOKEN_SECONDS - 60

    async def _ask_keys(self) -> httpx.Response:
        headers = {"X-Metadata-Token": self._token} if self._token else {}
        return await self._request("metadata_key", "GET", "/openstack/latest/securitykey", headers)

    async def _request(self, operation: str, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        url = self._endpoint.copy_with(path=path)
        try:
            return await self._send(
                operation, httpx.Request(method, url, headers=headers, extensions={"timeout": _TIMEOUT})
            )
        except (ConnectFailed, TimedOut) as error:
            raise type(error)(
                f"no metadata service answers at {url.host}: this sign-in works on a Huawei Cloud ECS "
                "only, and a container may not be let through to that address; run there, or sign in by "
                "aksk, password or token"
            ) from error

    def _keys(self, response: httpx.Response) -> Lease[Keys]:
        if response.status_code != _OK:
            raise _failure(response)
        answer = json_object(response.content)
        inner = next((answer[name] for name in _ENVELOPES if isinstance(answer.get(name), dict)), answer)
        fields = inner if isinstance(inner, dict) else {}
        keys = Keys(_header(fields, _ACCESS), _header(fields, _SECRET), _header(fields, _SECURITY_TOKEN))
        ends = next((fields[name] for name in _EXPIRY if fields.get(name)), None)
        return Lease(keys, expiry(ends, self._clock(), "the metadata service's temporary key"))


def _header(fields: dict[str, object], spellings: tuple[str, ...]) -> str:
    value = next((fields[name] for name in spellings if fields.get(name)), None)
    if not isinstance(value, str) or not (value.isascii() and value.isprintable() and value.strip()):
        raise Malformed(
            f"the metadata service's answer has no usable {spellings[0]!r}; check that the agency of this "
            "host is one for the ECS service"
        )
    return value.strip()


def _text(response: httpx.Response) -> str:
    # Not httpx's own: it raises UnicodeError when the body is not in the charset that the server states.
    return response.content.decode("utf-8", "replace")


def _failure(response: httpx.Response) -> ApiError:
    status = response.status_code
    if status == UNAUTHORIZED and _NO_AGENCY in _text(response).lower():
        return Unauthorized(
            "no agency is bound to this host, so it has no keys; bind an agency for the ECS service that "
            "grants coc:job:list and coc:job:get"
        )
    if status == UNAUTHORIZED:
        return Unauthorized("the metadata service refused its own fresh token; check what stands between it and us")
    if status == _TOO_MANY:
        return RateLimited("the metadata service asks to be called less often", retry_after(response))
    if status >= _SERVER_ERRORS:
        return ServerFailed(f"the metadata service failed (HTTP {status})", retry_after(response))
    return UnexpectedStatus(
        f"the metadata service has no keys for this host (HTTP {status}); check that an agency is bound to "
        "it and that no proxy answers in its place"
    )
