"""Foreign exceptions become ours here, and nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from exporter.errors import ApiError, ConnectFailed, ProtocolBroken, TimedOut, TlsFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS: tuple[tuple[type[Exception], type[ApiError], str], ...] = (
    (httpx.TimeoutException, TimedOut, "gave no answer within poll.request_timeout."),
    (TimeoutError, TimedOut, "gave no answer within poll.request_timeout."),
    (httpx.ConnectError, ConnectFailed, "cannot be reached: is the endpoint right, and the way to it open?"),
    (httpx.ProxyError, ConnectFailed, "cannot be reached through the proxy: is proxy_url right?"),
    (httpx.HTTPError, ProtocolBroken, "broke off, or does not speak HTTP."),
    (httpx.InvalidURL, ProtocolBroken, "sent an address that is none."),
    (httpx.StreamError, ProtocolBroken, "broke off."),
    (httpx.CookieConflict, ProtocolBroken, "sent cookies that contradict each other."),
    (UnicodeError, ConnectFailed, "is no host name: is the endpoint right?"),
    (OSError, ConnectFailed, "cannot be reached."),
)


@contextmanager
def mapped(host: str) -> Iterator[None]:
    """Raise the ApiError that a foreign exception of the exchange with ``host`` amounts to, with its cause."""
    try:
        yield
    except ApiError:
        raise
    except Exception as error:
        raise translated(error, host) from error


def translated(error: Exception, host: str) -> Exception:
    """Return our error for a foreign one; the error itself when it is no fault of the exchange."""
    if _tls_fault(error):
        return TlsFailed(f"The certificate of {host} cannot be verified: set tls.ca_file, or mend the certificate.")
    for foreign, ours, what in _KINDS:
        if isinstance(error, foreign):
            return ours(f"{host} {what}")
    return error


def _tls_fault(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, asyncio.CancelledError):
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
