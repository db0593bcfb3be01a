"""
gzip (RFC 1952) of pieces that are packed each on its own, so that one which did not change is not packed again.

A piece of a deflate stream (RFC 1951) that ends at a whole byte and refers to nothing before it can be followed by any
other. What stands at the stream's end, a checksum of all that it holds, follows from the pieces' checksums and lengths.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A third of the time of 6, the usual level, for a sixth more bytes.
_LEVEL = 3
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"
_POLYNOMIAL = 0xEDB88320
_HIGHEST = 1 << 31


@dataclass(frozen=True)
class Piece:
    """``data`` is ``length`` bytes, packed; ``checksum`` is the CRC-32 of what was packed."""

    data: bytes
    length: int
    checksum: int

    @cached_property
    def shift(self) -> int:
        """What the checksum of anything before this piece is multiplied by."""
        return _power(8 * self.length)


def pack(text: bytes) -> Piece:
    """Return the text as a piece of any stream."""
    if not text:
        return Piece(b"", 0, 0)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Piece(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH), len(text), zlib.crc32(text))


def gzip(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield the parts of a gzip stream that holds what the pieces hold, one after the other."""
    length = checksum = 0
    yield _HEAD
    for piece in pieces:
        yield piece.data
        length += piece.length
        checksum = _product(piece.shift, checksum) ^ piece.checksum
    yield _LAST_BLOCK + checksum.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")


def _product(one: int, other: int) -> int:
    """Return the product of two polynomials modulo CRC-32's; the highest bit stands for 1, the next for x."""
    product, bit = 0, _HIGHEST
    while bit:
        if one & bit:
            product ^= other
        bit >>= 1
        other = other >> 1 ^ _POLYNOMIAL if other & 1 else other >> 1
    return product


@lru_cache(maxsize=4096)
def _power(exponent: int) -> int:
    """Return x to this power, modulo CRC-32's polynomial."""
    if exponent == 0:
        return _HIGHEST
    half = _power(exponent // 2)
    square = _product(half, half)
    return _product(square, _HIGHEST >> 1) if exponent % 2 else square
