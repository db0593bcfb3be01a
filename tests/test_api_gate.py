"""How fast we may ask: rate, concurrency, throttling and recovery, circuit and its one attempt."""

from __future__ import annotations

import asyncio

import pytest
from conftest import FakeClock, run

from exporter.api.gate import Gate
from exporter.errors import (
    BadRequest,
    ConnectFailed,
    Forbidden,
    NotFound,
    Paused,
    ProtocolBroken,
    RateLimited,
    SecretUnreadable,
    ServerFailed,
    TimedOut,
    TlsFailed,
    Unauthorized,
)
from exporter.telemetry import Telemetry


def gate(clock, *, rate=10.0, concurrency=8, pause=27.0, telemetry=None, name="prod"):
    telemetry = telemetry or Telemetry(process=False)
    return Gate(name, rate=rate, concurrency=concurrency, pause=pause, telemetry=telemetry, clock=clock)


async def ask(gate, failure=None, about=""):
    async with gate.leave(about):
        if failure is not None:
            raise failure


async def fail(gate, failure, times=1, about=""):
    for _ in range(times):
        with pytest.raises(type(failure)):
            await ask(gate, failure, about)


def test_a_seconds_worth_goes_at_once_and_the_rest_evenly(clock):
    async def main():
        asked = gate(clock, rate=4)
        for _ in range(4):
            await ask(asked)
        assert clock.slept == []
        for _ in range(3):
            await ask(asked)

    run(main())
    assert clock.slept == pytest.approx([0.25] * 3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_the_first_request_never_waits_however_low_the_rate(rate, clock):
    async def main():
        asked = gate(clock, rate=rate)
        await ask(asked)
        assert clock.slept == []
        await ask(asked)

    run(main())
    assert clock.slept == pytest.approx([1 / rate])


def test_no_more_requests_are_under_way_than_allowed(clock):
    async def main():
        asked = gate(clock, rate=1000, concurrency=3)
        under_way, most = 0, 0

        async def one():
            nonlocal under_way, most
            async with asked.leave():
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0)
                under_way -= 1

        await asyncio.gather(*(one() for _ in range(20)))
        return most

    assert run(main()) == 3


def test_waiting_for_our_own_limits_is_measured(clock, telemetry):
    async def main():
        asked = gate(clock, rate=1, telemetry=telemetry)
        for _ in range(3):
            await ask(asked)

    run(main())
    value = telemetry.registry.get_sample_value
    assert value("coc_exporter_api_queue_wait_seconds_count", {"account": "prod"}) == 3
    assert value("coc_exporter_api_queue_wait_seconds_sum", {"account": "prod"}) == pytest.approx(2)


def test_throttling_halves_the_rate_and_a_hundred_answers_bring_it_back_slowly(clock, telemetry):
    shown = "coc_exporter_api_request_rate_limit"

    async def main():
        asked = gate(clock, rate=10, telemetry=telemetry)
        await fail(asked, RateLimited("slower"))
        assert asked.rate == 5
        assert telemetry.registry.get_sample_value(shown, {"account": "prod"}) == 5
        for _ in range(10):
            await ask(asked)
        assert asked.rate == pytest.approx(6)
        for _ in range(50):
            await ask(asked)

    run(main())
    assert telemetry.registry.get_sample_value(shown, {"account": "prod"}) == 10


def test_of_many_under_way_together_one_halves_the_rate(clock):
    async def main():
        asked = gate(clock, rate=8)
        ready = asyncio.Barrier(4)

        async def one():
            async with asked.leave():
                await ready.wait()
                clock.advance(0.01)
                raise RateLimited("slower")

        await asyncio.gather(*(one() for _ in range(4)), return_exceptions=True)
        return asked.rate

    assert run(main()) == 4


def test_one_after_the_other_each_halves_the_rate(clock, telemetry):
    async def main():
        asked = gate(clock, rate=8, telemetry=telemetry)
        assert telemetry.registry.get_sample_value("coc_exporter_api_request_rate_limit", {"account": "prod"}) == 8
        await fail(asked, RateLimited("slower"), times=2)
        return asked.rate

    assert run(main()) == 2


@pytest.mark.parametrize(("rate", "lowest"), [(10.0, 0.1), (0.05, 0.05)])
def test_the_rate_falls_to_a_tenth_a_second_and_never_rises_by_throttling(rate, lowest, clock):
    async def main():
        asked = gate(clock, rate=rate)
        for _ in range(12):
            clock.advance(60)
            await fail(asked, RateLimited("slower"))
        return asked.rate

    assert run(main()) == pytest.approx(lowest)


@pytest.mark.parametrize("error", [ConnectFailed, ProtocolBroken, ServerFailed, TimedOut, TlsFailed])
def test_five_outages_in_a_row_open_the_circuit(error, clock, telemetry):
    async def main():
        asked = gate(clock, telemetry=telemetry)
        await fail(asked, error("it failed"), times=4)
        assert asked.paused_until is None
        await fail(asked, error("it failed"))
        with pytest.raises(Paused, match="it failed") as paused:
            await ask(asked)
        assert paused.value.until == asked.paused_until == clock.time() + 27

    run(main())
    shown = telemetry.registry.get_sample_value("coc_exporter_api_paused_until_timestamp_seconds", {"account": "prod"})
    assert shown == clock.time() + 27


def test_failures_about_one_ticket_alone_are_no_outage_of_the_api(clock):
    async def main():
        asked = gate(clock)
        await fail(asked, ServerFailed(""), times=9, about="SCT1")
        alone = asked.paused_until
        await fail(asked, ServerFailed(""), about="SCT2")
        return alone, asked.paused_until

    alone, together = run(main())
    assert alone is None
    assert together is not None


def test_requests_about_no_ticket_are_each_about_something_else(clock):
    async def main():
        asked = gate(clock)
        for _ in range(5):
            with pytest.raises(ServerFailed):
                async with asked.leave():
                    raise ServerFailed("down")
        return asked.paused_until

    assert run(main()) is not None


def test_a_pause_is_over_at_the_moment_it_names(clock):
    async def main():
        asked = gate(clock)
        asked.hold_until(clock.time() + 60, "wait")
        clock.advance(60)
        await ask(asked)

    run(main())


@pytest.mark.parametrize("error", [BadRequest, Forbidden, NotFound, Unauthorized])
def test_an_api_that_answers_keeps_the_circuit_closed(error, clock):
    async def main():
        asked = gate(clock)
        await fail(asked, ServerFailed(""), times=4)
        await fail(asked, error(""))
        await fail(asked, ServerFailed(""), times=4)
        return asked.paused_until

    assert run(main()) is None


@pytest.mark.parametrize("error", [Paused("held", 0.0), SecretUnreadable("no file")])
def test_what_never_left_tells_nothing_of_the_api(error, clock):
    async def main():
        asked = gate(clock)
        await fail(asked, ServerFailed(""), times=4)
        await fail(asked, error)
        await fail(asked, ServerFailed(""))
        return asked.paused_until

    assert run(main()) is not None


def opened(clock, **fields):
    async def main(asked):
        await fail(asked, ServerFailed("down"), times=5)
        clock.advance(27.1)

    asked = gate(clock, **fields)
    return asked, main(asked)


def test_after_the_pause_one_tries_and_the_others_share_its_success(clock):
    async def main():
        asked, opening = opened(clock)
        await opening
        under_way, most, done = 0, 0, 0

        async def one(first):
            nonlocal under_way, most, done
            async with asked.leave():
                under_way += 1
                most = max(most, under_way) if not done else most
                for _ in range(5 if first else 1):
                    await asyncio.sleep(0)
                under_way -= 1
                done += 1

        await asyncio.gather(*(one(number == 0) for number in range(6)))
        return most, done, asked.paused_until

    assert run(main()) == (1, 6, None)


def test_after_the_pause_one_tries_and_the_others_share_its_failure(clock):
    async def main():
        asked, opening = opened(clock)
        await opening
        tried = 0

        async def one():
            nonlocal tried
            async with asked.leave():
                tried += 1
                await asyncio.sleep(0)
                raise ConnectFailed("still down")

        outcomes = await asyncio.gather(*(one() for _ in range(6)), return_exceptions=True)
        return tried, sorted(type(outcome).__name__ for outcome in outcomes)

    assert run(main()) == (1, ["ConnectFailed", *["Paused"] * 5])


def test_an_attempt_that_is_cancelled_lets_the_next_one_try(clock):
    async def main():
        asked, opening = opened(clock)
        await opening

        async def hang():
            async with asked.leave():
                await asyncio.Event().wait()

        probe = asyncio.create_task(hang())
        await asyncio.sleep(0)
        waiting = asyncio.create_task(ask(asked))
        await asyncio.sleep(0)
        probe.cancel()
        await waiting
        return asked.paused_until

    assert run(main()) is None


@pytest.mark.parametrize("passed", [0, 1])
def test_an_answer_to_what_was_sent_before_does_not_end_a_pause_that_the_server_asked_for(passed, clock):
    async def main():
        asked = gate(clock)
        answered = asyncio.Event()

        async def slow():
            async with asked.leave():
                await answered.wait()

        older = asyncio.create_task(slow())
        await asyncio.sleep(0)
        clock.advance(passed)
        asked.hold_until(clock.time() + 300, "asked to wait")
        answered.set()
        await older
        with pytest.raises(Paused, match="asked to wait"):
            await ask(asked)

    run(main())


def test_a_shorter_pause_does_not_shorten_a_longer_one(clock):
    asked = gate(clock)
    asked.hold_until(clock.time() + 300, "long")
    asked.hold_until(clock.time() + 10, "short")
    assert asked.paused_until == clock.time() + 300


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_pause_lasts_as_long_whatever_becomes_of_the_wall_clock(jump, clock):
    async def main():
        asked = gate(clock)
        asked.hold_until(clock.time() + 60, "wait")
        clock.now += jump
        clock.advance(59)
        with pytest.raises(Paused):
            await ask(asked)
        clock.advance(1.5)
        await ask(asked)

    run(main())


def test_retries_are_a_tenth_of_the_answers_once_the_budget_is_spent(clock):
    async def main():
        asked = gate(clock, rate=1e6)
        spent = [asked.may_retry() for _ in range(12)]
        for _ in range(11):
            await ask(asked)
        return spent, [asked.may_retry() for _ in range(2)]

    spent, earned = run(main())
    assert spent == [True] * 10 + [False] * 2
    assert earned == [True, False]


def test_nothing_is_retried_while_the_circuit_is_open(clock):
    asked = gate(clock)
    asked.hold_until(clock.time() + 60, "wait")
    assert not asked.may_retry()


def test_two_accounts_are_limited_on_their_own():
    async def main():
        clock = FakeClock()
        telemetry = Telemetry(process=False)
        one = gate(clock, telemetry=telemetry, name="one")
        two = gate(clock, telemetry=telemetry, name="two")
        await fail(one, ServerFailed("down"), times=5)
        await fail(one, Paused("", 0))
        await ask(two)
        return one.paused_until, two.paused_until, telemetry

    held, free, telemetry = run(main())
    assert held is not None
    assert free is None
    paused = "coc_exporter_api_paused_until_timestamp_seconds"
    assert telemetry.registry.get_sample_value(paused, {"account": "two"}) is None
