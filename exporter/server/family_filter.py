"""
Which part of an exposition ``name[]`` asks for. Pure: text in, text out, whatever the families are called.

Families come whole or not at all: a histogram without one of its buckets is no OpenMetrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_EOF = b"# EOF\n"
_SUFFIXES = (b"_total", b"_bucket", b"_count", b"_sum", b"_created", b"_info")
_HELP = b"\n# HELP "


def only(body: bytes, names: frozenset[bytes]) -> bytes:
    """Return the families that are named, or of which a sample is named."""
    end = _EOF if body.endswith(_EOF) else b""
    return b"".join(_named(body.removesuffix(_EOF), names)) + end


def _named(body: bytes, names: frozenset[bytes]) -> Iterator[bytes]:
    # No sample line begins with a hash, and line breaks within labels and HELP are escaped.
    for block in (b"\n" + body).split(_HELP)[1:]:
        family = block.partition(b" ")[0]
        if not names.isdisjoint({family, family.removesuffix(b"_total")}) or _holds_sample(block, family, names):
            yield _HELP[1:] + block.removesuffix(b"\n") + b"\n"


def _holds_sample(block: bytes, family: bytes, names: frozenset[bytes]) -> bool:
    possible = names & {family + suffix for suffix in _SUFFIXES}
    return any(b"\n" + name + end in block for name in possible for end in (b"{", b" "))
