"""Numbers and times as a person reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_MINUTE = 60
_HOUR = 3600
_DAY = 86400
_NOTHING = "\u2013"

_FAULTS = {
    "connect": "not reachable",
    "tls": "certificate not trusted",
    "timeout": "no answer in time",
    "protocol": "connection broke off",
    "too_large": "answer too large",
    "rate_limited": "asked to slow down",
    "server_error": "server error",
    "unauthorized": "credentials refused",
    "token_rejected": "token rejected",
    "key_locked": "key locked",
    "clock_skew": "clock differs too much",
    "secret": "credential unreadable",
    "forbidden": "permission missing",
    "not_found": "unknown to the API",
    "bad_request": "request refused",
    "unexpected_status": "unexpected answer",
    "malformed": "answer malformed",
    "incomplete": "pages incomplete",
    "empty": "nothing listed",
    "paused": "paused",
    "deadline": "poll out of time",
}


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return _NOTHING
    if seconds < 10:  # noqa: PLR2004  below ten seconds a tenth matters
        return f"{max(0.0, seconds):.1f}".removesuffix(".0") + " s"
    return _large(int(seconds))


def _large(whole: int) -> str:
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _pair(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return _pair(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _pair(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _pair(count: int, unit: str, rest: int, rest_unit: str) -> str:
    return f"{count:,} {unit} {rest} {rest_unit}" if rest else f"{count:,} {unit}"


def age(seconds: float) -> str:
    """Return how long ago something was, in its largest unit."""
    count, unit, *_ = duration(max(0.0, seconds)).split(" ")
    return f"{count} {unit}"


def iso(moment: float | None) -> str:
    """Return a Unix time as ISO 8601 in UTC, empty when there is none that a calendar knows."""
    if moment is None:
        return ""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def when(moment: float | None) -> str:
    """Return a Unix time as date and time in UTC."""
    return iso(moment).replace("T", " ").replace("Z", " UTC") or _NOTHING


def count(number: float, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def verb(number: int) -> str:
    """Return the form of "to be" that follows a number."""
    return "is" if number == 1 else "are"


def share(part: float | None) -> str:
    """Return a ratio in per cent."""
    return _NOTHING if part is None else f"{100 * part:.0f}\u00a0%"


def fault(reason: str) -> str:
    """Return the few words for a closed reason of why something could not be read."""
    return _FAULTS.get(reason, reason.replace("_", " "))
