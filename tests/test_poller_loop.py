"""The crank: polls at the interval, accounts on their own, and faults that cost one turn and no more."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from conftest import FakeClock, run
from rigs import ticket_of

from exporter.poller import Poller
from exporter.poller.journal import Journal
from exporter.snapshot import AccountState, Failure, Fault, Reading, Watch
from exporter.telemetry import Telemetry


class TurnedClock(FakeClock):
    """A clock that stands still until the test turns it; who sleeps is woken then."""

    def __init__(self):
        super().__init__()
        self._sleepers = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        woken = asyncio.Event()
        self._sleepers.append((self.elapsed + seconds, woken))
        await woken.wait()

    async def turn(self, seconds):
        """Let time pass in small steps, and everything happen that happens in it."""
        until = self.elapsed + seconds
        await settle()
        while due := [at for at, _ in self._sleepers if at <= until + 1e-9]:
            self.advance(max(0.0, min(due) - self.elapsed))
            for at, woken in self._sleepers:
                if at <= self.elapsed + 1e-9:
                    woken.set()
            self._sleepers = [(at, woken) for at, woken in self._sleepers if not woken.is_set()]
            await settle()
        self.advance(until - self.elapsed)


async def settle():
    for _ in range(30):
        await asyncio.sleep(0)


class Account:
    """An account that takes ``spends`` seconds a poll and then holds what the test wants."""

    def __init__(self, clock, name="prod", *, spends=0.0, readings=None, failing=None):
        self.account = SimpleNamespace(name=name)
        self.state = AccountState(name)
        self.readings = readings or {}
        self.spends, self.failing = spends, failing
        self.began = []
        self._clock = clock

    async def poll(self):
        self.began.append(self._clock.elapsed)
        if self.failing is not None:
            raise self.failing
        if self.spends:
            await self._clock.sleep(self.spends)
        self.readings = {uuid: replace(reading, tried=self._clock.time()) for uuid, reading in self.readings.items()}
        self.state = replace(self.state, polled=self._clock.time())


class Stand:
    """A running poller; ``published`` are the snapshots it handed out."""

    def __init__(self, *accounts, clock, publish=None, interval=30.0, deadline=60.0):
        self.telemetry = Telemetry(process=False)
        self.published = []
        self.poller = Poller(
            accounts,
            publish or self._keep,
            interval=interval,
            deadline=deadline,
            telemetry=self.telemetry,
            clock=clock,
        )

    async def _keep(self, snapshot):
        self.published.append(snapshot)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.poller.run())
        await settle()
        return self

    async def __aexit__(self, *_error):
        assert not self._task.done(), self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def value(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, labels)


@pytest.fixture
def clock():
    return TurnedClock()


def one(uuid="S", **fields):
    return {uuid: Reading(Watch("prod", uuid), **fields)}


def test_a_poll_begins_at_each_interval(clock):
    account = Account(clock, spends=4)

    async def main():
        async with Stand(account, clock=clock) as stand:
            await clock.turn(95)
            return stand

    stand = run(main())
    assert account.began == [0, 30, 60, 90]
    assert stand.value("coc_exporter_polls_total") == 4
    assert stand.value("coc_exporter_poll_duration_seconds") == 4
    assert stand.value("coc_exporter_poll_overruns_total") == 0
    assert stand.value("coc_exporter_poll_interval_seconds") == 30


def test_a_poll_that_takes_longer_is_counted_and_the_next_begins_at_once_and_never_before(clock):
    account = Account(clock, spends=45)

    async def main():
        async with Stand(account, clock=clock) as stand:
            await clock.turn(140)
            return stand

    stand = run(main())
    assert account.began == [0, 45, 90, 135]
    assert stand.value("coc_exporter_poll_overruns_total") == 3


def test_accounts_do_not_wait_for_each_other(clock):
    slow, quick = Account(clock, "slow", spends=1000), Account(clock, "quick")

    async def main():
        async with Stand(slow, quick, clock=clock) as stand:
            await clock.turn(100)
            return stand

    stand = run(main())
    assert quick.began == [0, 30, 60, 90]
    assert slow.began == [0]
    assert stand.published[-1].accounts[1].polled is not None


def test_what_is_known_is_published_after_each_poll_and_at_each_interval_of_one_that_lasts(clock):
    account = Account(clock, spends=100)

    async def main():
        async with Stand(account, clock=clock) as stand:
            await clock.turn(99)
            during = len(stand.published)
            await clock.turn(2)
            return during, len(stand.published)

    assert run(main()) == (3, 4)


def test_a_bug_in_a_poll_costs_that_poll_alone(clock, caplog):
    buggy, sound = Account(clock, "buggy", failing=ZeroDivisionError()), Account(clock, "sound")

    async def main():
        async with Stand(buggy, sound, clock=clock) as stand:
            await clock.turn(65)
            return stand

    with caplog.at_level(logging.ERROR):
        stand = run(main())
    assert buggy.began == sound.began == [0, 30, 60]
    assert stand.value("coc_exporter_poll_failures_total", reason="internal") == 3
    assert "ZeroDivisionError" in str(caplog.records[0].__dict__["err"])


def test_a_publication_that_fails_does_not_end_the_polls(clock):
    account = Account(clock)
    tried = []

    async def publish(snapshot):
        tried.append(snapshot)
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    async def main():
        async with Stand(account, clock=clock, publish=publish) as stand:
            await clock.turn(65)
            return stand

    stand = run(main())
    assert account.began == [0, 30, 60]
    assert len(tried) >= 3
    assert stand.value("coc_exporter_poll_failures_total", reason="internal") == len(tried)


def test_cancelling_ends_everything_at_once(clock):
    async def main():
        poller = Stand(Account(clock, spends=1000), clock=clock).poller
        task = asyncio.create_task(poller.run())
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    assert run(main()) == 1


def test_once_polls_every_account_and_publishes_once(clock):
    accounts = [Account(clock, "one"), Account(clock, "two")]
    stand = Stand(*accounts, clock=clock)
    run(stand.poller.once())
    assert [account.began for account in accounts] == [[0], [0]]
    assert len(stand.published) == 1


def test_once_does_not_hide_that_nothing_could_be_published(clock):
    async def publish(_snapshot):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Stand(Account(clock), clock=clock, publish=publish).poller.once())


def test_ready_when_every_ticket_was_tried_and_no_more_when_polls_stop(clock):
    account = Account(clock, spends=10, readings=one())

    async def main():
        async with Stand(account, clock=clock) as stand:
            before = stand.poller.ready()
            await clock.turn(11)
            after = stand.poller.ready()
            account.spends = 1e9
            await clock.turn(100)
            lasting = stand.poller.ready()
            await clock.turn(100)
            return before, after, lasting, stand.poller.ready()

    assert run(main()) == (False, True, True, False)


def test_a_ticket_that_is_found_later_does_not_make_us_unready(clock):
    account = Account(clock, readings=one())

    async def main():
        async with Stand(account, clock=clock) as stand:
            account.readings |= one("LATER")
            return stand.poller.ready(), stand.poller.progress()

    assert run(main()) == (True, (1, 2))


def test_the_wall_clock_does_not_decide_whether_polls_go_on(clock):
    account = Account(clock, readings=one())

    async def main():
        async with Stand(account, clock=clock) as stand:
            clock.now += 1e6
            forth = stand.poller.ready()
            clock.now -= 2e6
            await clock.turn(65)
            return forth, stand.poller.ready()

    assert run(main()) == (True, True)
    assert account.began == [0, 30, 60]


# What the log says.

FAULT = Fault("timeout", "no answer", 1.0)


def said(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_failure_is_logged_at_once_and_then_every_quarter_of_an_hour(clock, caplog):
    journal = Journal(clock)
    for _ in range(100):
        journal.failed(FAULT, account="prod", ticket="S")
        clock.advance(30)
    assert len(caplog.records) == 4


def test_another_reason_and_another_subject_are_logged_at_once(clock, caplog):
    journal = Journal(clock)
    journal.failed(FAULT, account="prod", ticket="S")
    journal.failed(replace(FAULT, reason="tls"), account="prod", ticket="S")
    journal.failed(FAULT, account="prod", ticket="T")
    journal.failed(FAULT, account="prod")
    assert len(caplog.records) == 4


def test_a_recovery_is_logged_once_and_only_after_a_failure(clock, caplog):
    journal = Journal(clock)
    caplog.set_level(logging.INFO)
    journal.recovered(account="prod")
    journal.failed(FAULT, account="prod")
    journal.recovered(account="prod")
    journal.recovered(account="prod")
    assert said(caplog) == [("WARNING", "Cannot be read"), ("INFO", "Can be read again")]


def test_a_subject_that_is_gone_is_forgotten_in_silence(clock, caplog):
    journal = Journal(clock)
    caplog.set_level(logging.INFO)
    journal.failed(FAULT, account="prod", ticket="S")
    journal.forget(account="prod", ticket="S")
    journal.forget(account="prod", ticket="S")
    assert len(caplog.records) == 1
    assert journal._told == {}


def failure(number, finished):
    return Failure(number, finished, 1, "disk_full", "web-1")


@pytest.mark.parametrize(
    ("held", "fresh", "told"),
    [
        (None, [failure(1, 5.0)], [1]),
        ([failure(1, 5.0)], [failure(1, 5.0)], []),
        ([failure(1, 5.0)], [failure(1, 5.0), failure(1, 9.0), failure(2, 9.0)], [1, 2]),
        ([failure(1, None)], [failure(1, 5.0)], []),
        ([failure(1, None)], [failure(1, None), failure(1, 9.0)], [1]),
    ],
)
def test_each_failure_is_one_line_of_the_log_without_the_instances_own(clock, caplog, held, fresh, told):
    caplog.set_level(logging.INFO)
    before = None if held is None else ticket_of(past_failures=tuple(held))
    Journal(clock).told_failures("prod", before, ticket_of(past_failures=tuple(fresh)))
    assert [record.instance_id for record in caplog.records] == told
    assert {(record.account, record.reason, record.host) for record in caplog.records} <= {
        ("prod", "disk_full", "web-1")
    }
