"""What follows from what is known: states, counts, and what is counted once."""

from __future__ import annotations

import dataclasses
import sys

import msgspec
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
    (failure,) = Batch.of(1, 1, (instance(7, "ABNORMAL", 5.0, 2.0),)).failures()
    assert failure == Failure(7, 5.0, 1, "other", "", 2.0)


def test_only_an_execution_that_ended_after_a_known_time_is_told():
    told = (
        instance(1, "FINISHED", 5.0, 2.0),
        instance(2, "PROCESSING", None, 2.0),
        instance(3, "FINISHED", 5.0, None),
        instance(4, "CANCELED", 5.0, 0.0),
        instance(5, "PARKED", 5.0, 1.0),
    )
    assert [run.instance_id for run in Batch.of(1, 5, told).executions()] == [1, 4]


def test_everything_that_is_published_is_frozen():
    kinds = [kind for kind in vars(snapshot).values() if dataclasses.is_dataclass(kind)]
    packed = [kind for kind in vars(snapshot).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    assert (len(kinds), len(packed)) >= (6, 8)
    assert all(kind.__dataclass_params__.frozen for kind in kinds)
    assert all(kind.__struct_config__.frozen for kind in packed)


def test_instances_come_back_from_a_batch_as_they_went_in():
    host = Host("r", "web-ä", "10.0.0.1", "cn-north-4", "a", "b", "c")
    told = (
        instance(2**63 - 1, "ABNORMAL", 5.5, 2.25, host=host, reason="disk_full", log_tail="no space\n\x00é"),
        instance(1, "READY"),
    )
    batch = Batch.of(3, 2, told)
    assert batch.instances == told
    assert batch.counts == {"ABNORMAL": 1, "READY": 1}


def test_a_status_is_not_mistaken_for_a_text_that_sounds_like_it():
    batch = Batch.of(1, 1, [instance(1, "READY", host=Host("r", "ABNORMAL"))])
    assert list(batch.in_status("ABNORMAL")) == []
    assert batch.counts == {"READY": 1}


def test_an_instance_takes_little_memory():
    host = Host("66006c8e-dc6b-45bb-a65b-6f8a3700392f", "web-0001", "10.0.12.34", "cn-north-4", "cn-north-4a")
    told = [instance(40_000_000 + number, "FINISHED", 1.767e9, 36.243, host=host) for number in range(10)]
    assert sys.getsizeof(Batch.of(1, 10, told).packed) < 10 * 150
