"""Holding back after refusals, so that wrong credentials do not lock a key or a user."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter.errors import Paused

if TYPE_CHECKING:
    from exporter.auth.base import Clock


class Guard:
    """
    Counts refusals of one set of credentials, and lets nothing through while a pause lasts.

    Credentials are told apart by their fingerprint: new ones end the pause at once.
    """

    def __init__(self, clock: Clock, longest: float) -> None:
        self._clock = clock
        self._longest = longest
        self._fingerprint: bytes | None = None
        self._until = 0.0
        self._why = ""
        self.refusals = 0
        self.proven = False

    @property
    def until(self) -> float | None:
        """The end of the pause; None when there is none."""
        # No pause is longer than the longest: what seems to be one is a clock that was set back.
        return self._until if 0 < self._until - self._clock() <= self._longest else None

    def restore(self, until: float) -> None:
        """Take up a pause of an earlier process; it ends when the credentials that are found first change."""
        self._until = min(until, self._clock() + self._longest)
        self._why = "the credentials were refused before the restart"

    def admit(self, fingerprint: bytes) -> None:
        """Let these credentials be used, or raise Paused."""
        if self._fingerprint not in (None, fingerprint):
            self.refusals, self.proven, self._until = 0, False, 0.0
        self._fingerprint = fingerprint
        if (until := self.until) is None:
            return
        at = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise Paused(f"held back until {at}, or until the credentials change, because {self._why}", until)

    def accept(self, fingerprint: bytes) -> None:
        """Note that these credentials work; a pause that is under way stays."""
        if fingerprint == self._fingerprint:
            self.refusals, self.proven = 0, True

    def refuse(self, fingerprint: bytes) -> bool:
        """Count a refusal; False when meanwhile other credentials are in use."""
        if fingerprint != self._fingerprint:
            return False
        self.refusals, self.proven = self.refusals + 1, False
        return True

    def pause(self, seconds: float, why: str) -> None:
        """Hold back from now on."""
        self._until = self._clock() + seconds
        self._why = why
