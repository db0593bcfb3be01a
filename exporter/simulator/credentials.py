"""What the simulator accepts, and the tokens and keys it issues: sealed, so that nothing is stored."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

DEMO_PROJECT = "0123456789abcdef0123456789abcdef"
FOREIGN_PROJECT = "fedcba9876543210fedcba9876543210"


@dataclass(frozen=True)
class Credentials:
    """The one account of the simulator; every value is made up and may be known to everybody."""

    token: str = "demo-token"  # noqa: S105 - the whole world may know it
    access_key: str = "DEMOACCESSKEY0000001"
    secret_key: str = "demo-secret-key-000000000000000000000001"  # noqa: S105 - the whole world may know it
    domain: str = "demo-domain"
    domain_id: str = "d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0"
    user: str = "demo-user"
    password: str = "demo-password"  # noqa: S105 - the whole world may know it
    region: str = "cn-north-4"
    projects: Mapping[str, str] = field(
        default_factory=lambda: {"cn-north-4": DEMO_PROJECT, "ap-southeast-3": FOREIGN_PROJECT}
    )
    token_lifetime: int = 86_400
    key_lifetime: int = 21_600
    seal: str = "demo-seal"

    @property
    def project_id(self) -> str:
        """Return the project that this region's tokens must be of."""
        return self.projects[self.region]


class Token(NamedTuple):
    """What an issued token says of itself; ``generation`` is the number of revocations before it."""

    expires: int
    scope: str
    generation: int


class TemporaryKey(NamedTuple):
    """Access key, secret key and security token of an agency, good until ``expires``."""

    access: str
    secret: str
    security_token: str
    expires: int


def timestamp(seconds: float) -> str:
    """Write a time as IAM does: UTC, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seal(credentials: Credentials, *parts: object) -> str:
    """Return the seal that only this simulator's key makes over ``parts``."""
    text = "|".join(map(str, parts))
    return hmac.new(credentials.seal.encode(), text.encode(), hashlib.sha256).hexdigest()


def issue_token(credentials: Credentials, kind: str, token: Token) -> str:
    """Return ``token`` as text that :func:`read_token` reads back, after a restart too."""
    text = f"{token.expires}.{token.scope}.{token.generation}"
    return f"{text}.{seal(credentials, kind, text)}"


def read_token(credentials: Credentials, kind: str, text: str) -> Token | None:
    """Read an issued token; None when it is not one of ours."""
    content, _, signature = text.rpartition(".")
    if not hmac.compare_digest(seal(credentials, kind, content).encode(), signature.encode()):
        return None
    expires, scope, generation = content.split(".")
    return Token(int(expires), scope, int(generation))


def temporary_key(credentials: Credentials, expires: int) -> TemporaryKey:
    """Return the agency's key that expires at ``expires``."""
    access = f"HSTA{expires:016d}"
    secret = seal(credentials, "secret", access)[:40]
    return TemporaryKey(access, secret, f"gQpjbi1ub3J0aC00{seal(credentials, 'security', access)}", expires)


def known_key(credentials: Credentials, access: str) -> TemporaryKey | None:
    """Return the temporary key of this access key; None when it is none of ours."""
    digits = access.removeprefix("HSTA")
    return temporary_key(credentials, int(digits)) if len(digits) == 16 and digits.isdecimal() else None  # noqa: PLR2004 - as issued
