"""What was counted once stays counted, and nothing is counted twice."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import instance

from exporter.poller.ledger import carried
from exporter.snapshot import Batch, Ticket


def told(*instances, index=1, **fields):
    return Ticket("SCT", "PROCESSING", batches=(Batch.of(index, len(instances), tuple(instances)),), **fields)


def failures(ticket):
    return sorted((failure.key for failure in ticket.failures()), key=str)


def executions(ticket):
    return sorted(((run.key, run.status, run.seconds) for run in ticket.executions()), key=str)


def through(*tickets):
    held = None
    for ticket in tickets:
        held = carried(held, ticket)
    return held


def failed(number=7, finished=10.0, duration=2.0, **fields):
    return instance(number, "ABNORMAL", finished, duration, **fields)


def test_the_first_reading_is_its_own_past():
    ticket = told(failed())
    assert carried(None, ticket) is ticket


def test_a_retried_failure_stays_counted():
    held = through(told(failed(reason="disk_full")), told(instance(7, "PROCESSING")))
    assert failures(held) == [(7, 10.0)]
    assert [failure.reason for failure in held.failures()] == ["disk_full"]
    assert executions(held) == [((7, 10.0), "ABNORMAL", 2.0)]


def test_a_second_failure_of_an_instance_counts_beside_the_first():
    held = through(told(failed()), told(instance(7, "PROCESSING")), told(failed(finished=20.0)))
    assert failures(held) == [(7, 10.0), (7, 20.0)]
    assert len(executions(held)) == 2


def test_a_failure_that_flaps_counts_once():
    back_and_forth = [told(failed()), told(instance(7, "PROCESSING"))] * 3
    held = through(*back_and_forth, told(failed()))
    assert failures(held) == [(7, 10.0)]
    assert len(executions(held)) == 1


def test_an_open_failure_whose_end_comes_later_is_the_same_one():
    held = through(told(failed(finished=None)), told(failed(finished=10.0)))
    assert failures(held) == [(7, 10.0)]
    assert executions(held) == [((7, 10.0), "ABNORMAL", 2.0)]


def test_an_open_failure_that_was_retried_is_not_the_one_that_ends_later():
    held = through(told(failed(finished=None)), told(instance(7, "PROCESSING")), told(failed(finished=20.0)))
    assert failures(held) == [(7, 20.0), (7, None)]


def test_an_open_failure_is_not_the_success_that_follows_it():
    held = through(told(failed(finished=None)), told(instance(7, "FINISHED", 20.0, 3.0)))
    assert failures(held) == [(7, None)]
    assert executions(held) == [((7, 20.0), "FINISHED", 3.0), ((7, None), "ABNORMAL", 2.0)]


@pytest.mark.parametrize(
    "otherwise",
    [
        {"reason": "timeout"},
        {"duration": 99.0},
        {"status": "ROLLBACKED"},
        {"status": "FINISHED"},
        {"duration": None},
    ],
    ids=str,
)
def test_what_is_told_differently_later_stays_as_it_was_first_counted(otherwise):
    first = failed(reason="disk_full")
    held = through(told(first), told(msgspec.structs.replace(first, **otherwise)))
    assert [(failure.key, failure.reason) for failure in held.failures()] == [((7, 10.0), "disk_full")]
    assert executions(held) == [((7, 10.0), "ABNORMAL", 2.0)]


def test_an_instance_that_vanished_stays_counted():
    held = through(told(failed(), instance(8, "FINISHED", 11.0, 3.0)), told())
    assert failures(held) == [(7, 10.0)]
    assert len(executions(held)) == 2


def test_two_instances_with_the_same_id_count_once():
    ticket = Ticket("S", "X", batches=(Batch.of(1, 1, (failed(),)), Batch.of(2, 1, (failed(),))))
    assert failures(ticket) == [(7, 10.0)]
    assert len(executions(ticket)) == 1


def test_a_batch_that_was_not_read_again_is_not_looked_into():
    batch = Batch(1, 1, b"what cannot be unpacked")
    with pytest.raises(msgspec.DecodeError):
        list(batch.executions())
    held = Ticket("S", "X", batches=(batch,), past_failures=(), late=frozenset({(1, 1.0)}))
    assert carried(held, Ticket("S", "X", batches=(batch,))).late == {(1, 1.0)}


def test_an_execution_learnt_of_after_a_later_one_is_late():
    first = told(instance(1, "FINISHED", 100.0, 5.0), instance(2, "PROCESSING"))
    held = through(first, told(instance(1, "FINISHED", 100.0, 5.0), instance(2, "FINISHED", 90.0, 9.0)))
    assert held.late == {(2, 90.0)}


def test_of_what_is_learnt_at_once_nothing_is_late():
    assert through(told(), told(instance(1, "FINISHED", 100.0, 5.0), instance(2, "FINISHED", 90.0, 9.0))).late == set()


STATES = st.builds(
    lambda number, status, finished, duration: instance(
        number, status, finished if status in ("ABNORMAL", "FINISHED", "ROLLBACKED") else None, duration
    ),
    st.integers(1, 3),
    st.sampled_from(["READY", "PROCESSING", "ABNORMAL", "FINISHED", "ROLLBACKED"]),
    st.sampled_from([None, 1.0, 2.0, 3.0]),
    st.sampled_from([None, 0.5, 2.0]),
)
PAGES = st.lists(STATES, max_size=3, unique_by=lambda state: state.id)


@settings(max_examples=60)
@given(st.lists(st.tuples(PAGES, PAGES), min_size=1, max_size=8))
def test_counts_never_fall_whatever_the_pages_tell(history):
    held = None
    failed_before = ended_before = 0
    for one, other in history:
        # Ids of batches differ, as those of the API do.
        apart = tuple(msgspec.structs.replace(state, id=state.id + 10) for state in other)
        ticket = Ticket("S", "X", batches=(Batch.of(1, 3, tuple(one)), Batch.of(2, 3, apart)))
        held = carried(held, ticket)
        assert len(failures(held)) == len(set(failures(held)))
        assert len(failures(held)) >= failed_before
        assert len(executions(held)) >= ended_before
        failed_before, ended_before = len(failures(held)), len(executions(held))
        assert {(state.id, state.finished) for state in (*one, *apart) if state.status == "ABNORMAL"} <= set(
            failures(held)
        )
