"""What follows from what is known: states, counts, and what is counted once."""

from __future__ import annotations

import dataclasses

import pytest
from rigs import instance, ticket_of

from exporter import snapshot
from exporter.snapshot import Batch, Failure, Fault, Host, Reading, Watch

FAULT = Fault("timeout", "no answer", 1.0)


def reading(ticket=None, **fields):
    return Reading(Watch("prod", "SCT1", **fields.pop("watch", {})), ticket, **fields)


@pytest.mark.parametrize(
    ("status", "batches", "settled"),
    [
        ("FINISHED", ("FFA",), True),
        ("CANCELED", ("CR",), True),
        ("ROLLBACKED", ("B",), True),
        ("FINISHED", ("FP",), False),
        ("ABNORMAL", ("FA",), False),
        ("PAUSED", ("FR",), False),
        ("PROCESSING", ("FF",), False),
        ("PARKED", ("FF",), False),
    ],
)
def test_a_ticket_is_settled_when_nothing_of_it_can_change(status, batches, settled):
    assert ticket_of(*batches, status=status).settled is settled


@pytest.mark.parametrize(
    ("known", "state", "up"),
    [
        (reading(), "active", False),
        (reading(tried=1.0, fault=FAULT), "failed", False),
        (reading(ticket_of("P"), tried=1.0), "active", True),
        (reading(ticket_of("F", status="FINISHED"), tried=1.0), "finished", True),
        (reading(ticket_of("F", status="FINISHED"), tried=1.0, fault=FAULT), "failed", False),
    ],
)
def test_a_reading_is_in_one_state(known, state, up):
    assert (known.state, known.up) == (state, up)


def test_a_ticket_has_the_name_that_somebody_gave_it():
    named = ticket_of("F", script_name="patch")
    assert reading().name == "SCT1"
    assert reading(named).name == "patch"
    assert reading(named, watch={"name": "nightly"}).name == "nightly"


def test_a_host_is_called_by_what_is_known_of_it():
    assert Host("r", "web-1", "10.0.0.1").label == "web-1"
    assert Host("r", "", "10.0.0.1").label == "10.0.0.1"
    assert Host("r").label == "r"


def test_a_failure_without_a_reason_has_another():
    (failure,) = Batch(1, 1, (instance(7, "ABNORMAL", 5.0, 2.0),)).failures()
    assert failure == Failure(7, 5.0, 1, "other", "", 2.0)


def test_only_an_execution_that_ended_after_a_known_time_is_told():
    told = (
        instance(1, "FINISHED", 5.0, 2.0),
        instance(2, "PROCESSING", None, 2.0),
        instance(3, "FINISHED", 5.0, None),
        instance(4, "CANCELED", 5.0, 0.0),
        instance(5, "PARKED", 5.0, 1.0),
    )
    assert [run.instance_id for run in Batch(1, 5, told).executions()] == [1, 4]


def test_everything_that_is_published_is_frozen():
    kinds = [kind for kind in vars(snapshot).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) >= 12
    assert all(kind.__dataclass_params__.frozen for kind in kinds)
