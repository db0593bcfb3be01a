"""
What was counted once stays counted: the past facts of a ticket that its present pages no longer tell.

Counters and histograms are pages plus past, so a failed instance that is retried leaves its failure behind, and a
value that the API tells otherwise the second time stays as it was first counted.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import structs

from exporter.snapshot import Execution

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.snapshot import Batch, Fact, Ticket, Told


def carried(held: Ticket | None, fresh: Ticket) -> Ticket:
    """Return ``fresh`` with every failure and execution that ``held`` counted and ``fresh`` does not tell as such."""
    if held is None:
        return fresh
    # Batches that were not read again are the same objects: they tell what they told.
    old, new = _others(held.batches, fresh.batches), _others(fresh.batches, held.batches)
    failures = list(chain.from_iterable(batch.failures() for batch in new))
    executions = list(chain.from_iterable(batch.executions() for batch in new))
    return replace(
        fresh,
        past_failures=_past(held.past_failures, (batch.failures() for batch in old), failures),
        past_executions=_past(held.past_executions, (batch.executions() for batch in old), executions),
        late=held.late | _late(held, executions),
    )


def _others(batches: tuple[Batch, ...], than: tuple[Batch, ...]) -> list[Batch]:
    known = {id(batch) for batch in than}
    return [batch for batch in batches if id(batch) not in known]


def _past(past: tuple[Told, ...], told: Iterable[Iterable[Told]], now: list[Told]) -> tuple[Told, ...]:
    """Return the past, and what was told until now and is no longer told in the same words."""
    counted = {fact.key for fact in past}
    until_now = [fact for fact in chain.from_iterable(told) if fact.key not in counted]
    known = counted.union(fact.key for fact in until_now)
    # An end that is new is the end of what was open: it is the same fact.
    ends = {_run(fact): fact.finished for fact in now if fact.key not in known}
    present = set(now)
    return (*past, *(_closed(fact, ends) for fact in until_now if fact not in present))


def _closed(fact: Told, ends: Mapping[tuple[int, str], float | None]) -> Told:
    return fact if fact.finished is not None else structs.replace(fact, finished=ends.get(_run(fact)))


def _run(fact: Fact) -> tuple[int, str]:
    return fact.instance_id, fact.status if isinstance(fact, Execution) else "ABNORMAL"


def _late(held: Ticket, executions: list[Execution]) -> set[tuple[int, float]]:
    """Return the new executions that ended before one that was known already."""
    if not executions:
        return set()
    known = {execution.key for execution in held.executions()}
    latest = max((finished or 0.0 for _, finished in known), default=0.0)
    return {
        (execution.instance_id, execution.finished)
        for execution in executions
        if execution.finished is not None and execution.finished < latest and execution.key not in known
    }
