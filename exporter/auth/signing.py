"""
SDK-HMAC-SHA256, the signature of a request by access key and secret key. Pure: no clock, no network.

Documentation: "Signing Algorithm" of Huawei Cloud's API Gateway. What is signed is what is sent: path and
query are taken percent-encoded and brought to the canonical form, which the caller then sends.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from exporter.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "SDK-HMAC-SHA256"

DATE_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key and its secret; temporary ones come with a security token."""

    access: str = field(repr=False)
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """What enters the signature; path and query are percent-encoded, and every header given is signed."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


def canonical_path(path: str) -> str:
    """
    Return the path as it is signed: decoded and encoded again, with a slash at its end.

    The slash is in the signature only; the path is sent without it.
    """
    decoded = unquote_to_bytes(path)
    encoded = "/".join(_encoded(part) for part in decoded.split(b"/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def wire_path(path: str) -> str:
    """Return the path as it is sent: the canonical one without the slash that only the signature has."""
    parts = [unquote_to_bytes(part) for part in path.split("/")]
    # The signature is over the decoded path: these would be signed as another path than the one sent.
    if any(b"/" in part or part in (b".", b"..") for part in parts):
        raise BadRequest("the request's path holds an encoded slash or a dot segment, which cannot be signed")
    return "/".join(_encoded(part) for part in parts)


def canonical_query(query: str) -> str:
    """Return the query sorted by plain name, then value; a space is ``%20``, empty values keep ``=``."""
    # UTF-8 keeps the order of code points, so the bytes sort as the text would.
    pairs = sorted(_pair(item) for item in query.split("&") if item)
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs)


def _pair(item: str) -> tuple[bytes, bytes]:
    name, _, value = item.replace("+", " ").partition("=")
    return unquote_to_bytes(name), unquote_to_bytes(value)


def _encoded(text: bytes) -> str:
    return quote(text, safe="~")


def canonical_request(parts: Parts) -> str:
    """Return the text whose hash is signed."""
    headers = {name.lower(): value.strip() for name, value in parts.headers.items()}
    return "\n".join(
        (
            parts.method.upper(),
            canonical_path(parts.path),
            canonical_query(parts.query),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            ";".join(sorted(headers)),
            hashlib.sha256(parts.body).hexdigest(),
        )
    )


def string_to_sign(canonical: str, date: str) -> str:
    """Return algorithm, time and hash of the canonical request."""
    return f"{ALGORITHM}\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def signature(secret: str, text: str) -> str:
    """Return the HMAC of the text; the secret key is used as it is, nothing is derived from it."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def sign(parts: Parts, keys: Keys, now: float) -> dict[str, str]:
    """Return the headers to add: the date, the security token if there is one, and the signature over all."""
    added = {"X-Sdk-Date": datetime.fromtimestamp(now, UTC).strftime(DATE_FORMAT)}
    if keys.security_token:
        added["X-Security-Token"] = keys.security_token
    whole = Parts(parts.method, parts.path, parts.query, {**parts.headers, **added}, parts.body)
    signed = ";".join(sorted(name.lower() for name in whole.headers))
    digest = signature(keys.secret, string_to_sign(canonical_request(whole), added["X-Sdk-Date"]))
    added["Authorization"] = f"{ALGORITHM} Access={keys.access}, SignedHeaders={signed}, Signature={digest}"
    return added
