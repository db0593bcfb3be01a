"""Requests are saved where statistics prove that nothing changed; what they cannot show is stated, and healed."""

from __future__ import annotations

from collections import Counter

import pytest
from conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import LETTERS, Played, counts, statistics_of, ticket_of

from exporter.poller.thrift import changed_batches, unexplained_batches
from exporter.snapshot import Statistics, StatusCount

UUID = "SCT1"

# What the statistics tell, batch by batch.


@pytest.mark.parametrize(
    ("before", "now", "read"),
    [
        (("FF", "PP", "RR"), ("FF", "PP", "RR"), ()),
        (("FF", "PP", "RR"), ("FF", "FP", "RR"), (2,)),
        (("FF", "PP", "RR"), ("FF", "FF", "PR"), (2, 3)),
        (("FA", "PR", "RR"), ("FA", "FR", "RR"), (2,)),
        (("FA", "FA", "PP"), ("FA", "FA", "FP"), (3,)),
        (("FA", "FA", "PF"), ("FA", "FA", "AF"), (3,)),
        (("FA", "FP"), ("FF", "FP"), (1, 2)),
        (("FF", "FF"), ("FF", "FP"), (2,)),
        (("FF", "FF"), ("FB", "FF"), (1,)),
        (("FFB", "FF", "PP"), ("FBB", "FF", "PP"), ()),
        (("FFB", "FB", "PF"), ("FFB", "FB", "FF"), (3,)),
        (("RR", "RR"), ("CC", "CC"), (1, 2)),
        (("RR", "FF"), ("RRR", "FF"), (1, 2)),
    ],
)
def test_a_batch_is_read_again_when_statistics_leave_room_for_a_change(before, now, read):
    held = ticket_of(*before)
    assert changed_batches(held, ticket_of(*now).statistics) == set(read)


def test_without_batch_indexes_every_batch_that_can_change_is_read_again():
    held = ticket_of("FF", "FA", "PP")
    now = Statistics(6, (StatusCount("FINISHED", 4, frozenset()), StatusCount("ABNORMAL", 1, frozenset())))
    assert changed_batches(held, now) == {2, 3}


def test_a_row_that_the_api_leaves_out_is_no_change_of_the_batches_that_hold_it():
    held = ticket_of("FB", "PP")
    unlisted = [row for row in statistics_of(held.batches).rows if row.status != "ROLLBACKED"]
    before = ticket_of("FB", "PP", statistics=Statistics(4, tuple(unlisted)))
    now = [row for row in statistics_of(ticket_of("FB", "FP").batches).rows if row.status != "ROLLBACKED"]
    assert changed_batches(before, Statistics(4, tuple(now))) == {2}


@pytest.mark.parametrize(
    ("before", "now", "read"),
    [
        (("FA", "FA", "PF", "FF"), ("FF", "FA", "AF", "FF"), (1, 2)),
        (("FFB", "FF", "PP"), ("FBB", "FF", "PP"), (1,)),
        (("FF", "FF", "PR"), ("FF", "FF", "FR"), ()),
    ],
)
def test_what_pages_and_statistics_still_differ_by_leads_to_batches_that_can_account_for_it(before, now, read):
    held, after = ticket_of(*before), ticket_of(*now)
    fresh = {3: after.batches[2]}
    assert unexplained_batches(held, fresh, after.statistics) == set(read)
    fresh |= {index: after.batches[index - 1] for index in read}
    assert unexplained_batches(held, fresh, after.statistics) == frozenset()


def test_what_passed_into_a_status_that_the_api_lists_nowhere_is_looked_for_everywhere():
    held = ticket_of("FF", "PF")
    now = Statistics(4, (StatusCount("FINISHED", 2, frozenset({1, 2})), StatusCount("PROCESSING", 1, frozenset({2}))))
    assert changed_batches(held, now) == {2}
    assert unexplained_batches(held, {2: held.batches[1]}, now) == {1}


def test_a_difference_that_was_there_before_leads_nowhere():
    wrong = Statistics(4, (StatusCount("FINISHED", 1, frozenset({1})), StatusCount("PROCESSING", 2, frozenset({2}))))
    held = ticket_of("FF", "PP", statistics=wrong)
    assert unexplained_batches(held, {}, wrong) == frozenset()


# The same as reading everything, at every poll.

MOVES = st.lists(st.tuples(st.integers(0, 11), st.sampled_from("RPAFCB") | st.sampled_from("PAF")), max_size=5)


class Twin:
    """One world polled with thrift, and the truth beside it; what a full reading would have counted is kept too."""

    def __init__(self, sizes):
        self.played = Played()
        self.ticket = self.played.script.ticket(UUID, list(sizes))
        self.poller = self.played.poller(UUID)
        self.failed = set()
        self._answer = self.played._handler
        self.played._handler = self._moving
        self._during = {}
        self._asked = 0

    def _moving(self, request):
        for move in self._during.pop(self._asked, ()):
            self.live(*move)
        self._asked += 1
        return self._answer(request)

    def move(self, position, letter):
        ids = self.ticket.ids()
        self.played.clock.advance(0.001)
        self.ticket.set(ids[position % len(ids)], LETTERS[letter])

    def live(self, position, letter):
        """Move an instance as the API lets them move, or not at all."""
        ids = self.ticket.ids()
        status = self.ticket.instance(ids[position % len(ids)]).status
        if letter in LIVES[next(known for known, name in LETTERS.items() if name == status)]:
            self.move(position, letter)

    def poll(self, during=None):
        """Poll once; ``during`` tells what moves, by the number of requests before it."""
        self._during, self._asked = dict(during or {}), 0
        run(self.poller.poll())
        rows = [(index, row) for index in self.indexes() for row in self.ticket.instances(index)]
        self.failed |= {(row.id, row.finished / 1000) for _, row in rows if row.status == "ABNORMAL"}
        self.played.clock.advance(30)

    def indexes(self):
        return [batch.index for batch in self.ticket.batches]

    def truth(self):
        return {index: Counter(row.status for row in self.ticket.instances(index)) for index in self.indexes()}

    @property
    def shown(self):
        return self.poller.readings[UUID].shown


def total(by_batch):
    return sum((Counter(counted) for counted in by_batch.values()), Counter())


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), evolution=st.lists(MOVES, max_size=6))
def test_thrift_misses_only_changes_that_cancel_out_and_a_full_reading_heals_them(sizes, evolution):
    twin = Twin(sizes)
    twin.poll()
    for moves in evolution:
        for move in moves:
            twin.move(*move)
        twin.poll()
        shown, truth = counts(twin.shown), twin.truth()
        # Every count of the ticket is right, and so is every batch's set of statuses: what is missed cancels out.
        assert total(shown) == total(truth)
        assert {index: set(counted) for index, counted in shown.items()} == {
            index: set(counted) for index, counted in truth.items()
        }
        assert twin.shown.disagreement == 0
        told = {failure.key for failure in twin.shown.failures()}
        assert told <= twin.failed
    twin.played.clock.advance(3600)
    twin.poll()
    assert counts(twin.shown) == twin.truth()
    present = {
        (row.id, row.finished / 1000)
        for index in twin.indexes()
        for row in twin.ticket.instances(index)
        if row.status == "ABNORMAL"
    }
    assert present <= {failure.key for failure in twin.shown.failures()}


LIVES = {"R": "P", "P": "FFFAC", "A": "PF", "F": "FB", "C": "C", "B": "B"}


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    choices=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 11), st.integers(0, 9)), max_size=25),
)
def test_while_one_batch_changes_between_two_polls_every_count_of_every_batch_is_right(sizes, choices):
    twin = Twin(sizes)
    twin.poll()
    letters = {status: letter for letter, status in LETTERS.items()}
    for batch, position, choice in choices:
        ids = twin.ticket.ids(batch % len(sizes) + 1)
        number = ids[position % len(ids)]
        life = LIVES[letters[twin.ticket.instance(number).status]]
        twin.ticket.set(number, LETTERS[life[choice % len(life)]])
        twin.poll()
        assert counts(twin.shown) == twin.truth()
        assert {failure.key for failure in twin.shown.failures()} == twin.failed


@settings(max_examples=30)
@given(
    changes=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 2), st.sampled_from("RPF")),
            st.tuples(st.just("drop"), st.integers(0, 20), st.just("")),
            st.tuples(st.just("batch"), st.integers(1, 3), st.just("")),
        ),
        max_size=6,
    )
)
def test_a_ticket_that_grows_or_shrinks_is_always_shown_as_it_is(changes):
    twin = Twin([2, 2])
    twin.poll()
    for kind, number, letter in changes:
        if kind == "add":
            twin.ticket.add(number % 2 + 1, LETTERS[letter])
        elif kind == "batch":
            twin.ticket.add_batch(number)
        elif len(twin.ticket.ids()) > 1:
            twin.ticket.drop(twin.ticket.ids()[number % len(twin.ticket.ids())])
        twin.poll()
        assert total(counts(twin.shown)) == total(twin.truth())
        assert {batch.index: batch.stated for batch in twin.shown.batches} == {
            batch.index: batch.total for batch in twin.ticket.batches
        }


# While the world moves between the requests of one poll.


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    evolution=st.lists(st.tuples(MOVES, st.dictionaries(st.integers(0, 6), MOVES, max_size=3), MOVES), max_size=4),
)
def test_a_poll_in_a_world_at_rest_is_right_whatever_moved_during_those_before_it(sizes, evolution):
    twin = Twin(sizes)
    for before, during, after in evolution:
        for move in before:
            twin.live(*move)
        twin.poll(during)
        for move in after:
            twin.live(*move)
        twin.poll()
        assert total(counts(twin.shown)) == total(twin.truth())
        assert twin.shown.disagreement == 0


def test_a_failure_that_only_its_page_told_and_that_is_retried_at_once_does_not_stay():
    """The statistics of the next poll are those of the last: they cannot tell that anything changed."""
    twin = Twin([3])
    for position in range(3):
        twin.move(position, "P")
    twin.poll()
    twin.move(0, "F")
    twin.poll(during={1: [(1, "A")]})
    assert counts(twin.shown) == {1: {"FINISHED": 1, "ABNORMAL": 1, "PROCESSING": 1}}
    twin.move(1, "P")
    twin.poll()
    assert counts(twin.shown) == twin.truth()


# What statistics cannot show.


def test_two_instances_of_a_batch_that_change_places_are_seen_by_the_full_refresh():
    twin = Twin([2])
    one, other = twin.ticket.ids()
    twin.ticket.set(one, "ABNORMAL")
    twin.ticket.set(other, "PROCESSING")
    twin.poll()
    twin.ticket.set(one, "PROCESSING")
    twin.ticket.set(other, "ABNORMAL")
    twin.poll()
    assert {i.id: i.status for _, i in twin.shown.instances()} == {one: "ABNORMAL", other: "PROCESSING"}
    twin.played.clock.advance(3600)
    twin.poll()
    assert {i.id: i.status for _, i in twin.shown.instances()} == {one: "PROCESSING", other: "ABNORMAL"}
    assert {failure.instance_id for failure in twin.shown.failures()} == {one, other}


def test_an_instance_that_failed_again_between_two_polls_is_seen_by_the_full_refresh():
    twin = Twin([1])
    (one,) = twin.ticket.ids()
    twin.ticket.set(one, "ABNORMAL")
    twin.poll()
    twin.ticket.set(one, "ABNORMAL")
    twin.poll()
    assert len(list(twin.shown.failures())) == 1
    twin.played.clock.advance(3600)
    twin.poll()
    assert len(list(twin.shown.failures())) == 2


def test_what_statistics_could_not_show_is_read_when_the_ticket_ends():
    twin = Twin([2, 2])
    one, other, *_ = twin.ticket.ids()
    twin.ticket.set(one, "ABNORMAL")
    twin.ticket.set(other, "PROCESSING")
    twin.poll()
    twin.ticket.set(one, "PROCESSING")
    twin.ticket.set(other, "ABNORMAL")
    twin.poll()
    twin.ticket.finish()
    twin.poll()
    assert twin.shown.settled
    assert {i.id: i.status for _, i in twin.shown.instances()}[other] == "ABNORMAL"
    assert {failure.instance_id for failure in twin.shown.failures()} == {one, other}


def test_statistics_that_always_lack_a_row_cost_nothing_while_nothing_changes():
    twin = Twin([3, 3])
    twin.played.controls.set(drop_statistics=True)
    for _ in range(2):
        # Once more than the first time: it could have been a change between two requests.
        twin.poll()
    twin.played.asked()
    twin.poll()
    assert set(twin.played.asked()) <= {"statistics", "ticket"}
    assert twin.shown.disagreement == 6


def test_a_failure_that_statistics_could_not_show_is_counted_when_the_ticket_ends():
    twin = Twin([2, 1])
    one, other, last = twin.ticket.ids()
    twin.ticket.set(one, "ABNORMAL")
    twin.ticket.set(other, "FINISHED")
    twin.ticket.set(last, "PROCESSING")
    twin.poll()
    twin.ticket.set(one, "ABNORMAL")
    twin.ticket.set(last, "FINISHED")
    twin.ticket.status("FINISHED")
    twin.poll()
    assert twin.shown.settled
    assert len(list(twin.shown.failures())) == 2


class Moving(Twin):
    """A world that changes while it is read: right after the answer to one operation."""

    def after(self, operation, change):
        played = self.played._handler

        def handler(request):
            answer = played(request)
            if self.played.simulator.log[-1].operation == operation:
                self.played._handler = played
                change()
            return answer

        self.played._handler = handler


@pytest.mark.parametrize("operation", ["statistics", "ticket"])
@pytest.mark.parametrize("seen", [True, False], ids=["later visit", "first visit"])
def test_a_ticket_that_ends_while_it_is_read_is_shown_as_it_ended(operation, seen):
    twin = Moving([2, 1])
    first, second, third = twin.ticket.ids()
    twin.ticket.set(first, "PROCESSING")
    if seen:
        twin.poll()
        twin.ticket.set(first, "FINISHED")

    def end():
        twin.ticket.set(first, "FINISHED")
        twin.ticket.set(second, "CANCELED")
        twin.ticket.set(third, "CANCELED")
        twin.ticket.status("CANCELED")

    twin.after(operation, end)
    for _ in range(3):
        twin.poll()
    assert twin.shown.settled
    assert counts(twin.shown) == twin.truth()
    assert twin.shown.disagreement == 0


@pytest.mark.parametrize("status", ["PROCESSING", "PARKED"])
def test_a_ticket_in_which_nothing_runs_any_more_is_asked_for_its_own_status(status):
    twin = Twin([1])
    (one,) = twin.ticket.ids()
    twin.ticket.set(one, "FINISHED")
    twin.ticket.status(status)
    twin.poll()
    twin.ticket.status("FINISHED")
    twin.poll()
    assert twin.shown.status == "FINISHED"


def test_a_ticket_that_waits_to_begin_is_watched_by_its_statistics_alone():
    twin = Twin([1])
    twin.ticket.status("READY")
    twin.poll()
    twin.played.asked()
    twin.poll()
    assert twin.played.asked() == {"statistics": 1}
