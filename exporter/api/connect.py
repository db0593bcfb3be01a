"""From an account's config to an Api: TLS, proxy, sign-in, limits."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import httpx

from exporter.api.carrier import AiohttpTransport
from exporter.api.client import Api, Limits, headers
from exporter.api.gate import Gate
from exporter.api.transport import MeteredTransport
from exporter.auth import (
    METADATA_ENDPOINT,
    AccountAuth,
    Login,
    MetadataKeys,
    PasswordAuth,
    Send,
    SigningAuth,
    StaticKeys,
    TokenAuth,
)
from exporter.errors import UsageError

if TYPE_CHECKING:
    from random import Random

    from exporter.api.interpret import Interpreter
    from exporter.clock import Clock
    from exporter.config import Account, Auth, Poll
    from exporter.telemetry import Telemetry

OnAnswer = Callable[[httpx.Response], Awaitable[None]]

_METADATA_TIMEOUT = 3.0
_CIRCUIT_SHARE = 0.9
_CONNECT_SHARE = 0.9


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none."""


class _Cookieless(httpx.AsyncClient):
    """A client without memory: the API sets no cookies, and to look for them takes a tenth of a page's CPU."""

    _NONE = _NoCookies()

    @property  # type: ignore[misc]  # there is nothing to be set
    def cookies(self) -> httpx.Cookies:
        """No cookies, ever."""
        return self._NONE


def connect(
    account: Account,
    poll: Poll,
    interpreter: Interpreter,
    *,
    telemetry: Telemetry,
    clock: Clock,
    random: Random,
    on_answer: OnAnswer | None = None,
) -> Api:
    """
    Return the account's Api; raise UsageError when its CA file cannot be used. Nothing is sent yet.

    ``on_answer`` is shown every answer of the API itself, none of a sign-in.
    """

    def client(timeout: float, *, direct: bool = False, **extra: object) -> httpx.AsyncClient:
        inner = _transport(account, poll.concurrency, direct=direct)
        way = "" if direct or account.proxy_url is None else " (through proxy_url)"
        metered = MeteredTransport(
            inner, account=account.name, way=way, timeout=timeout, telemetry=telemetry, clock=clock
        )
        # Sooner than the whole exchange: a handshake that is cancelled, not timed out, leaves its socket open a while.
        times = httpx.Timeout(timeout, connect=_CONNECT_SHARE * timeout)
        return _Cookieless(transport=metered, timeout=times, follow_redirects=False, **extra)  # type: ignore[arg-type]  # passed through

    others: list[httpx.AsyncClient] = []

    def plain(*, direct: bool) -> Send:
        http = client(_METADATA_TIMEOUT if direct else poll.request_timeout, direct=direct)
        others.append(http)

        async def send(operation: str, request: httpx.Request) -> httpx.Response:
            request.extensions["operation"] = operation
            return await http.send(request)

        return send

    # The link-local address of the metadata service is never reached through a proxy.
    auth = sign_in(account.auth, account.iam_url, plain, clock, random)
    gate = Gate(
        account.name,
        rate=poll.requests_per_second,
        concurrency=poll.concurrency,
        pause=poll.interval * _CIRCUIT_SHARE,
        telemetry=telemetry,
        clock=clock,
    )
    return Api(
        client(
            poll.request_timeout,
            base_url=account.api_url,
            headers=headers(account.language, account.project_id),
            auth=auth,
            event_hooks={"response": [] if on_answer is None else [on_answer]},
        ),
        gate,
        interpreter,
        auth,
        limits=Limits(poll.page_limit, poll.max_attempts),
        others=others,
        telemetry=telemetry,
        clock=clock,
        random=random,
    )


def sign_in(auth: Auth, iam_url: str, plain: Callable[..., Send], clock: Clock, random: Random) -> AccountAuth:
    """Return the sign-in that the config asks for; ``plain(direct=...)`` makes a way to send unsigned requests."""
    if auth.token is not None:
        return TokenAuth(auth.token.token.read)
    if auth.password is not None:
        given = auth.password
        login = Login(
            given.domain,
            given.username,
            given.password.read,
            given.project,
            given.project_id,
            given.scope_domain,
        )
        return PasswordAuth(plain(direct=False), clock.time, random, iam_url, login)
    if auth.aksk is not None:
        keys = auth.aksk
        token = None if keys.security_token is None else keys.security_token.read
        return SigningAuth(StaticKeys(keys.access_key.read, keys.secret_key.read, token), clock.time)
    endpoint = METADATA_ENDPOINT if auth.ecs_metadata is None else auth.ecs_metadata.endpoint
    metadata = MetadataKeys(plain(direct=True), clock.time, random, endpoint)
    return SigningAuth(metadata, clock.time)


def _transport(account: Account, concurrency: int, *, direct: bool) -> AiohttpTransport:
    return AiohttpTransport(_tls(account), proxy=None if direct else account.proxy_url, connections=concurrency)


def _tls(account: Account) -> ssl.SSLContext:
    try:
        context = httpx.create_ssl_context(trust_env=False)
        if account.tls.ca_file is not None:
            context.load_verify_locations(account.tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"account {account.name}: {account.tls.ca_file} cannot be used as tls.ca_file: is it a readable PEM file?"
        ) from error
    if account.tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
