"""A value that expires and is fetched anew in time, by one caller for all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from exporter.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from exporter.auth.base import Clock

T = TypeVar("T")

MARGIN_SECONDS = 40 * 60.0
"""How long before its end a value is renewed; a third of what is left, when that is less."""

_AGAIN_SECONDS = 60.0
"""When a renewal failed that was not yet urgent, the next one is tried after this time."""


@dataclass(frozen=True, slots=True, eq=False)
class Lease(Generic[T]):
    """A value and its end in Unix seconds. Leases are told apart by identity: it is their generation."""

    value: T = field(repr=False)
    expires_at: float


class Renewal(Generic[T]):
    """
    Keeps one lease and renews it.

    Whoever asks while a renewal is under way waits for it and shares its outcome, the failure too: otherwise
    each of them would try in turn. A renewal that fails before the old value has ended leaves the old one in
    use. A failure that no repetition mends is remembered for ``hold`` seconds.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[Lease[T]]], clock: Clock, random: Random, hold: float = 0.0
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._random = random
        self._hold = hold
        self._lock = asyncio.Lock()
        self._lease: Lease[T] | None = None
        self._renew_at = 0.0
        self._held_until = 0.0
        self._attempts = 0
        self._failure: ApiError | None = None

    @property
    def expires_at(self) -> float | None:
        """The end of the present value."""
        return self._lease.expires_at if self._lease else None

    def drop(self, lease: Lease[T]) -> None:
        """Note that this lease was refused; of many who say so only the first is heard."""
        if self._lease is lease:
            self._lease = None

    async def get(self) -> Lease[T]:
        """Return a lease to use now."""
        if lease := self._usable():
            return lease
        attempts = self._attempts
        async with self._lock:
            if lease := self._usable():
                return lease
            if self._failure and (attempts != self._attempts or self._held()):
                raise self._failure.with_traceback(None)
            return await self._renew()

    def _usable(self) -> Lease[T] | None:
        if self._lease and self._clock() < min(self._renew_at, self._lease.expires_at):
            return self._lease
        return None

    def _held(self) -> bool:
        return 0 < self._held_until - self._clock() <= self._hold

    async def _renew(self) -> Lease[T]:
        try:
            lease = await self._fetch()
        except ApiError as error:
            self._attempts += 1
            self._failure = error
            now = self._clock()
            if self._lease and now < self._lease.expires_at:
                self._renew_at = now + _AGAIN_SECONDS
                return self._lease
            self._held_until = 0.0 if error.retryable else now + self._hold
            raise
        self._attempts += 1
        self._failure = None
        self._lease = lease
        self._renew_at = self._moment(lease)
        return lease

    def _moment(self, lease: Lease[T]) -> float:
        # A share of what is left: a source that hands out the same value until its end is asked ever more
        # often, yet not at each request.
        margin = min(MARGIN_SECONDS, (lease.expires_at - self._clock()) / 3)
        return lease.expires_at - margin * self._random.uniform(1.0, 1.25)
