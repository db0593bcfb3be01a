"""
The whole life of a simulated ticket, from its brief to its end, as a pure function; times in Unix ms.

Chance is drawn before the play begins and whether or not it is needed, so that a wave of failures changes
only what ends while it is on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from exporter.simulator.plan import Brief, Plan, Wave, dice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

_RETRY, _CONTINUE = "retry", "continue"
_FAILS_AGAIN = 0.15
# In ms: order to first batch, one host after the other, last host to the ticket's next status, shortest run.
_ACCEPTED, _DISPATCH, _SETTLED, _SHORTEST = 250, 9, 40, 40

_Runs = tuple["Run", ...]


class Run(NamedTuple):
    """One execution on one host; a run without length never began (cancelled while READY)."""

    start: int
    end: int
    outcome: str


class Step(NamedTuple):
    """From ``at`` on the ticket has this status and this current batch."""

    at: int
    status: str
    batch: int


@dataclass(frozen=True)
class BatchLife:
    """All runs of a batch, by host; a host with two runs was retried, one with none stays READY."""

    index: int
    runs: tuple[tuple[Run, ...], ...]

    @cached_property
    def events(self) -> list[int]:
        """Return the moments at which something about the batch changes."""
        return sorted({moment for runs in self.runs for run in runs for moment in (run.start, run.end)})


@dataclass(frozen=True)
class Life:
    """Everything that ever happens to a ticket."""

    brief: Brief
    steps: tuple[Step, ...]
    batches: tuple[BatchLife, ...]

    @cached_property
    def events(self) -> list[int]:
        """Return the moments at which anything about the ticket changes."""
        moments = chain((step.at for step in self.steps), *(batch.events for batch in self.batches))
        return sorted(set(moments))

    @property
    def end(self) -> int:
        """Return the moment after which nothing changes any more."""
        return self.events[-1]


class _Throw(NamedTuple):
    """What chance holds for one host: first run, then the retry."""

    size: float
    luck: float
    wave: float
    retry_size: float
    retry_luck: float
    retry_wave: float


class _Operator(NamedTuple):
    """What chance holds for the person behind a batch: what they decide, and after how long (s)."""

    decision: str | None
    reaction: float


def live(plan: Plan, brief: Brief, waves: tuple[Wave, ...] = ()) -> Life:
    """Play ticket ``brief`` to its end."""
    throws = list(_throws(plan, brief))
    life = _Play(plan, brief, waves).run(throws)
    if brief.cancelled_at is None:
        return life
    # The moment comes from the calm life: a later wave must not move what has happened.
    calm = _Play(plan, brief, ()).run(throws)
    return _cancel(life, brief.created + round((calm.end - brief.created) * brief.cancelled_at))


def _throws(plan: Plan, brief: Brief) -> Iterator[tuple[_Operator, list[_Throw]]]:
    throw = dice(plan.seed, brief.number, "runs")
    for size in brief.sizes:
        decision = throw.choices((_RETRY, _CONTINUE, None), (60, 25, 15))[0]
        operator = _Operator(decision, throw.lognormvariate(5.0, 0.6))
        yield operator, [_host_throw(throw) for _ in range(size)]


def _host_throw(throw: Random) -> _Throw:
    chance, spread = throw.random, throw.lognormvariate
    return _Throw(spread(0, 0.5), chance(), chance(), spread(0, 0.5), chance(), chance())


class _Play:
    """The run of one ticket: batch after batch, with ``at`` as its clock, as long as it is ``going``."""

    def __init__(self, plan: Plan, brief: Brief, waves: tuple[Wave, ...]) -> None:
        self.plan = plan
        self.brief = brief
        self.waves = waves
        self.at = brief.created + _ACCEPTED
        self.going = True
        self.steps = [Step(brief.created, "READY", 1)]

    def run(self, throws: Sequence[tuple[_Operator, list[_Throw]]]) -> Life:
        """Return the ticket's whole life."""
        batches = [
            BatchLife(index, self._batch(index, operator, hosts) if self.going else ((),) * len(hosts))
            for index, (operator, hosts) in enumerate(throws, 1)
        ]
        if self.going:
            self._step("FINISHED", len(batches))
        return Life(self.brief, tuple(self.steps), tuple(batches))

    def _step(self, status: str, index: int) -> None:
        self.steps.append(Step(self.at, status, index))

    def _batch(self, index: int, operator: _Operator, hosts: Sequence[_Throw]) -> tuple[_Runs, ...]:
        self._step("PROCESSING", index)
        first = [self._first_run(self.at + place * _DISPATCH, host) for place, host in enumerate(hosts)]
        self.at = max(run.end for run in first) + _SETTLED
        failed = {place for place, run in enumerate(first) if run.outcome == "ABNORMAL"}
        again: dict[int, Run] = {}
        if 100 * (1 - len(failed) / len(first)) < self.brief.success_rate:
            again = self._abnormal(index, operator, {place: hosts[place] for place in failed})
        elif self.brief.strategies[index - 1] == "PAUSE" and index < len(self.brief.sizes):
            self._step("PAUSED", index)
            self.at += self.plan.ms(operator.reaction)
        return tuple((run, again[place]) if place in again else (run,) for place, run in enumerate(first))

    def _abnormal(self, index: int, operator: _Operator, failed: Mapping[int, _Throw]) -> dict[int, Run]:
        """Wait for the operator; return the second runs if they retry, and stop if they never come."""
        self._step("ABNORMAL", index)
        self.going = operator.decision is not None
        if operator.decision is None:
            return {}
        self.at += self.plan.ms(operator.reaction)
        if operator.decision == _CONTINUE:
            return {}
        self._step("PROCESSING", index)
        runs = {place: self._second_run(self.at, host) for place, host in failed.items()}
        self.at = max(run.end for run in runs.values()) + _SETTLED
        return runs

    def _first_run(self, start: int, host: _Throw) -> Run:
        return self._run(start, host.size, host.luck, host.wave, self.brief.failure)

    def _second_run(self, start: int, host: _Throw) -> Run:
        return self._run(start, host.retry_size, host.retry_luck, host.retry_wave, _FAILS_AGAIN)

    def _run(self, start: int, size: float, luck: float, wave: float, failure: float) -> Run:
        length = max(_SHORTEST, round(self.brief.median * size))
        if luck < failure * 0.15 or length >= self.brief.timeout:
            # The agent kills it at the timeout; where the agent is lost, it hangs for three times as long.
            length = self.brief.timeout * (3 if luck < failure * 0.02 else 1)
            return Run(start, start + length, "ABNORMAL")
        end = start + length
        return Run(start, end, self._outcome(end, luck, wave, failure))

    def _outcome(self, end: int, luck: float, wave: float, failure: float) -> str:
        if luck < failure or any(w.since <= end / 1000 < w.until and wave < w.share for w in self.waves):
            return "ABNORMAL"
        return "ROLLBACKED" if luck > 1 - self.plan.rollback_share else "FINISHED"


def _cancel(life: Life, at: int) -> Life:
    """Return ``life`` with an operator cancelling the order at ``at``."""
    steps = [step for step in life.steps if step.at < at]
    steps.append(Step(at, "CANCELED", steps[-1].batch))
    batches = (replace(batch, runs=tuple(_cancel_runs(runs, at) for runs in batch.runs)) for batch in life.batches)
    return Life(life.brief, tuple(steps), tuple(batches))


def _cancel_runs(runs: tuple[Run, ...], at: int) -> tuple[Run, ...]:
    begun = [run for run in runs if run.start < at]
    if not begun:
        return (Run(at, at, "CANCELED"),)
    last = begun[-1]
    return (*begun[:-1], last if last.end <= at else Run(last.start, at, "CANCELED"))
