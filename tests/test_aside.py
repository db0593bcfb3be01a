"""An event loop beside the one of scrapes: what runs there returns, fails and ends as if it ran here."""

from __future__ import annotations

import asyncio
import threading

import pytest
from conftest import run

from exporter.cli.aside import Aside


def test_work_runs_in_another_thread_and_its_result_comes_back():
    async def where():
        return threading.current_thread().name

    async def main():
        async with Aside("polls") as aside:
            return await aside.run(where())

    assert run(main()) == "polls"


def test_a_failure_over_there_is_raised_here():
    async def broken():
        raise ZeroDivisionError

    async def main():
        async with Aside("polls") as aside:
            with pytest.raises(ZeroDivisionError):
                await aside.run(broken())

    run(main())


def test_a_loop_that_is_held_up_over_there_does_not_hold_up_this_one():
    held, go = threading.Event(), threading.Event()

    async def busy():
        held.set()
        return go.wait(30)

    async def main():
        async with Aside("polls") as aside:
            working = asyncio.ensure_future(aside.run(busy()))
            assert await asyncio.to_thread(held.wait, 30)
            # We are alive while it holds its loop.
            go.set()
            return await working

    assert run(main()) is True


def test_what_is_cancelled_here_is_cancelled_there():
    began, cancelled = threading.Event(), threading.Event()

    async def endless():
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def main():
        async with Aside("polls") as aside:
            working = asyncio.ensure_future(aside.run(endless()))
            assert await asyncio.to_thread(began.wait, 30)
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            return await asyncio.to_thread(cancelled.wait, 30)

    assert run(main())


def test_the_last_work_begins_when_all_other_has_ended():
    told = []
    began = threading.Event()

    async def endless():
        told.append("begun")
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append("ended")

    async def last():
        told.append("last")

    async def main():
        async with Aside("polls") as aside:
            working = asyncio.ensure_future(aside.run(endless()))
            assert await asyncio.to_thread(began.wait, 30)
            await aside.finish(last())
            await asyncio.wait([working])
            assert working.cancelled()

    run(main())
    assert told == ["begun", "ended", "last"]


def test_nothing_is_left_of_it_in_the_end():
    async def endless():
        await asyncio.Event().wait()

    async def main():
        async with Aside("polls-that-end") as aside:
            left = asyncio.ensure_future(aside.run(endless()))
            await asyncio.sleep(0)
        await asyncio.wait([left])
        assert left.cancelled()

    run(main())
    assert "polls-that-end" not in {thread.name for thread in threading.enumerate()}
