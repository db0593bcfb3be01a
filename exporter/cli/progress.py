"""Progress of long work: a bar on stderr, and nothing where stderr is no terminal."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_WIDTH = 30
_REDRAW_SECONDS = 0.1


@asynccontextmanager
async def bar(what: str, progress: Callable[[], tuple[int, int]]) -> AsyncIterator[None]:
    """Draw ``progress`` (done, of all) while the block runs."""
    if not sys.stderr.isatty():
        yield
        return
    drawing = asyncio.create_task(_draw(what, progress))
    try:
        yield
    finally:
        drawing.cancel()
        sys.stderr.write(f"\r{drawn(what, *progress())}\n")


async def _draw(what: str, progress: Callable[[], tuple[int, int]]) -> None:
    while True:
        sys.stderr.write(f"\r{drawn(what, *progress())}")
        sys.stderr.flush()
        await asyncio.sleep(_REDRAW_SECONDS)


def drawn(what: str, done: int, of_all: int) -> str:
    """Return the bar as text."""
    full = _WIDTH * done // of_all if of_all else 0
    return f"{what} [{'#' * full}{'.' * (_WIDTH - full)}] {done}/{of_all}"
