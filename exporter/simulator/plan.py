"""
What a simulated world is made of: the plan, its dice, and the tickets' names and times before anything runs.

Everything follows from the plan and a ticket's number, so two processes with the same plan agree and a
restart changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from math import inf
from random import Random
from typing import NamedTuple

BEIJING = timezone(timedelta(hours=8))
"""The clock in the digits of an execute_uuid (inferred from the API's own example)."""

_UUID_SPAN = 16**9
_UUID_STRIDE = 27_182_818_285  # odd, so numbers scatter over the span and none comes twice

SCRIPTS = (
    ("nightly-openssl", 40.0),
    ("patch-kernel", 95.0),
    ("rotate-logs", 8.0),
    ("restart-nginx", 5.0),
    ("collect-inventory", 12.0),
    ("install-agent", 50.0),
    ("cleanup-tmp", 15.0),
    ("renew-certificates", 20.0),
    ("nightly-db-backup", 120.0),
    ("harden-ssh", 10.0),
)
"""Scripts and the median seconds a host takes for them."""

_BOUNDS = {
    "tickets": (1, 100_000),
    "batches": (1, 20),
    "instances": (1, 1000),
    "speed": (0.001, 1000),  # faster, and order ids would outgrow what a marker can be
    "period": (1, 86_400),
    "failure_share": (0, 1),
    "cancelled_share": (0, 1),
    "rollback_share": (0, 1),
    "pause_share": (0, 1),
}

_PEOPLE = ("ops-bot", "li.wei", "m.garcia", "j.smith", "运维")
_REGIONS = ("cn-north-4", "ap-southeast-3", "eu-west-101")


@dataclass(frozen=True)
class Plan:
    """
    A world in a few numbers; times in seconds before ``speed`` divides them.

    ``batches`` and ``instances`` (per batch) are upper bounds; with ``exact``, for benchmarks, every ticket
    has just that many. ``tickets`` is how many are visible, the latest; created between
    ``epoch`` and ``until`` (Unix seconds).
    """

    seed: int = 1
    tickets: int = 20
    batches: int = 6
    instances: int = 10
    speed: float = 1.0
    period: float = 90.0
    failure_share: float = 0.04
    cancelled_share: float = 0.06
    rollback_share: float = 0.004
    pause_share: float = 0.15
    exact: bool = False
    epoch: float = 1_735_689_600.0
    until: float = inf

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _BOUNDS.items():
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name} must be {lowest:g} to {highest:g}, not {getattr(self, name):g}")

    @property
    def fleet(self) -> int:
        """Return how many hosts there are; a ticket never meets one twice."""
        return max(200, self.batches * self.instances)

    def ms(self, seconds: float) -> int:
        """Return simulated seconds as the milliseconds they take here."""
        return round(seconds * 1000 / self.speed)


class Wave(NamedTuple):
    """From ``since`` to ``until`` (Unix seconds) this share of the runs that would end well end ABNORMAL."""

    since: float
    until: float
    share: float


@dataclass(frozen=True)
class Brief:
    """What is settled about a ticket when it is created; times in ms."""

    number: int
    uuid: str
    name: str
    creator: str
    region: str
    script: str
    created: int
    sizes: tuple[int, ...]
    strategies: tuple[str, ...]
    success_rate: float
    timeout: int
    median: int
    failure: float
    cancelled_at: float | None

    @property
    def order_id(self) -> int:
        """Return the primary key of the listing; it grows with the number and starts at 1."""
        return self.number + 1


def dice(*key: object) -> Random:
    """Return the dice for ``key``: the same throws for the same key, on every machine."""
    return Random("/".join(map(str, key)))  # noqa: S311 - a simulation, nothing secret comes of it  # nosec B311


@lru_cache(4096)
def created(plan: Plan, number: int) -> int:
    """Return when ticket ``number`` is created, in ms; later numbers are created later."""
    jitter = dice(plan.seed, number, "created").random() * 0.8
    return round(plan.epoch * 1000) + plan.ms((number + jitter) * plan.period)


def latest(plan: Plan, now: float) -> int:
    """Return the number of the ticket created last at ``now``; below 0 when there is none yet."""
    now = min(now, plan.until)
    number = int((now - plan.epoch) * plan.speed // plan.period)
    return number if created(plan, max(number, 0)) <= now * 1000 else number - 1


def uuid_of(plan: Plan, number: int, at: int) -> str:
    """Return the execute_uuid: ``SCT``, the creation time at UTC+8, nine characters that hide the number."""
    clock = datetime.fromtimestamp(at / 1000, UTC).astimezone(BEIJING)
    return f"SCT{clock:%Y%m%d%H%M%S}{(number * _UUID_STRIDE + plan.seed) % _UUID_SPAN:09x}"


def number_of(plan: Plan, uuid: str) -> int | None:
    """Return the number hidden in an execute_uuid; None when it is none of this plan's."""
    try:
        hidden = int(uuid[17:], 16)
    except ValueError:
        return None
    number = (hidden - plan.seed) * pow(_UUID_STRIDE, -1, _UUID_SPAN) % _UUID_SPAN
    # A forged id can hide a number no calendar reaches.
    plausible = number * plan.period / plan.speed < 10**10
    return number if plausible and uuid_of(plan, number, created(plan, number)) == uuid else None


def brief(plan: Plan, number: int) -> Brief:
    """Settle what ticket ``number`` is to do."""
    throw = dice(plan.seed, number, "brief")
    at = created(plan, number)
    script, median = throw.choice(SCRIPTS)
    batches = plan.batches if plan.exact else throw.randint(1, plan.batches)
    return Brief(
        number=number,
        uuid=uuid_of(plan, number, at),
        name=f"{script}-{throw.choice(('prod', 'staging', 'edge', 'week'))}",
        creator=throw.choice(_PEOPLE),
        region=throw.choice(_REGIONS),
        script=script,
        created=at,
        sizes=tuple(_size(plan, throw) for _ in range(batches)),
        strategies=tuple("PAUSE" if throw.random() < plan.pause_share else "CONTINUE" for _ in range(batches)),
        success_rate=throw.choice((100.0, 100.0, 95.0, 90.0, 80.0)),
        timeout=_timeout(plan, throw.choice((300, 600, 900, 1200))),
        median=plan.ms(median),
        failure=plan.failure_share * (2.2 if throw.random() < 0.35 else 0.35),  # noqa: PLR2004 - a third of the tickets have most of the trouble
        cancelled_at=throw.uniform(0.1, 0.9) if throw.random() < plan.cancelled_share else None,
    )


def _size(plan: Plan, throw: Random) -> int:
    return plan.instances if plan.exact else throw.randint(1, plan.instances)


def _timeout(plan: Plan, seconds: int) -> int:
    # The API takes whole seconds strictly between 5 and 1800.
    return min(1799, max(6, round(seconds / plan.speed))) * 1000
