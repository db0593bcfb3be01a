"""The token bucket behind ``rate_limit``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """One request every ``interval`` seconds, and ``burst`` of them at once; interval 0 means no limit."""

    interval: float = 0.0
    burst: int = 0


class TokenBucket:
    """Tell whether one more request is within the rate."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._tokens = 0.0
        self._counted = 0.0

    def allows(self, rate: Rate, now: float) -> bool:
        """Take a token if there is one; a rate that changed begins with a full bucket."""
        if not rate.interval:
            return True
        if rate != self._rate:
            self._rate, self._tokens, self._counted = rate, rate.burst, now
        earned = (now - self._counted) / rate.interval
        self._tokens = min(rate.burst, self._tokens + earned)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def duration(text: str) -> float:
    """Return the seconds of a duration as Go writes it (``1m30s``, ``100ms``, ``0``)."""
    parts = _PART.findall(text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise ValueError("this must be a duration with its unit, such as 1s, 100ms or 1m30s; 0 means no limit")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
