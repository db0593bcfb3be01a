"""
Passwords against their bcrypt hashes.

A name that is not known costs as much as one that is. One hash is computed at a time, off the event loop, and the
last hundred verdicts of each kind are remembered, so that a scraper pays once, however many passwords others guess.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import re
from base64 import b64decode
from collections import OrderedDict
from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Mapping

HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
"""A bcrypt hash as ``htpasswd -B`` writes it."""

_LONGEST_PASSWORD = 72
_REMEMBERED = 100
_COST = slice(4, 6)
_NOBODYS = b"SiIgLxX6yQ4mBzEJtDrhHeMZ4R0qFvEc2Wn1sYpT3aKuLbGdCjO0a"


class Passwords:
    """Tell whether credentials are right; safe to ask from many requests at once."""

    def __init__(self) -> None:
        self._verdicts: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._one_at_a_time = asyncio.Lock()

    async def accept(self, users: Mapping[bytes, bytes], authorization: bytes) -> bool:
        """Judge the value of an Authorization header by the users' hashes."""
        name, password = credentials(authorization)
        if name is None or len(password) > _LONGEST_PASSWORD:
            return False
        known = name in users
        hashed = users[name] if known else stand_in(users)
        return await self._verdict(name, hashed, password) and known

    async def _verdict(self, name: bytes, hashed: bytes, password: bytes) -> bool:
        # A digest, so that no password stays in memory for longer than its request.
        key = hashlib.sha256(b"\0".join([hashed, binascii.hexlify(name), password])).digest()
        verdict = self._remembered(key)
        if verdict is None:
            async with self._one_at_a_time:
                verdict = self._remembered(key)
                if verdict is None:
                    verdict = await asyncio.to_thread(_matches, password, hashed)
                    self._remember(key, verdict=verdict)
        return verdict

    def _remembered(self, key: bytes) -> bool | None:
        for verdict, keys in self._verdicts.items():
            if key in keys:
                keys.move_to_end(key)
                return verdict
        return None

    def _remember(self, key: bytes, *, verdict: bool) -> None:
        keys = self._verdicts[verdict]
        keys[key] = None
        if len(keys) > _REMEMBERED:
            keys.popitem(last=False)


def credentials(authorization: bytes) -> tuple[bytes | None, bytes]:
    """Return name and password of an Authorization header; the name is None when it holds none."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None, b""
    try:
        name, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None, b""
    return (name, password) if colon else (None, b"")


def stand_in(users: Mapping[bytes, bytes]) -> bytes:
    """Return a hash that belongs to nobody and costs as much as the dearest of the users'."""
    return b"$2b$" + max(hashed[_COST] for hashed in users.values()) + b"$" + _NOBODYS


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # bcrypt itself refuses the password or the salt
        return False
