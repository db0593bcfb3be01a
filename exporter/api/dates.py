"""Dates in headers, as HTTP writes them (RFC 9110, 5.6.7)."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=8)
def unix_seconds(text: str) -> float | None:
    """Return the Unix time of a date, None when it is none; the same date comes with every answer of a second."""
    try:
        moment = parsedate_to_datetime(text)
        # "-0000" tells of no zone, and HTTP knows none but GMT.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
