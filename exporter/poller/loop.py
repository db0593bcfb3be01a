"""
The crank: every account polled at the interval, each on its own, and what is known published.

Accounts do not wait for each other. A poll never overlaps the next of the same account; one that takes longer than
the interval is counted and the next begins at once.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from exporter.poller.account import INTERNAL
from exporter.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from exporter.clock import Clock
    from exporter.poller.account import AccountPoller
    from exporter.telemetry import Telemetry

    Publish = Callable[[Snapshot], Awaitable[None]]

_logger = logging.getLogger(__name__)


class Poller:
    """Turn the crank for each account; ``interval`` in seconds."""

    def __init__(
        self,
        accounts: Sequence[AccountPoller],
        publish: Publish,
        *,
        interval: float,
        deadline: float,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self.accounts = accounts
        self._publish = publish
        self._interval = interval
        self._deadline = deadline
        self._telemetry = telemetry
        self._clock = clock
        self._news = asyncio.Event()
        self._polled = False
        self._spent: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._complete = False
        telemetry.poll_interval.set(interval)

    async def run(self) -> None:
        """Poll and publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_news())
            group.create_task(self._remind())
            for account in self.accounts:
                group.create_task(self._turn(account))

    async def once(self) -> None:
        """Poll every account once, and publish."""
        async with asyncio.TaskGroup() as group:
            for account in self.accounts:
                group.create_task(self._poll(account))
        await self._publish(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Return everything known now."""
        return Snapshot(
            accounts=tuple(account.state for account in self.accounts),
            readings=tuple(reading for account in self.accounts for reading in account.readings.values()),
            taken=self._clock.time(),
        )

    def progress(self) -> tuple[int, int]:
        """Return how many tickets were tried so far, and how many are watched."""
        readings = [reading for account in self.accounts for reading in account.readings.values()]
        return sum(reading.tried is not None for reading in readings), len(readings)

    def ready(self) -> bool:
        """Tell whether every ticket was tried once, and polls go on."""
        if not self._complete:
            return False
        # A poll may last until its deadline, and begins an interval after the last; one more is grace.
        oldest = min(self._ended.values(), default=float("-inf"))
        return self._clock.monotonic() - oldest <= self._deadline + 2 * self._interval

    async def _turn(self, account: AccountPoller) -> None:
        while True:
            spent = await self._poll(account)
            if spent > self._interval:
                self._telemetry.poll_overruns.inc()
            # Yields even when the poll took too long, so that one account cannot starve the rest.
            await self._clock.sleep(max(0.0, self._interval - spent))

    async def _poll(self, account: AccountPoller) -> float:
        """Poll one account; return how many seconds it took."""
        began = self._clock.monotonic()
        async with self._survived():
            await account.poll()
        ended = self._clock.monotonic()
        name = account.account.name
        self._spent[name], self._ended[name] = ended - began, ended
        self._telemetry.polls.inc()
        self._telemetry.poll_duration.set(max(self._spent.values()))
        # Once reached it stays: a ticket that discovery finds later does not make the exporter unready.
        self._complete = self._complete or self._all_tried()
        states = (other.state.polled for other in self.accounts)
        self._telemetry.last_poll.set(min((polled for polled in states if polled is not None), default=0.0))
        self._polled = True
        self._news.set()
        return ended - began

    def _all_tried(self) -> bool:
        done, watched = self.progress()
        return done == watched and all(account.state.polled is not None for account in self.accounts)

    async def _publish_news(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            async with self._survived():
                await self._publish(self.snapshot())

    async def _remind(self) -> None:
        """Publish at each interval in which no poll ended: one that lasts shows what it has read so far."""
        while True:
            self._polled = False
            await self._clock.sleep(self._interval)
            if not self._polled:
                self._news.set()

    @asynccontextmanager
    async def _survived(self) -> AsyncIterator[None]:
        """Let a fault of ours cost one poll or one publication, not all that follow."""
        try:
            yield
        except Exception as error:
            self._telemetry.poll_failures.labels(INTERNAL).inc()
            # Its class alone: a library's message may quote what it was given, a secret included.
            _logger.exception("A fault of the exporter itself", extra={"err": type(error).__name__})
