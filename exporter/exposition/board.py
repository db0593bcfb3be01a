"""
What is handed out: the exposition of the last published snapshot, in every variant somebody asks for.

A variant that was scraped lately is rendered with the next publication, before that takes the place of the last; one
that was not is rendered when it is first asked for, once, however many ask. Both happen off the event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.exposition.render import Format, Variant
from exporter.snapshot import Snapshot

if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.exposition.render import Renderer
    from exporter.families import Options

_WANTED_FOR = 600.0


@dataclass(frozen=True)
class _Edition:
    """One snapshot and the bodies made of it."""

    snapshot: Snapshot
    options: Options
    bodies: dict[Variant, asyncio.Task[bytes]] = field(default_factory=dict)


class Board:
    """Hold the current edition; ``current`` is its snapshot, which pages are drawn from."""

    def __init__(self, renderer: Renderer, options: Options, clock: Clock) -> None:
        self._renderer = renderer
        self._clock = clock
        self._edition = _Edition(Snapshot(), options)
        self._asked: dict[Variant, float] = {}

    @property
    def current(self) -> Snapshot:
        """The snapshot last published."""
        return self._edition.snapshot

    async def publish(self, snapshot: Snapshot, options: Options) -> None:
        """Render the variants in demand, then replace what is handed out."""
        edition = _Edition(snapshot, options)
        self._forget_unwanted()
        # A copy: somebody may ask for another variant meanwhile.
        for variant in tuple(self._asked):
            await self._body(edition, variant)
        self._edition = edition

    async def body(self, variant: Variant) -> bytes:
        """Return the current exposition in a variant."""
        self._asked[variant] = self._clock.monotonic()
        return await self._body(self._edition, variant)

    async def _body(self, edition: _Edition, variant: Variant) -> bytes:
        task = edition.bodies.get(variant)
        if task is None or _failed(task):
            work = asyncio.to_thread(self._renderer.body, edition.snapshot, edition.options, variant)
            task = edition.bodies[variant] = asyncio.ensure_future(work)
            # Looked at here, so that a failure is not complained of when nobody waits any more.
            task.add_done_callback(_failed)
        # A scraper that hangs up must not take the body from those who wait beside it.
        return await asyncio.shield(task)

    def _forget_unwanted(self) -> None:
        now = self._clock.monotonic()
        self._asked = {variant: asked for variant, asked in self._asked.items() if now - asked < _WANTED_FOR}
        wanted = {variant.format for variant in self._asked}
        for kind in set(Format) - wanted:
            self._renderer.forget(kind)


def _failed(task: asyncio.Task[bytes]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
