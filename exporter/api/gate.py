"""
How fast we may ask one account's API: concurrency, rate, throttling, circuit.

The rate is halved when the API says 429 and recovers by a hundredth of the configured rate with each answer. After
five failures of the API in a row, about more than one ticket, the circuit opens: no request is made until the pause is
over, then a single one, whose outcome the others wait for.
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
    SecretUnreadable,
    ServerFailed,
    TimedOut,
    TlsFailed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.clock import Clock
    from exporter.telemetry import Telemetry

_OUTAGES = (ConnectFailed, ProtocolBroken, ServerFailed, TimedOut, TlsFailed)
_NEVER_SENT = (Paused, SecretUnreadable)
_OPENS_AFTER = 5
_LOWEST_RATE = 0.1
_RECOVERY = 0.01
_RETRY_BUDGET = 10.0
_RETRY_EARNED = 0.1
_LONG_AGO = float("-inf")


class Gate:
    """
    Hand out leave to send a request to the API of ``account``.

    ``rate`` is in requests a second, ``pause`` in seconds: how long an open circuit stays open. ``paused_until`` is the
    next attempt in Unix seconds, None while the circuit is closed; whether it has come is told by the monotonic clock.
    """

    def __init__(
        self, account: str, *, rate: float, concurrency: int, pause: float, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.account = account
        self.rate = rate
        self.paused_until: float | None = None
        self._full_rate = rate
        self._slots = asyncio.Semaphore(concurrency)
        self._pause = pause
        self._telemetry = telemetry
        self._clock = clock
        self._free_at = _LONG_AGO
        self._slowed_at = _LONG_AGO
        self._opened_at = _LONG_AGO
        self._shut_until = _LONG_AGO
        self._why = ""
        self._failed_about: list[str] = []
        self._retries = _RETRY_BUDGET
        self._probe: asyncio.Event | None = None
        self._queue_wait = telemetry.api_queue_wait.labels(account)
        telemetry.api_rate_limit.labels(account).set(rate)

    @asynccontextmanager
    async def leave(self, about: str = "") -> AsyncIterator[None]:
        """
        Wait for leave to send one request; raise Paused while the circuit is open.

        ``about`` names the ticket; requests without a name are each about something else.
        """
        self._refuse_while_shut()
        began = self._clock.monotonic()
        async with self._slots:
            await self._wait_for_rate()
            async with self._circuit():
                sent = self._clock.monotonic()
                self._queue_wait.observe(sent - began)
                try:
                    yield
                except ApiError as error:
                    self._failed(error, sent, about)
                    raise
                else:
                    self._succeeded(sent)

    def may_retry(self) -> bool:
        """Return whether the account's budget holds one more retry, and take it."""
        if self._retries < 1 or self.paused_until is not None:
            return False
        self._retries -= 1
        return True

    def hold_until(self, until: float, why: str) -> None:
        """Open the circuit until a Unix time, as the API or a lock demands; a longer pause stays."""
        self._opened_at = self._clock.monotonic()
        shut_until = self._opened_at + until - self._clock.time()
        if shut_until > self._shut_until:
            self._shut_until, self.paused_until, self._why = shut_until, until, why
        self._telemetry.paused(self.account, self.paused_until)

    @asynccontextmanager
    async def _circuit(self) -> AsyncIterator[None]:
        """Pass at once through a closed circuit; of those who find it due for an attempt, one tries, the rest wait."""
        while self._probe is not None:
            await self._probe.wait()
        self._refuse_while_shut()
        if self.paused_until is None:
            yield
            return
        self._probe = probe = asyncio.Event()
        try:
            yield
        finally:
            self._probe = None
            probe.set()

    def _refuse_while_shut(self) -> None:
        if self.paused_until is not None and self._clock.monotonic() < self._shut_until:
            raise Paused(f"No request is sent to account {self.account} for now: {self._why}", self.paused_until)

    async def _wait_for_rate(self) -> None:
        # A second's worth of requests, one at the least, may go at once; after that they are spaced evenly.
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now - max(1.0, 1 / self.rate)) + 1 / self.rate
        if self._free_at > now:
            await self._clock.sleep(self._free_at - now)

    def _succeeded(self, sent: float) -> None:
        self._close(sent)
        self._retries = min(_RETRY_BUDGET, self._retries + _RETRY_EARNED)
        if self.rate < self._full_rate:
            self._set_rate(min(self._full_rate, self.rate + self._full_rate * _RECOVERY))

    def _failed(self, error: ApiError, sent: float, about: str) -> None:
        if isinstance(error, _OUTAGES):
            self._failed_about = [*self._failed_about, about][-_OPENS_AFTER:]
            if self._is_out() or self.paused_until is not None:
                self.hold_until(self._clock.time() + self._pause, str(error))
        elif isinstance(error, RateLimited):
            self._slow_down(sent)
            self._close(sent)
        elif not isinstance(error, _NEVER_SENT):
            self._succeeded(sent)

    def _is_out(self) -> bool:
        # The pages of one ticket are asked for side by side, so five failures can be that ticket's alone.
        several = len(set(self._failed_about)) > 1 or "" in self._failed_about
        return several and len(self._failed_about) >= _OPENS_AFTER

    def _close(self, sent: float) -> None:
        # What was sent before the circuit opened tells nothing of the time since.
        if sent > self._opened_at:
            self._failed_about = []
            self.paused_until, self._shut_until = None, _LONG_AGO

    def _slow_down(self, sent: float) -> None:
        # Of many that were under way together, one halves the rate.
        if sent >= self._slowed_at:
            self._slowed_at = self._clock.monotonic()
            self._set_rate(min(self._full_rate, max(_LOWEST_RATE, self.rate / 2)))

    def _set_rate(self, rate: float) -> None:
        self.rate = rate
        self._telemetry.api_rate_limit.labels(self.account).set(rate)
