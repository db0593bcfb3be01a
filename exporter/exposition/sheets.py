"""
What was written of tickets, kept for as long as they do not change.

A ticket's lines are held deflated; those of some tickets, one after the other, are a sheet, whose lines are held family
by family as they are handed out. A poll that changed one ticket writes its lines and its sheet anew.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from exporter.families import Options
    from exporter.snapshot import Reading, Ticket, Watch

_FAST = 1
_MEMBERS = 64

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Said:
    """
    The sample lines of one ticket, family after family, in ``folded``; ``ends`` tells where each family begins.

    They are much alike and take a tenth of their length deflated; of a thousand tickets that saves 25 megabytes.
    """

    ticket: Ticket | None
    watch: Watch
    options: Options
    folded: bytes
    ends: tuple[int, ...]

    @classmethod
    def of(cls, reading: Reading, options: Options, lines: Sequence[bytes]) -> Self:
        """Return these lines, which the reading's families made with these options."""
        ends = tuple(accumulate(map(len, lines), initial=0))
        return cls(reading.shown, reading.watch, options, zlib.compress(b"".join(lines), _FAST), ends)

    def holds(self, reading: Reading, options: Options) -> bool:
        """Tell whether the same would be written now; when a reading was made is no matter of a ticket's families."""
        return self.ticket is reading.shown and self.watch is reading.watch and self.options is options

    @property
    def key(self) -> tuple[str, str]:
        """What tells the ticket from others."""
        return self.watch.account, self.watch.execute_uuid

    @property
    def lines(self) -> list[bytes]:
        """The lines of each family."""
        text = zlib.decompress(self.folded)
        return [text[begin:end] for begin, end in pairwise(self.ends)]


@dataclass(frozen=True, slots=True)
class Sheet(Generic[P]):
    """The lines of several tickets: for each family a piece of what is handed out."""

    members: tuple[Said, ...]
    pieces: tuple[P, ...]


def renewed(before: Iterable[Sheet[P]], said: Iterable[Said], pack: Callable[[bytes], P]) -> list[Sheet[P]]:
    """Return the sheets of all that is said; where nothing changed, those from before."""
    known = {sheet.members[0].key: sheet for sheet in before}
    return [_renewed(known.get(members[0].key), members, pack) for members in _split(said)]


def _renewed(sheet: Sheet[P] | None, members: tuple[Said, ...], pack: Callable[[bytes], P]) -> Sheet[P]:
    if sheet is not None and [*map(id, sheet.members)] == [*map(id, members)]:
        return sheet
    families = zip(*(member.lines for member in members), strict=True)
    return Sheet(members, tuple(pack(b"".join(lines)) for lines in families))


def _split(said: Iterable[Said]) -> Iterator[tuple[Said, ...]]:
    """Yield the members of each sheet; which ticket is a sheet's last tells its own name, so that others may go."""
    members: list[Said] = []
    for one in said:
        members.append(one)
        if zlib.crc32(one.watch.execute_uuid.encode()) % _MEMBERS == 0:
            yield tuple(members)
            members.clear()
    if members:
        yield tuple(members)
