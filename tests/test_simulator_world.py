"""The simulated world is a pure function of plan, waves and time, and lives as the API's pages describe."""

from __future__ import annotations

import ast
import re
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import exporter.simulator as door
from exporter.simulator import Plan, PlanWorld, Wave
from exporter.simulator.life import live
from exporter.simulator.plan import brief, created, number_of, uuid_of

if TYPE_CHECKING:
    from exporter.simulator.model import Ticket

NOON = 1_767_323_045.0
FINAL = {"FINISHED", "CANCELED", "ROLLBACKED"}

plans = st.builds(
    Plan,
    seed=st.integers(0, 10**6),
    tickets=st.integers(1, 6),
    batches=st.integers(1, 20),
    instances=st.integers(1, 12),
    speed=st.sampled_from([0.5, 1.0, 10.0, 600.0]),
    failure_share=st.sampled_from([0.0, 0.05, 0.5]),
)
times = st.floats(NOON, NOON + 10**6)


def told(world: PlanWorld, now: float) -> list[bytes]:
    """Everything the API could tell of the world at ``now``, log texts included."""
    tickets = world.tickets(now)
    rows = [row.json for ticket in tickets for batch in ticket.batches for row in ticket.instances(batch.index)]
    return [ticket.head.listed + ticket.head.basic for ticket in tickets] + rows


def statuses(ticket: Ticket) -> dict[int, str]:
    return {row.id: row.status for batch in ticket.batches for row in ticket.instances(batch.index)}


def many(plan: Plan, number: int = 400) -> list[Ticket]:
    """Each ticket of a plan once, at some point of its life."""
    return [PlanWorld(plan).tickets(NOON + step * plan.period)[-1] for step in range(number)]


@settings(max_examples=25, deadline=None)
@given(plans, times, times)
def test_the_same_plan_and_time_tell_the_same_whatever_was_asked_before(plan: Plan, now: float, before: float) -> None:
    used = PlanWorld(plan)
    told(used, before)
    assert told(used, now) == told(PlanWorld(plan), now)


def test_two_seeds_tell_different_stories() -> None:
    assert told(PlanWorld(Plan(seed=1)), NOON) != told(PlanWorld(Plan(seed=2)), NOON)


@settings(max_examples=40, deadline=None)
@given(plans, times, st.floats(0, 600))
def test_time_turns_no_ended_instance_back_except_an_abnormal_one_that_is_retried(
    plan: Plan, now: float, later: float
) -> None:
    world = PlanWorld(plan)
    then = {ticket.head.uuid: statuses(ticket) for ticket in world.tickets(now)}
    for ticket in world.tickets(now + later):
        for instance_id, status in statuses(ticket).items():
            old = then.get(ticket.head.uuid, {}).get(instance_id)
            assert old not in FINAL or status == old
            assert old != "PROCESSING" or status != "READY"
            assert old != "ABNORMAL" or status != "READY"


@settings(max_examples=40, deadline=None)
@given(plans, times)
def test_counts_by_status_equal_the_instances_of_the_pages(plan: Plan, now: float) -> None:
    for ticket in PlanWorld(plan).tickets(now):
        counted = {status: number for status, (number, _) in ticket.counts.items()}
        assert counted == Counter(statuses(ticket).values())
        assert sum(counted.values()) == sum(batch.total for batch in ticket.batches)


@settings(max_examples=40, deadline=None)
@given(plans, times, st.floats(0.1, 1.0), st.floats(0, 2000))
def test_a_wave_of_failures_changes_nothing_before_it_begins(plan: Plan, now: float, share: float, ago: float) -> None:
    wave = (Wave(now, inf, share),)
    assert told(PlanWorld(plan, lambda: wave), now - ago) == told(PlanWorld(plan), now - ago)


@settings(max_examples=40, deadline=None)
@given(plans, times, st.floats(1, 600), st.floats(0, 600))
def test_ending_a_wave_changes_nothing_that_it_did(plan: Plan, now: float, length: float, ago: float) -> None:
    ended, open_end = (Wave(now, now + length, 0.7),), (Wave(now, inf, 0.7),)
    at = now + length - min(ago, length) - 0.01
    assert told(PlanWorld(plan, lambda: ended), at) == told(PlanWorld(plan, lambda: open_end), at)


def test_in_a_full_wave_every_run_that_ends_is_abnormal() -> None:
    plan = Plan(failure_share=0)
    wave = (Wave(NOON, inf, 1.0),)
    now = NOON + 3000
    rows = [
        row
        for ticket in PlanWorld(plan, lambda: wave).tickets(now)
        for batch in ticket.batches
        for row in ticket.instances(batch.index)
        if (row.finished or 0) >= NOON * 1000
    ]
    assert {row.status for row in rows} <= {"ABNORMAL", "CANCELED"}
    assert len(rows) > 20


def test_the_latest_tickets_are_visible_and_order_ids_grow_with_creation() -> None:
    heads = [ticket.head for ticket in PlanWorld(Plan(tickets=50)).tickets(NOON)]
    assert len(heads) == 50
    assert all(one.order_id < two.order_id and one.created < two.created for one, two in pairwise(heads))
    assert heads[-1].created <= NOON * 1000 < created(Plan(), heads[-1].order_id)


def test_before_the_epoch_there_are_no_tickets() -> None:
    assert PlanWorld(Plan()).tickets(Plan().epoch - 1) == []


def test_a_plan_that_ends_lets_its_tickets_finish_and_makes_no_more() -> None:
    calm = Plan(tickets=8, until=NOON, failure_share=0, cancelled_share=0, rollback_share=0, batches=2)
    world = PlanWorld(calm)
    before = [ticket.head.uuid for ticket in world.tickets(NOON)]
    later = world.tickets(NOON + 86_400)
    assert [ticket.head.uuid for ticket in later] == before
    assert {ticket.head.status for ticket in later} == {"FINISHED"}
    assert world.tickets(NOON + 86_401) is later


@pytest.mark.parametrize("wrong", [{"batches": 21}, {"instances": 0}, {"speed": 0}, {"failure_share": 2}])
def test_a_plan_out_of_bounds_says_which_number_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Plan(**wrong)


def test_a_ticket_that_left_the_window_is_not_found() -> None:
    world = PlanWorld(Plan(tickets=3))
    oldest = world.tickets(NOON)[0].head.uuid
    assert world.find(oldest, NOON) is not None
    assert world.find(oldest, NOON + 10 * Plan().period) is None


@given(st.integers(0, 10**6), st.integers(0, 10**7))
def test_an_execute_uuid_holds_its_number_and_its_creation_at_utc_plus_8(seed: int, number: int) -> None:
    plan = Plan(seed=seed)
    at = created(plan, number)
    uuid = uuid_of(plan, number, at)
    assert re.fullmatch(r"SCT\d{14}[0-9a-f]{9}", uuid)
    clock = datetime.fromisoformat(f"{uuid[3:11]}T{uuid[11:17]}+08:00")
    assert timedelta() <= datetime.fromtimestamp(at / 1000, clock.tzinfo) - clock < timedelta(seconds=1)
    assert number_of(plan, uuid) == number


@pytest.mark.parametrize("uuid", ["", "SCT1", "SCT20260102101532xyz4dfd6dc", "SCT20260102103527ffffffffff", "x" * 26])
def test_a_forged_execute_uuid_is_nobodys(uuid: str) -> None:
    assert PlanWorld(Plan()).find(uuid, NOON) is None


def test_every_ticket_status_and_every_instance_status_occurs() -> None:
    tickets = many(Plan(tickets=3, speed=1, failure_share=0.1, rollback_share=0.05), 300)
    olders = [ticket for step in range(60) for ticket in PlanWorld(Plan(tickets=10)).tickets(NOON + step * 900)]
    heads = Counter(ticket.head.status for ticket in tickets + olders)
    rows = Counter(status for ticket in tickets + olders for status in statuses(ticket).values())
    assert set(heads) == {"READY", "PROCESSING", "PAUSED", "ABNORMAL", "CANCELED", "FINISHED"}
    assert set(rows) == {"READY", "PROCESSING", "ABNORMAL", "CANCELED", "FINISHED", "ROLLBACKED"}


def test_failures_have_the_share_that_was_planned() -> None:
    plan = Plan(failure_share=0.1, cancelled_share=0)
    lives = [live(plan, brief(plan, number)) for number in range(300)]
    first = [runs[0].outcome for life in lives for batch in life.batches for runs in batch.runs if runs]
    assert 0.06 < first.count("ABNORMAL") / len(first) < 0.16


def test_batches_are_executed_in_order() -> None:
    plan = Plan(failure_share=0.1)
    for number in range(100):
        batches = [batch for batch in live(plan, brief(plan, number)).batches if any(batch.runs)]
        for one, two in pairwise(batches):
            last = max(runs[-1].end for runs in one.runs)
            assert last <= min(run.start for runs in two.runs for run in runs)


def test_a_batch_that_pauses_is_followed_by_a_pause_and_then_by_the_next_batch() -> None:
    plan = Plan(pause_share=1, failure_share=0, cancelled_share=0, exact=True, batches=3)
    steps = [step.status for step in live(plan, brief(plan, 5)).steps]
    assert steps == ["READY", "PROCESSING", "PAUSED", "PROCESSING", "PAUSED", "PROCESSING", "FINISHED"]


def test_a_retried_instance_runs_again_and_gets_new_times() -> None:
    plan = Plan(failure_share=0.3)
    lives = (live(plan, brief(plan, number)) for number in range(50))
    retried = [runs for life in lives for batch in life.batches for runs in batch.runs if len(runs) == 2]
    assert retried
    assert all(one.outcome == "ABNORMAL" and one.end < two.start <= two.end for one, two in retried)


def test_an_abnormal_ticket_that_nobody_continues_has_no_end() -> None:
    heads = [ticket.head for ticket in PlanWorld(Plan(tickets=300, failure_share=0.2)).tickets(NOON)[:200]]
    stuck = [head for head in heads if head.status == "ABNORMAL"]
    assert stuck
    assert all(head.finished is None and head.costs is None for head in stuck)


def test_durations_are_milliseconds_and_a_tickets_can_be_off_by_one() -> None:
    tickets = PlanWorld(Plan(tickets=60)).tickets(NOON)
    ended = [t.head for t in tickets if t.head.finished is not None]
    off = {head.costs - (head.finished - head.created) for head in ended if head.costs and head.finished}
    assert off == {0, 1}
    for ticket in tickets:
        for batch in ticket.batches:
            for row in (instance.body() for instance in ticket.instances(batch.index)):
                whole = row["gmt_finished"] is not None
                assert row["execute_costs"] == (row["gmt_finished"] - row["gmt_created"] if whole else None)


def test_speed_shortens_everything_but_leaves_the_clock_alone() -> None:
    slow, fast = (PlanWorld(Plan(speed=speed)).tickets(NOON) for speed in (1, 30))
    span = [tickets[-1].head.created - tickets[0].head.created for tickets in (slow, fast)]
    assert span[0] / span[1] == pytest.approx(30, rel=0.1)
    assert fast[-1].head.created <= NOON * 1000


def test_an_exact_plan_gives_every_ticket_all_its_instances_with_ids_that_are_markers() -> None:
    world = PlanWorld(Plan(tickets=2, batches=3, instances=1000, exact=True))
    ids = [instance_id for ticket in world.tickets(NOON) for instance_id in statuses(ticket)]
    assert len(set(ids)) == 6000
    assert ids == sorted(ids)
    assert 0 < ids[0] < ids[-1] < 2**31


def test_hosts_have_the_gaps_that_real_answers_have() -> None:
    bodies = [
        row.body()
        for ticket in PlanWorld(Plan(tickets=40)).tickets(NOON)
        for batch in ticket.batches
        for row in ticket.instances(batch.index)
    ]
    targets = [body["target_instance"] for body in bodies]
    assert all(re.fullmatch(r"[0-9a-f-]{36}", target["resource_id"]) for target in targets)
    assert {"absent", None, "ECS", "hcss"} == {target.get("provider", "absent") for target in targets}
    assert {None, "l-instance", "CLOUDSERVER"} <= {target.get("type") for target in targets}
    assert any(target.get("properties", 0) is None for target in targets)
    assert any((target.get("properties") or {}).get("fixed_ip", 0) is None for target in targets)
    assert {None, list} == {type(a) if (a := t.get("custom_attributes")) else None for t in targets}
    assert any("agent_version" in target for target in targets)
    assert 0 < sum("cmd_uuid" in body for body in bodies) < len(bodies)


@pytest.mark.parametrize(
    "text",
    [
        "No space left on device",
        "execute script timeout",
        "Permission denied",
        "Unable to locate package",
        "command not found",
        "Out of memory",
        "Network is unreachable",
        "dpkg/lock",
        "yum lock",
        "non-zero exit code",
    ],
)
def test_failures_leave_believable_logs(text: str) -> None:
    assert any(text in log for log in failure_logs())


def failure_logs() -> list[str]:
    world = PlanWorld(Plan(tickets=60, failure_share=0.4))
    rows = [r for t in world.tickets(NOON) for batch in t.batches for r in t.instances(batch.index)]
    return [row.body()["message"] for row in rows if row.status == "ABNORMAL"]


def test_the_simulator_imports_no_other_room() -> None:
    for file in Path(door.__file__).parent.glob("*.py"):
        names = [
            name
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            for name in imported(node)
            if name.split(".")[0] == "exporter"
        ]
        assert all(name.startswith("exporter.simulator") for name in names), file


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
