"""
How fast we may ask one account's API: concurrency, rate, throttling, circuit.

The rate is halved when the API says 429 and recovers by a hundredth of the configured rate with each answer. After
five failures of the API in a row, the circuit opens: no request is made until the pause is over, then a single one.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from exporter.errors import (
    ApiError,
    ConnectFailed,
    Paused,
    ProtocolBroken,
    RateLimited,
    ServerFailed,
    TimedOut,
    TlsFailed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.clock import Clock
    from exporter.telemetry import Telemetry

_OUTAGES = (ConnectFailed, ProtocolBroken, ServerFailed, TimedOut, TlsFailed)
_OPENS_AFTER = 5
_LOWEST_RATE = 0.1
_RECOVERY = 0.01
_RETRY_BUDGET = 10.0
_RETRY_EARNED = 0.1


class Gate:
    """
    Hand out leave to send a request to the API of ``account``.

    ``rate`` is in requests a second, ``pause`` in seconds: how long an open circuit stays open.
    """

    def __init__(
        self, account: str, *, rate: float, concurrency: int, pause: float, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.account = account
        self._full_rate = rate
        self._rate = rate
        self._slots = asyncio.Semaphore(concurrency)
        self._pause = pause
        self._telemetry = telemetry
        self._clock = clock
        self._free_at = 0.0
        self._slowed_at = float("-inf")
        self._failures = 0
        self._retries = _RETRY_BUDGET
        self._probing = False
        self.paused_until: float | None = None
        telemetry.api_rate_limit.labels(account).set(rate)

    @asynccontextmanager
    async def leave(self) -> AsyncIterator[None]:
        """Wait for leave to send one request; raise Paused while the circuit is open."""
        self._refuse_while_open()
        began = self._clock.monotonic()
        async with self._slots:
            await self._wait_for_rate()
            self._refuse_while_open()
            sent = self._clock.monotonic()
            self._telemetry.api_queue_wait.labels(self.account).observe(sent - began)
            self._probing = self.paused_until is not None
            try:
                yield
            except ApiError as error:
                self._failed(error, sent)
                raise
            else:
                self._succeeded()
            finally:
                self._probing = False

    def may_retry(self) -> bool:
        """Return whether the account's budget holds one more retry, and take it."""
        if self._retries < 1 or self.paused_until is not None:
            return False
        self._retries -= 1
        return True

    def hold_until(self, until: float) -> None:
        """Open the circuit until a Unix time, as the API or a lock demands."""
        self.paused_until = until

    def _refuse_while_open(self) -> None:
        if self.paused_until is None:
            return
        if self._clock.time() < self.paused_until or self._probing:
            raise Paused(
                f"No request is sent to account {self.account} for now: its API failed repeatedly.",
                self.paused_until,
            )

    async def _wait_for_rate(self) -> None:
        # A second's worth of requests may go at once; after that they are spaced evenly.
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now - 1.0) + 1 / self._rate
        if self._free_at > now:
            await self._clock.sleep(self._free_at - now)

    def _succeeded(self) -> None:
        self._failures = 0
        self._retries = min(_RETRY_BUDGET, self._retries + _RETRY_EARNED)
        self.paused_until = None
        if self._rate < self._full_rate:
            self._set_rate(min(self._full_rate, self._rate + self._full_rate * _RECOVERY))

    def _failed(self, error: ApiError, sent: float) -> None:
        if isinstance(error, RateLimited) and sent >= self._slowed_at:
            self._slowed_at = self._clock.monotonic()
            self._set_rate(max(_LOWEST_RATE, self._rate / 2))
        if isinstance(error, _OUTAGES):
            self._failures += 1
            if self._failures >= _OPENS_AFTER:
                self.hold_until(self._clock.time() + self._pause)
        elif not isinstance(error, RateLimited | Paused):
            self._succeeded()

    def _set_rate(self, rate: float) -> None:
        self._rate = rate
        self._telemetry.api_rate_limit.labels(self.account).set(rate)
