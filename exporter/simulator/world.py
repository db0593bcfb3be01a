"""
The simulated world: which tickets are visible at a time, and each of them as it then stands.

A pure function of plan, waves and time. What is kept between calls is only what was worked out before.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf
from typing import TYPE_CHECKING, Any

from exporter.simulator import hosts, logs
from exporter.simulator.life import BatchLife, Life, Run, Step, live
from exporter.simulator.model import Batch, Counts, Head, Instance, Ticket, count
from exporter.simulator.plan import Brief, Plan, Wave, brief, created, dice, latest, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

_REMEMBERED = 40_000  # instances whose rows, and ten times as many whose lives, are kept
_FIRST_ID = 40_000_000
_LAST_ID = 2**31 - 1  # the largest marker


@dataclass(frozen=True)
class PlannedInstance(Instance):
    """A row of a planned ticket; log and host are worked out when it is first written."""

    plan: Plan
    brief: Brief
    place: tuple[int, int, int]  # batch, position in it, number of the run
    host: int

    def details(self) -> dict[str, Any]:
        """Return log and host, and in one answer of five the fields that no schema knows."""
        throw = dice(self.plan.seed, self.brief.number, *self.place)
        message = None if self.finished is None else self._message(throw, self.finished)
        extra = {"cmd_uuid": f"c-{self.id}", "job_sign": None} if throw.random() < 0.2 else {}  # noqa: PLR2004 - one of five
        target = hosts.target(self.plan.seed, self.host, self.brief.region)
        return extra | {"message": message, "target_instance": target}

    def _message(self, throw: Random, finished: int) -> str:
        return logs.message(
            throw,
            self.status,
            script=self.brief.script,
            host=hosts.host_name(self.host),
            seconds=(finished - self.created) / 1000,
            timeout=self.brief.timeout / 1000,
        )


class PlannedTicket:
    """A planned ticket between two of its events: good from ``since`` until ``until`` (ms)."""

    def __init__(self, world: PlanWorld, life: Life, now: int) -> None:
        events = life.events
        passed = bisect_right(events, now)
        self.since = events[passed - 1]
        self.until: float = events[passed] if passed < len(events) else inf
        self._world = world
        self.life = life

    @cached_property
    def head(self) -> Head:
        """Return what is known of it as a whole."""
        life, step = self.life, _step(self.life, self.since)
        finished = step.at if step.status in {"FINISHED", "CANCELED"} else None
        return Head(
            order_id=life.brief.order_id,
            uuid=life.brief.uuid,
            name=life.brief.name,
            creator=life.brief.creator,
            created=life.brief.created,
            finished=finished,
            costs=None if finished is None else finished - life.brief.created + life.brief.number % 3 // 2,
            status=step.status,
            region_ids=life.brief.region,
            properties=_properties(life.brief, step),
        )

    @cached_property
    def batches(self) -> Sequence[Batch]:
        """Return its batches by index; in every fourth ticket they are labelled."""
        known = self.life.brief
        label = "host group" if known.number % 4 == 0 else None
        pairs = zip(known.sizes, known.strategies, strict=True)
        return tuple(Batch(index, size, strategy, label) for index, (size, strategy) in enumerate(pairs, 1))

    @cached_property
    def counts(self) -> Counts:
        """Return its instances by status."""
        return count(self)

    def instances(self, batch_index: int) -> Sequence[Instance]:
        """Return the instances of a batch, ascending by id."""
        passed = bisect_right(self.life.batches[batch_index - 1].events, self.since)
        return self._world.rows(self.life, batch_index, passed)


class PlanWorld:
    """The world of a plan; ``waves`` tells the waves of failures recorded so far."""

    def __init__(self, plan: Plan, waves: Callable[[], tuple[Wave, ...]] = tuple) -> None:
        self.plan = plan
        self._waves = waves
        self._views: dict[int, PlannedTicket] = {}
        self._listing: tuple[float, float, object, Sequence[Ticket]] = (inf, -inf, (), ())
        self._life = lru_cache(10 * _REMEMBERED // (plan.batches * plan.instances) + 64)(self._live)
        self.rows = lru_cache(_REMEMBERED // plan.instances + 64)(self._rows)

    def tickets(self, now: float) -> Sequence[Ticket]:
        """Return every ticket visible at ``now``, ascending by order id."""
        at, waves = int(now * 1000), self._waves()
        since, until, seen, listing = self._listing
        if not since <= at < until or seen != waves:
            listing = self._look(at, waves)
        return listing

    def find(self, uuid: str, now: float) -> Ticket | None:
        """Return the ticket of this id while it is visible."""
        number = number_of(self.plan, uuid)
        last = latest(self.plan, now)
        if number is None or not last - self.plan.tickets < number <= last:
            return None
        return self._view(number, int(now * 1000), self._waves())

    def _look(self, at: int, waves: tuple[Wave, ...]) -> Sequence[Ticket]:
        last = latest(self.plan, at / 1000)
        first = max(0, last - self.plan.tickets + 1)
        self._views = {n: view for n, view in self._views.items() if first <= n}
        views = [self._view(number, at, waves) for number in range(first, last + 1)]
        since = max((view.since for view in views), default=at)
        until = min([view.until for view in views] + [self._next_creation(last)])
        self._listing = (since, until, waves, views)
        return views

    def _next_creation(self, last: int) -> float:
        at = created(self.plan, last + 1)
        return at if at <= self.plan.until * 1000 else inf

    def _view(self, number: int, at: int, waves: tuple[Wave, ...]) -> PlannedTicket:
        view = self._views.get(number)
        life = self._life_under(number, waves)
        if view is None or view.life is not life or not view.since <= at < view.until:
            view = self._views[number] = PlannedTicket(self, life, at)
        return view

    def _life_under(self, number: int, waves: tuple[Wave, ...]) -> Life:
        calm = self._life(number, ())
        met = tuple(w for w in waves if w.since * 1000 <= calm.end and w.until * 1000 > calm.brief.created)
        return self._life(number, met) if met else calm

    def _live(self, number: int, waves: tuple[Wave, ...]) -> Life:
        return live(self.plan, brief(self.plan, number), waves)

    def _rows(self, life: Life, batch_index: int, passed: int) -> Sequence[Instance]:
        batch = life.batches[batch_index - 1]
        now = batch.events[passed - 1] if passed else life.brief.created
        return tuple(self._row(life, batch, position, now) for position in range(len(batch.runs)))

    def _row(self, life: Life, batch: BatchLife, position: int, now: int) -> Instance:
        runs = batch.runs[position]
        number = sum(run.start <= now for run in runs)
        status, begun, finished = _state(runs[number - 1] if number else None, life.brief.created, now)
        ahead = sum(life.brief.sizes[: batch.index - 1]) + position
        place = (batch.index, position, number)
        host = (life.brief.number * 31 + ahead) % self.plan.fleet
        return PlannedInstance(self._id(life, ahead), status, begun, finished, self.plan, life.brief, place, host)

    def _id(self, life: Life, ahead: int) -> int:
        span = self.plan.batches * self.plan.instances
        return _FIRST_ID + life.brief.number * span % (_LAST_ID - _FIRST_ID - span) + ahead


def _state(run: Run | None, ordered: int, now: int) -> tuple[str, int, int | None]:
    """Return status, gmt_created and gmt_finished; the row is stamped anew when its run begins."""
    if run is None:
        return "READY", ordered, None
    if run.start == run.end:
        return run.outcome, ordered, None
    if now < run.end:
        return "PROCESSING", run.start, None
    return run.outcome, run.start, run.end


def _step(life: Life, now: int) -> Step:
    return life.steps[bisect_right(life.steps, now, key=lambda step: step.at) - 1]


def _properties(brief: Brief, step: Step) -> dict[str, Any]:
    """Return the ``properties`` of ShowScriptOrderBasicInfo; half of them lack the script's version."""
    parameter = {
        "param_name": "token",
        "param_value": "parameter-canary",
        "param_order": 1,
        "param_refer": None,
    }
    version = {"script_version_uuid": 7_000 + brief.number % 50, "script_version_name": "v1.2.0"}
    return {
        "script_uuid": f"SC2025122010150002{sum(brief.script.encode()):07d}",
        "script_name": brief.script,
        **(version if brief.number % 2 else {}),
        "current_execute_batch_index": step.batch,
        "execute_param": {
            "resourceful": True,
            "timeout": brief.timeout // 1000,
            "execute_user": "root",
            "success_rate": brief.success_rate,
            "script_params": [parameter] if brief.number % 5 == 0 else [],
        },
        "script_source": "CUSTOM_SCRIPT",
    }
