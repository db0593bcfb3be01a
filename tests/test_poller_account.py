"""One account's poll over a simulated API: what is asked, what is shown, and what a failure costs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

import pytest
from conftest import run
from rigs import Played, World, counts, stage, tickets

from exporter.poller import account
from exporter.simulator import api

FAILURES = "coc_exporter_poll_failures_total"
ONE, TWO, THREE = "SCT1", "SCT2", "SCT3"


@pytest.fixture(scope="module")
def held():
    with stage() as held:
        yield held


@pytest.fixture
def world(held):
    return World(held)


class Polls:
    """A poller whose polls share one loop, a poll each 30 seconds of the clock."""

    def __init__(self, world, *uuids, **fields):
        self.world = world
        self.poller = world.poller(*uuids, **fields)
        self.runner = asyncio.Runner()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.runner.run(self.poller.api.aclose())
        self.runner.close()

    def __call__(self, advance=30.0):
        """Poll once, and return what was asked."""
        self.world.asked()
        self.runner.run(self.poller.poll())
        self.world.clock.advance(advance)
        return self.world.asked()

    def __getitem__(self, uuid):
        return self.poller.readings[uuid]

    @property
    def state(self):
        return self.poller.state

    @property
    def shown(self):
        return sorted(self.poller.readings)


@pytest.fixture
def polls(world):
    with ExitStack() as opened:
        yield lambda *uuids, **fields: opened.enter_context(Polls(world, *uuids, **fields))


@pytest.fixture
def many():
    """Yield a world without sockets, for what takes thousands of requests, and a way to poll it."""

    def played(**limits):
        return Played(**limits)

    with ExitStack() as opened:
        yield played, lambda world, *uuids, **fields: opened.enter_context(Polls(world, *uuids, **fields))


# What is asked.


def test_a_first_reading_asks_for_everything_once(world, polls):
    world.script.ticket(ONE, [3, 2])
    polled = polls(ONE)
    assert polled() == {"statistics": 1, "ticket": 1, "batches": 1, "batch_page": 2}
    assert counts(polled[ONE].shown) == {1: {"READY": 3}, 2: {"READY": 2}}
    assert (polled[ONE].up, polled[ONE].state) == (True, "active")


def test_a_ticket_that_ended_costs_nothing_any_more(world, polls):
    world.script.ticket(ONE, [3]).finish()
    polled = polls(ONE)
    polled()
    assert [polled() for _ in range(5)] == [{}] * 5
    assert polled[ONE].state == "finished"
    assert polled.state.accepted


def test_only_the_watched_batches_are_read(world, polls):
    ticket = world.script.ticket(ONE, [3, 2, 1])
    polled = polls(watch=tickets(ONE, batches=[1, 3]))
    assert polled()["batch_page"] == 2
    assert counts(polled[ONE].shown) == {1: {"READY": 3}, 3: {"READY": 1}}
    ticket.set(ticket.ids(2)[0], "PROCESSING")
    assert "batch_page" not in polled()
    assert polled[ONE].shown.disagreement == 0


def test_a_capped_page_and_a_descending_listing_change_nothing_but_the_number_of_requests(world, polls):
    ticket = world.script.ticket(ONE, [7])
    world.controls.set(page_cap=2, descending=True, overlap=True)
    polled = polls(ONE)
    assert polled()["batch_page"] > 3
    assert sorted(i.id for _, i in polled[ONE].shown.instances()) == ticket.ids()


def lived(ticket, batches):
    """Live a ticket through its batches in order; yield before each poll."""
    for index in range(1, batches + 1):
        ids = ticket.ids(index)
        for number in ids:
            ticket.set(number, "PROCESSING")
        yield
        for number in ids[: len(ids) // 2]:
            ticket.set(number, "FINISHED")
        yield
        for number in ids[len(ids) // 2 :]:
            ticket.set(number, "ABNORMAL" if number == ids[-1] and index % 3 == 0 else "FINISHED")
    ticket.status("FINISHED")
    yield


def test_a_running_ticket_of_twenty_batches_costs_at_most_four_requests_a_poll(world, polls):
    ticket = world.script.ticket(ONE, [10] * 20)
    polled = polls(ONE)
    polled()
    costs = []
    for _ in lived(ticket, 20):
        costs.append(sum(polled().values()))
        assert counts(polled[ONE].shown) == {
            index: {status: number for status, (number, _) in found.items()}
            for index, found in by_batch(ticket).items()
        }
    # The end is read once more: of every batch in which something failed.
    assert max(costs[:-1]) <= 4
    assert costs[-1] <= 10
    assert polled() == {}


def by_batch(ticket):
    found = {}
    for batch in ticket.batches:
        for instance in ticket.instances(batch.index):
            number, _ = found.setdefault(batch.index, {}).get(instance.status, (0, None))
            found[batch.index][instance.status] = number + 1, None
    return found


def test_of_a_hundred_tickets_three_that_run_cost_at_most_thirteen_requests_with_the_listing(many):
    played, polls = many
    world = played()
    running = []
    for number in range(100):
        ticket = world.script.ticket(f"SCT{number}", [4, 4])
        running.append(ticket) if number >= 97 else ticket.finish()
    polled = polls(world, discovery={})
    polled()
    for _ in range(3):
        for ticket in running:
            ready = [i for i in ticket.ids() if ticket.instance(i).status == "READY"]
            ticket.set(ready[0], "FINISHED")
        assert sum(polled().values()) <= 13


def test_a_thousand_finished_tickets_cost_only_the_listing(many):
    played, polls = many
    world = played()
    for number in range(1000):
        world.script.ticket(f"SCT{number}").finish()
    polled = polls(world, discovery={"max_tickets": 1000})
    polled()
    assert polled() == {"list_tickets": 10}
    assert len(polled.shown) == 1000


def test_tickets_over_longer_than_they_are_kept_are_not_read_again_and_again(world, polls):
    for number in range(5):
        world.script.ticket(f"SCT{number}", [1]).finish()
    polled = polls(discovery={}, keep_finished=3600)
    polled()
    world.clock.advance(7200)
    assert [polled() for _ in range(3)] == [{"list_tickets": 1}] * 3
    assert polled.shown == []


def test_a_ticket_that_waits_is_watched_by_its_statistics_alone_and_rarely(world, polls):
    ticket = world.script.ticket(ONE, [2])
    ticket.set(ticket.ids()[0], "ABNORMAL")
    ticket.status("ABNORMAL")
    polled = polls(ONE)
    polled()
    asked = [polled() for _ in range(8)]
    assert [seen for seen in asked if seen] == [{"statistics": 1}] * 2
    ticket.set(ticket.ids()[1], "PROCESSING")
    ticket.status("PROCESSING")
    seen = [polled() for _ in range(4)]
    assert {"statistics": 1, "ticket": 1, "batch_page": 1} in seen
    assert polled[ONE].shown.status == "PROCESSING"


def test_every_batch_is_read_again_after_the_full_refresh(world, polls):
    ticket = world.script.ticket(ONE, [1, 1])
    polled = polls(ONE, full_refresh=100)
    polled()
    ticket.host(ticket.ids()[0], properties={"host_name": "renamed"})
    pages = [polled().get("batch_page", 0) for _ in range(6)]
    assert pages == [0, 0, 0, 2, 0, 0]
    assert next(iter(polled[ONE].shown.instances()))[1].host.host_name == "renamed"


# A failure.


def test_a_page_that_fails_in_the_middle_keeps_the_last_good_data(world, polls, monkeypatch):
    ticket = world.script.ticket(ONE, [4])
    polled = polls(ONE, page_limit=2)
    polled()
    before = polled[ONE].shown
    for number in ticket.ids():
        ticket.set(number, "PROCESSING")
    whole = api.show_batch

    def second_page_fails(view, uuid, index, request):
        if "marker" in request.query:
            raise api.invalid("broken")
        return whole(view, uuid, index, request)

    monkeypatch.setattr(api, "show_batch", second_page_fails)
    polled()
    assert polled[ONE].shown is before
    assert (polled[ONE].up, polled[ONE].fault.reason) == (False, "bad_request")
    monkeypatch.undo()
    polled()
    assert counts(polled[ONE].shown) == {1: {"PROCESSING": 4}}
    assert polled[ONE].up


def test_a_failed_ticket_is_down_and_its_neighbour_is_not(world, polls):
    world.script.ticket(ONE, [1])
    polled = polls(ONE, "GONE")
    polled()
    assert (polled[ONE].up, polled["GONE"].up) == (True, False)
    assert polled["GONE"].fault.reason == "not_found"
    assert polled.state.accepted
    assert polled.state.fault is None
    assert world.value(FAILURES, reason="not_found") == 1


def test_old_data_is_shown_until_it_is_stale_and_counters_come_back_with_it(world, polls):
    ticket = world.script.ticket(ONE, [2])
    first, second = ticket.ids()
    ticket.set(first, "ABNORMAL")
    polled = polls(ONE, stale_after=100)
    polled()
    ticket.retry(first)
    polled()
    assert len(list(polled[ONE].shown.failures())) == 1
    world.controls.set(api_down="503")
    seen = []
    for _ in range(5):
        polled()
        seen.append((polled[ONE].up, polled[ONE].shown is not None))
    assert seen == [(False, True)] * 3 + [(False, False)] * 2
    world.controls.set(api_down="")
    ticket.set(second, "ABNORMAL")
    polled()
    assert len(list(polled[ONE].shown.failures())) == 2
    assert polled[ONE].up


def test_a_bug_in_one_ticket_costs_that_ticket_alone(world, polls, monkeypatch, caplog):
    for uuid in (ONE, TWO):
        world.script.ticket(uuid, [1])
    polled = polls(ONE, TWO)
    whole = polled.poller.api.statistics

    async def buggy(uuid):
        if uuid == ONE:
            raise ZeroDivisionError
        return await whole(uuid)

    monkeypatch.setattr(polled.poller.api, "statistics", buggy)
    with caplog.at_level(logging.ERROR):
        polled()
    assert (polled[ONE].fault.reason, polled[TWO].up) == ("internal", True)
    assert world.value(FAILURES, reason="internal") == 1


def test_a_fault_is_as_old_as_its_first_time(world, polls):
    polled = polls("GONE")
    began = world.clock.time()
    polled()
    polled()
    assert polled["GONE"].fault.since == began


def test_the_poll_after_an_outage_reads_every_ticket_again(world, polls):
    uuids = [f"SCT{number}" for number in range(12)]
    for uuid in uuids:
        world.script.ticket(uuid, [1])
    polled = polls(*uuids)
    polled()
    world.controls.set(api_down="503")
    polled()
    assert not any(polled[uuid].up for uuid in uuids)
    assert not polled.state.accepted
    assert polled.state.fault.reason == "server_error"
    world.controls.set(api_down="")
    polled()
    assert all(polled[uuid].up for uuid in uuids)
    assert polled.state.accepted
    assert polled.state.fault is None


# Time.


async def hang_for(seconds):
    """Wait for ever, and let so many seconds pass at once for everybody."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds
    await asyncio.Event().wait()


def hanging(polled, monkeypatch, *uuids):
    whole = polled.poller.api.statistics

    async def hang(uuid):
        if uuid in uuids:
            await hang_for(60)
        return await whole(uuid)

    monkeypatch.setattr(polled.poller.api, "statistics", hang)


def test_a_poll_ends_at_its_deadline_and_tells_which_tickets_were_not_read(world, polls, monkeypatch, caplog):
    for uuid in (ONE, TWO, THREE):
        world.script.ticket(uuid, [1])
    polled = polls(ONE, TWO, THREE, deadline=60, concurrency=1)
    hanging(polled, monkeypatch, TWO)
    polled()
    assert (polled[ONE].up, polled[TWO].fault.reason, polled[THREE].fault.reason) == (True, "deadline", "deadline")
    assert (polled[TWO].tried, polled[THREE].tried) != (None, None)
    assert polled[THREE].tried is None
    assert world.value(FAILURES, reason="deadline") == 2
    assert [record.unread for record in caplog.records if hasattr(record, "unread")] == [2]
    monkeypatch.undo()
    polled()
    assert all(polled[uuid].up for uuid in (ONE, TWO, THREE))


def test_a_ticket_that_hangs_at_each_poll_does_not_starve_the_others(world, polls, monkeypatch):
    for uuid in (ONE, TWO):
        world.script.ticket(uuid, [1])
    polled = polls(ONE, TWO, deadline=60, concurrency=1)
    hanging(polled, monkeypatch, ONE)
    polled()
    assert polled[TWO].tried is None
    polled()
    assert polled[TWO].up


def test_a_listing_that_hangs_leaves_time_for_the_tickets_that_are_known(world, polls, monkeypatch):
    world.script.ticket(ONE, [1])
    polled = polls(ONE, discovery={}, deadline=60)

    async def hang(_filters):
        await hang_for(30)
        yield

    monkeypatch.setattr(polled.poller.api, "list_tickets", hang)
    polled()
    assert polled[ONE].up
    assert polled.state.fault.reason == "deadline"
    assert polled.state.accepted


def test_with_500_tickets_and_two_requests_a_second_the_oldest_data_goes_first(many):
    played, polls = many
    world = played(rate=2.0)
    uuids = [f"SCT{number:03}" for number in range(500)]
    for uuid in uuids:
        world.script.ticket(uuid)
    polled = polls(world, *uuids)
    polled.runner.run(polled.poller.poll())
    first = [record.path.split("/")[5] for record in world.simulator.log if record.operation == "statistics"]
    assert first == uuids
    ages = {uuid: polled[uuid].tried for uuid in uuids}
    # One that was read out of turn goes last.
    polled.poller.readings = dict(sorted(polled.poller.readings.items(), reverse=True))
    world.simulator.log.clear()
    polled.runner.run(polled.poller.poll())
    second = [record.path.split("/")[5] for record in world.simulator.log if record.operation == "statistics"]
    assert second == sorted(uuids, key=lambda uuid: (ages[uuid], uuid))
    assert sum(world.clock.slept) == pytest.approx((500 * 3 + 500 * 2) / 2, rel=0.02)


def test_no_more_tickets_are_read_at_once_than_requests_a_second_are_allowed(world, polls, monkeypatch):
    for number in range(6):
        world.script.ticket(f"SCT{number}", [1])
    polled = polls(*(f"SCT{number}" for number in range(6)), rate=2.0)
    under_way, most = set(), 0
    whole = account.visit

    async def watched(api, watch, held, *, full):
        nonlocal most
        under_way.add(watch.execute_uuid)
        most = max(most, len(under_way))
        try:
            return await whole(api, watch, held, full=full)
        finally:
            under_way.discard(watch.execute_uuid)

    monkeypatch.setattr(account, "visit", watched)
    polled()
    assert most == 2


@pytest.mark.parametrize("jump", [-86400 * 400, -3600, 3600, 86400 * 400])
def test_a_clock_that_jumps_costs_requests_and_no_data(world, polls, jump):
    ticket = world.script.ticket(ONE, [2])
    ticket.set(ticket.ids()[0], "ABNORMAL")
    polled = polls(ONE)
    polled()
    world.clock.now += jump
    ticket.retry(ticket.ids()[0])
    polled()
    polled()
    assert polled[ONE].up
    assert counts(polled[ONE].shown) == {1: {"PROCESSING": 1, "READY": 1}}
    assert len(list(polled[ONE].shown.failures())) == 1


# Discovery.


def test_listed_and_discovered_tickets_meet_without_doubles(world, polls):
    for uuid in (ONE, TWO):
        world.script.ticket(uuid, [1], name=f"found-{uuid}")
    polled = polls(watch=tickets(ONE, name="listed"), discovery={})
    polled()
    assert {uuid: polled[uuid].name for uuid in polled.shown} == {ONE: "listed", TWO: f"found-{TWO}"}
    assert [polled[uuid].watch.listed for uuid in (ONE, TWO)] == [True, False]


def test_a_discovered_ticket_that_falls_out_of_the_filter_is_followed_to_its_end(world, polls):
    ticket = world.script.ticket(ONE, [1])
    polled = polls(discovery={"status": ["PROCESSING"]}, keep_finished=100)
    polled()
    ticket.set(ticket.ids()[0], "ABNORMAL")
    ticket.status("ABNORMAL")
    polled()
    for _ in range(4):
        polled()
    assert polled[ONE].shown.status == "ABNORMAL"
    ticket.status("FINISHED")
    ticket.set(ticket.ids()[0], "FINISHED")
    for _ in range(4):
        polled()
    assert polled[ONE].state == "finished"
    world.clock.advance(100)
    polled()
    assert polled.shown == []


def test_a_followed_ticket_keeps_its_counters_over_an_outage(world, polls):
    ticket = world.script.ticket(ONE, [1])
    polled = polls(discovery={"status": ["PROCESSING"]}, stale_after=60)
    ticket.set(ticket.ids()[0], "ABNORMAL")
    polled()
    ticket.retry(ticket.ids()[0])
    ticket.status("PAUSED")
    polled()
    world.controls.set(api_down="503")
    for _ in range(5):
        polled()
    assert polled[ONE].shown is None
    world.controls.set(api_down="")
    polled()
    assert len(list(polled[ONE].shown.failures())) == 1


def test_a_ticket_that_the_api_forgot_is_followed_no_longer_than_its_data_is_kept(world, polls):
    world.script.ticket(ONE, [1])
    world.script.ticket(TWO, [1])
    polled = polls(discovery={}, stale_after=60, keep_finished=60)
    polled()
    world.script.remove(ONE)
    polled()
    assert polled[ONE].fault.reason == "not_found"
    for _ in range(6):
        polled()
    assert polled.shown == [TWO]


def test_the_newest_are_watched_and_the_rest_is_counted(world, polls, caplog):
    for number in range(7):
        world.script.ticket(f"SCT{number}", [1], created=world.clock.time() + number)
    polled = polls(discovery={"max_tickets": 3})
    polled()
    polled()
    assert polled.shown == ["SCT4", "SCT5", "SCT6"]
    assert polled.state.omitted_tickets == 4
    assert [record.omitted for record in caplog.records if hasattr(record, "omitted")] == [4]


def test_tickets_that_are_followed_count_among_the_most_that_are_watched(world, polls):
    polled = polls(discovery={"max_tickets": 2, "status": ["PROCESSING"]})
    omitted = []
    for number in range(5):
        ticket = world.script.ticket(f"SCT{number}", [1], created=world.clock.time())
        polled()
        ticket.finish()
        omitted.append(polled.state.omitted_tickets)
        polled()
        assert len(polled.shown) <= 2
    assert polled.shown == ["SCT3", "SCT4"]
    assert omitted == [0, 0, 1, 1, 1]


def test_ten_thousand_tickets_are_listed_in_a_hundred_pages(many):
    played, polls = many
    world = played()
    for number in range(10_000):
        world.script.ticket(f"SCT{number}", created=world.clock.time() + number)
    polled = polls(world, discovery={"max_tickets": 10})
    asked = polled()
    assert asked["list_tickets"] == 100
    assert polled.state.omitted_tickets == 9990
    assert polled.shown == [f"SCT{number}" for number in range(9990, 10_000)]


def test_a_listing_that_repeats_a_page_says_so_and_keeps_what_it_told(many):
    played, polls = many
    world = played()
    for number in range(250):
        world.script.ticket(f"SCT{number}", [1])
    world.controls.set(stuck_marker=True)
    polled = polls(world, discovery={})
    assert polled()["list_tickets"] == 2
    assert polled.state.fault.reason == "incomplete"
    assert "100 of 250" in polled.state.fault.message
    assert polled.state.accepted
    assert len(polled.shown) == 100


def test_a_site_without_any_ticket_says_so_and_is_up(world, polls):
    polled = polls(discovery={})
    polled()
    assert polled.state.fault.reason == "empty"
    assert polled.state.accepted
    assert world.value(FAILURES, reason="empty") == 1
    world.script.ticket(ONE, [1])
    polled()
    assert polled.state.fault is None
    assert polled[ONE].up


def test_an_account_that_showed_a_ticket_once_may_become_empty(world, polls):
    world.script.ticket(ONE, [1]).finish()
    polled = polls(discovery={}, keep_finished=10)
    polled()
    world.script.remove(ONE)
    world.clock.advance(60)
    polled()
    polled()
    assert polled.shown == []
    assert polled.state.fault is None


def test_what_the_listing_tells_of_is_counted_whatever_discovery_wants(world, polls):
    for uuid in (ONE, TWO):
        world.script.ticket(uuid, [1])
    polled = polls(discovery={"name_regex": "^none-is-called-so$"})
    polled()
    assert polled.state.listed == 2
    world.controls.set(empty_site=True)
    polled()
    assert polled.state.listed == 0
    world.controls.set(empty_site=False, api_down="503")
    polled()
    assert polled.state.listed is None


def test_listed_tickets_that_nobody_knows_prove_no_site(polls):
    polled = polls("GONE", discovery={})
    polled()
    polled()
    assert polled.state.fault.reason == "empty"


def test_a_listed_ticket_that_was_read_proves_the_site(world, polls):
    world.script.ticket(ONE, [1])
    polled = polls(ONE, discovery={"creator": "nobody"})
    polled()
    assert polled.state.fault is None
    assert world.value(FAILURES, reason="empty") == 0


def test_a_listing_that_is_refused_leaves_the_account_up_while_its_tickets_are_read(world, polls, monkeypatch):
    world.script.ticket(ONE, [1])
    polled = polls(ONE, discovery={})

    def refuse(*_arguments):
        raise api.invalid("no listing today")

    monkeypatch.setattr(api, "list_orders", refuse)
    polled()
    assert polled[ONE].up
    assert polled.state.accepted
    assert polled.state.fault.reason == "bad_request"


@pytest.mark.parametrize(
    "switch", [{"html": True}, {"empty_answers": True}, {"api_down": "503"}, {"api_down": "close"}]
)
def test_an_account_is_down_while_nothing_of_it_is_the_apis_answer(world, polls, switch):
    world.script.ticket(ONE, [1])
    polled = polls(ONE)
    polled()
    world.controls.set(**switch)
    polled()
    assert not polled.state.accepted
    assert polled.state.fault is not None
    world.controls.reset()
    polled()
    assert polled.state.accepted
    assert polled.state.fault is None


def test_what_is_known_is_inherited_by_the_poller_of_another_config(world, polls):
    for uuid in (ONE, TWO, THREE):
        world.script.ticket(uuid, [1])
    before = polls(ONE, TWO)
    before()
    after = world.poller(TWO, THREE)
    after.inherit(before.poller.readings)
    assert sorted(after.readings) == [TWO, THREE]
    assert after.readings[TWO].ticket is before[TWO].ticket
    assert after.readings[THREE].ticket is None
    run(after.api.aclose())


def test_nothing_of_a_ticket_that_is_gone_stays_behind_in_the_journal(world, polls):
    world.script.ticket(ONE, [1])
    world.script.ticket(TWO, [1])
    polled = polls(discovery={}, stale_after=60, keep_finished=60)
    polled()
    world.script.remove(ONE)
    for _ in range(7):
        polled()
    assert world.journal._told == {}
