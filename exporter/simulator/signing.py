"""
SDK-HMAC-SHA256 as the gateway computes it, over a received request; pure.

Source: Huawei Cloud, "API request signing guide", algorithm pages.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

if TYPE_CHECKING:
    from exporter.simulator.messages import Request

ALGORITHM = "SDK-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,\s]+), ?SignedHeaders=(?P<signed>[^,\s]+),"
    r" ?Signature=(?P<signature>[0-9a-f]+)"
)


class Authorization(NamedTuple):
    """What the ``Authorization`` header claims."""

    access: str
    signed: tuple[str, ...]
    signature: str


def parse(header: str) -> Authorization | None:
    """Read an ``Authorization`` header; None when it is none of this kind."""
    match = _AUTHORIZATION.fullmatch(header)
    return Authorization(match["access"], tuple(match["signed"].split(";")), match["signature"]) if match else None


def canonical_request(request: Request, signed: tuple[str, ...]) -> str:
    """Return the canonical request over the headers that the client lists, in its order."""
    headers = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in signed)
    parts = (request.method, _uri(request.raw_path), _query(request.raw_query), headers, ";".join(signed))
    return "\n".join((*parts, _payload_hash(request)))


def signature(secret: str, date: str, canonical: str) -> str:
    """Return the signature; the key is the secret itself, no derived one."""
    text = f"{ALGORITHM}\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _encode(text: str) -> str:
    return quote(text, safe="~")


def _uri(raw_path: str) -> str:
    encoded = "/".join(map(_encode, unquote(raw_path).split("/")))
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _query(raw_query: str) -> str:
    pairs = sorted(parse_qsl(raw_query, keep_blank_values=True))
    return "&".join(f"{_encode(name)}={_encode(value)}" for name, value in pairs)


def _payload_hash(request: Request) -> str:
    stated = request.headers.get("x-sdk-content-sha256") if request.body else None
    return stated or hashlib.sha256(request.body).hexdigest()
