"""
Reading a listing to its end by markers, whatever its order.

The API states neither the direction of a listing nor what lies past its end. The marker is the id of the last
element received, never the smallest or largest; the end is reached when as many distinct ids are held as the API
states, or a page brings no new one. A page shorter than the limit is not the end: a server may cap the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from exporter.errors import Incomplete

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

MAX_PAGES = 1000


class Identified(Protocol):
    """An element of a listing."""

    @property
    def id(self) -> int:
        """The value a marker takes."""


T = TypeVar("T", bound=Identified)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One answer of a listing; ``total`` counts the whole listing, None where the API does not state it."""

    total: int | None
    items: Sequence[T]


async def pages(fetch: Callable[[int | None], Awaitable[Page[T]]]) -> AsyncIterator[tuple[Page[T], list[T]]]:
    """Yield each page with the elements that no page before it held, until the listing's end."""
    seen: set[int] = set()
    marker: int | None = None
    for _ in range(MAX_PAGES):
        page = await fetch(marker)
        new = [item for item in {item.id: item for item in page.items}.values() if item.id not in seen]
        seen.update(item.id for item in new)
        yield page, new
        if not new or (page.total is not None and len(seen) >= page.total):
            return
        marker = page.items[-1].id


async def whole(fetch: Callable[[int | None], Awaitable[Page[T]]]) -> tuple[int, list[T]]:
    """
    Return the total as last stated, and every element in the order received, each once.

    Of an element that is repeated the last telling counts. Raise Incomplete when the listing ends before its total.
    """
    held: dict[int, T] = {}
    total = 0
    async for page, _ in pages(fetch):
        total = page.total or 0
        held.update((item.id, item) for item in page.items)
    if len(held) < total:
        raise Incomplete(
            f"The pages ended after {len(held)} of {total} instances; the last whole data is kept,"
            " the next poll tries again."
        )
    return total, list(held.values())
