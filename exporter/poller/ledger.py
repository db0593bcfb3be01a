"""
What was counted once stays counted: the past facts of a ticket that its present pages no longer tell.

Counters and histograms are pages plus past, so a failed instance that is retried leaves its failure behind, and a
value that the API tells otherwise the second time stays as it was first counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.snapshot import Execution, Failure, Ticket


def carried(held: Ticket | None, fresh: Ticket) -> Ticket:
    """Return ``fresh`` with every failure and execution that ``held`` counted and ``fresh`` does not tell as such."""
    if held is None:
        return fresh
    failures = set(fresh.failures())
    executions = set(fresh.executions())
    ended = {failure.instance_id: failure for failure in failures if failure.finished is not None}
    return replace(
        fresh,
        past_failures=tuple(_closed(failure, ended) for failure in held.failures() if failure not in failures),
        past_executions=tuple(execution for execution in held.executions() if execution not in executions),
        late=held.late | _late(set(held.executions()), executions),
    )


def _late(held: set[Execution], fresh: set[Execution]) -> set[tuple[int, float]]:
    """Return the new executions that ended before one that was known already."""
    latest = max((execution.finished or 0.0 for execution in held), default=0.0)
    return {
        (execution.instance_id, execution.finished)
        for execution in fresh - held
        if execution.finished is not None and execution.finished < latest
    }


def _closed(failure: Failure, ended: dict[int, Failure]) -> Failure:
    """Return an open failure with the end that its instance has by now: it is the same failure."""
    end = ended.get(failure.instance_id)
    if failure.finished is not None or end is None:
        return failure
    return replace(failure, finished=end.finished)
