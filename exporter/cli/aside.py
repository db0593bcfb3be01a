"""
An event loop in a thread of its own.

Polls decode pages by the thousand; a scrape that shares their loop waits for whole rounds of it
(docs/performance.md has the figures).
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Aside:
    """Run coroutines in a loop beside the one that awaits them."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    async def __aenter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Cancel what is left, wait for its end, and end the thread."""
        await self.run(_ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns over there, or raise what it raises; cancelled here, it is cancelled there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Cancel all that runs over there, and when it has ended run ``work``."""
        await self.run(_ended())
        return await self.run(work)


async def _ended() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
