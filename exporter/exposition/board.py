"""
What is handed out: the exposition of the last published snapshot, in every variant somebody asks for.

A variant that was scraped lately is rendered with the next publication, before that takes the place of the last; one
that was not is rendered when it is first asked for, once, however many ask. Both happen in a thread, so that whoever
publishes and whoever hands out may each live in an event loop of their own.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.snapshot import Snapshot

if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.exposition.render import Body, Renderer, Variant
    from exporter.families import Options

_WANTED_FOR = 600.0


@dataclass(frozen=True)
class _Edition:
    """One snapshot and the bodies made of it."""

    snapshot: Snapshot
    options: Options
    bodies: dict[Variant, Future[Body]] = field(default_factory=dict)


class Board:
    """Hold the current edition; ``current`` is its snapshot, which pages are drawn from."""

    def __init__(self, renderer: Renderer, options: Options, clock: Clock) -> None:
        self._renderer = renderer
        self._clock = clock
        self._edition = _Edition(Snapshot(), options)
        self._asked: dict[Variant, float] = {}
        self._lock = threading.Lock()
        # One thread: another rendering at the same time would only take its processor from this one.
        self._renderers = ThreadPoolExecutor(1, thread_name_prefix="render")

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

    async def body(self, variant: Variant) -> Body:
        """Return the current exposition in a variant."""
        self._asked[variant] = self._clock.monotonic()
        return await self._body(self._edition, variant)

    async def _body(self, edition: _Edition, variant: Variant) -> Body:
        body = self._rendering(edition, variant)
        if body.done():
            return body.result()
        waiting = asyncio.wrap_future(body)
        # Looked at here, so that a failure is not complained of when nobody waits any more.
        waiting.add_done_callback(_failed)
        # A scraper that hangs up must not take the body from those who wait beside it.
        return await asyncio.shield(waiting)

    def _rendering(self, edition: _Edition, variant: Variant) -> Future[Body]:
        with self._lock:
            body = edition.bodies.get(variant)
            if body is None or _failed(body):
                body = self._renderers.submit(self._renderer.body, edition.snapshot, edition.options, variant)
                edition.bodies[variant] = body
            return body

    def _forget_unwanted(self) -> None:
        now = self._clock.monotonic()
        for variant, asked in tuple(self._asked.items()):
            if now - asked >= _WANTED_FOR:
                del self._asked[variant]
        self._renderer.keep(tuple(self._asked))


def _failed(body: Future[Body] | asyncio.Future[Body]) -> bool:
    return body.done() and (body.cancelled() or body.exception() is not None)
