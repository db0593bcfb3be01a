"""
How long an execution took, in seconds.

The API documents ``execute_costs`` in seconds and sends milliseconds: the example of its own page holds
``gmt_finished - gmt_created = 311031`` and ``execute_costs = 311031``.
"""

from __future__ import annotations

_AGREES_MS = 1
_SECOND_MS = 1000
_ABSURD_MS = 30 * 24 * 3600 * 1000


def duration(costs: int | None, created: int | None, finished: int | None) -> tuple[float | None, str | None]:
    """
    Return the seconds, None when they are unknown or refused, and the reason when something was refused.

    All three arguments are the API's integers; both times are in milliseconds.
    """
    milliseconds, refused = _milliseconds(costs, created, finished)
    if milliseconds is None:
        return None, None
    if not 0 <= milliseconds <= _ABSURD_MS:
        return None, "duration_range"
    return milliseconds / 1000, refused


def _milliseconds(costs: int | None, created: int | None, finished: int | None) -> tuple[int | None, str | None]:
    if created is None or finished is None:
        return costs, None
    difference = finished - created
    if costs is None:
        return difference, None
    if abs(costs - difference) <= _AGREES_MS:
        return costs, None
    if abs(costs * _SECOND_MS - difference) < _SECOND_MS:
        return costs * _SECOND_MS, None
    return difference, "duration_mismatch"
