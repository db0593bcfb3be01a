"""When a ticket is due and in which order, whatever the clock does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rigs import ticket_of

from exporter.poller.schedule import Cadence, due, is_stale, needs_full
from exporter.poller.watchlist import adopted, aged, followed
from exporter.snapshot import Fault, Reading, Watch

NOW = 1_700_000_000.0
CADENCE = Cadence(30.0, 300.0, 3600.0)
FAULT = Fault("timeout", "no answer", NOW)


def reading(uuid="S", ticket=None, **fields):
    watch = Watch("prod", uuid, listed=fields.pop("listed", True))
    return Reading(watch, ticket, **fields)


def read(uuid="S", status="PROCESSING", ago=30.0, **fields):
    ticket = ticket_of("PF" if status == "PROCESSING" else "FF", status=status, created=NOW - 5000)
    then = NOW - ago
    return reading(uuid, ticket, **({"last_success": then, "refreshed": then, "tried": then} | fields))


def order(*readings):
    return [found.watch.execute_uuid for found in due(readings, NOW, CADENCE)]


def test_tickets_never_tried_come_first_and_then_those_tried_longest_ago():
    assert order(read("new", ago=30), read("old", ago=900), reading("never")) == ["never", "old", "new"]


def test_tickets_that_can_never_be_read_do_not_go_before_all_others_for_ever():
    hopeless = reading("hopeless", fault=FAULT, tried=NOW - 30)
    assert order(hopeless, read("waiting", ago=60)) == ["waiting", "hopeless"]


def test_order_is_the_same_for_the_same_age():
    assert order(read("b"), read("a")) == ["a", "b"]


@pytest.mark.parametrize("status", ["FINISHED", "CANCELED", "ROLLBACKED"])
def test_a_settled_ticket_is_never_due(status):
    assert order(read(status=status, ago=1e6)) == []


def test_a_ticket_that_ended_is_due_while_an_instance_still_runs():
    still = replace(read(), ticket=ticket_of("PF", status="FINISHED"))
    assert order(still) == ["S"]


@pytest.mark.parametrize("status", ["ABNORMAL", "PAUSED"])
def test_a_ticket_that_waits_for_an_operator_is_visited_every_fourth_poll(status):
    dues = [order(read(status=status, ago=ago)) == ["S"] for ago in (30, 60, 90, 106, 120)]
    assert dues == [False, False, False, True, True]


def test_a_waiting_ticket_that_failed_is_due_at_once():
    assert order(read(status="PAUSED", ago=1, fault=FAULT)) == ["S"]


@pytest.mark.parametrize("ago", [-86400, -1])
def test_a_clock_that_was_set_back_makes_a_waiting_ticket_due_and_a_full_reading_needed(ago):
    jumped = read(status="PAUSED", ago=ago)
    assert order(jumped) == ["S"]
    assert needs_full(jumped, NOW, CADENCE)


def test_every_batch_is_read_again_after_the_full_refresh():
    assert [needs_full(read(ago=ago), NOW, CADENCE) for ago in (0, 3599, 3600, 1e6)] == [False, False, True, True]
    assert needs_full(reading(), NOW, CADENCE)


@pytest.mark.parametrize(("ago", "stale"), [(0, False), (299, False), (300, True), (-60, True), (1e6, True)])
def test_a_ticket_that_fails_is_stale_when_its_data_is_too_old_or_its_age_unknown(ago, stale):
    assert is_stale(read(ago=ago, fault=FAULT), NOW, 300) is stale


def test_a_ticket_that_does_not_fail_is_never_stale():
    assert not is_stale(read(ago=1e6), NOW, 300)


# What is held.


def test_nothing_that_did_not_change_becomes_another_object():
    held = {"S": read()}
    again = adopted(held, [held["S"].watch])
    assert again["S"] is held["S"]
    assert aged(again, NOW, CADENCE, 86400)["S"] is held["S"]


def test_new_words_of_the_config_are_laid_over_what_is_known():
    held = {"S": read()}
    named = replace(held["S"].watch, name="nightly", labels={"team": "web"})
    assert adopted(held, [named])["S"] == replace(held["S"], watch=named)


def test_of_other_batches_nothing_is_known():
    held = {"S": read()}
    assert adopted(held, [replace(held["S"].watch, batches=frozenset({1}))])["S"].ticket is None


def test_stale_data_is_hidden_once_and_read_whole_next():
    held = {"S": read(ago=400, fault=FAULT)}
    first = aged(held, NOW, CADENCE, 86400)
    assert (first["S"].stale, first["S"].refreshed, first["S"].shown) == (True, None, None)
    assert aged(first, NOW, CADENCE, 86400)["S"] is first["S"]


def over(ago, **fields):
    ticket = ticket_of("FF", status="FINISHED", created=NOW - 2 * ago, finished=NOW - ago)
    return reading(ticket=ticket, last_success=NOW, tried=NOW, **fields)


@pytest.mark.parametrize(("ago", "listed", "held"), [(10, False, True), (200, False, False), (200, True, True)])
def test_a_discovered_ticket_that_is_long_over_is_let_go_and_a_listed_one_never(ago, listed, held):
    assert bool(aged({"S": over(ago, listed=listed)}, NOW, CADENCE, 100)) is held


def test_a_ticket_whose_end_the_api_never_told_is_as_old_as_itself():
    nameless = reading(ticket=ticket_of("F", status="FINISHED", created=NOW - 200), listed=False)
    assert aged({"S": nameless}, NOW, CADENCE, 100) == {}


@pytest.mark.parametrize(
    ("kept", "fields"),
    [
        (True, {}),
        (True, {"fault": FAULT}),
        (True, {"fault": FAULT, "stale": True, "ago": 400}),
        (False, {"fault": FAULT, "stale": True, "ago": 900}),
        (True, {"ago": 900}),
        (True, {"fault": replace(FAULT, reason="not_found")}),
        (False, {"fault": replace(FAULT, reason="not_found"), "stale": True, "ago": 400}),
    ],
)
def test_a_discovered_ticket_is_followed_until_it_cannot_be_read_for_long(kept, fields):
    held = {"S": read(listed=False, **fields)}
    assert [known.watch for known in followed(held, NOW, 500)] == ([held["S"].watch] if kept else [])


def test_a_listed_ticket_and_one_never_read_are_not_followed():
    assert list(followed({"L": read(), "N": reading("N", listed=False)}, NOW, 500)) == []
