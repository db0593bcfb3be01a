"""Which part of an exposition ``name[]`` asks for. Pure: text in, text out, whatever the families are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_EOF = b"# EOF\n"
_HELP = b"# HELP "


def only(body: bytes, names: frozenset[bytes]) -> bytes:
    """Return the families that are named, whole, and of the others the samples that are named."""
    end = _EOF if body.endswith(_EOF) else b""
    return b"".join(_named(body.removesuffix(_EOF), names)) + end


def _named(body: bytes, names: frozenset[bytes]) -> Iterator[bytes]:
    # No sample line begins with a hash, and line breaks within labels and HELP are escaped.
    for block in (b"\n" + body).split(b"\n" + _HELP)[1:]:
        family = block.partition(b" ")[0]
        if family in names or family.removesuffix(b"_total") in names:
            yield _HELP + block.rstrip(b"\n") + b"\n"
        else:
            yield from _named_samples(block, names)


def _named_samples(block: bytes, names: frozenset[bytes]) -> Iterator[bytes]:
    first, *lines = block.rstrip(b"\n").split(b"\n")
    samples = [line for line in lines if not line.startswith(b"#") and _sample_name(line) in names]
    if samples:
        header = [_HELP + first, *(line for line in lines if line.startswith(b"#"))]
        yield b"".join(line + b"\n" for line in [*header, *samples])


def _sample_name(line: bytes) -> bytes:
    return line.partition(b" ")[0].partition(b"{")[0]
