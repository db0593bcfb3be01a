"""Whatever the API's side does: the process lives, nothing is made up, nothing leaks, and all is well one poll later."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import asynccontextmanager

import pytest
from conftest import run
from faults.matrix import BESIDE, CALM, VICTIM, Case, Outcome, Scene, every_case, some_cases, table, tried
from faults.readings import shown, truth
from faults.server import ANSWERS, Fault, Reply

from exporter import config

LONG = os.environ.get("FAULTS") == "long"
CASES = list(every_case() if LONG else some_cases())
OUTCOMES: list[Outcome] = []


class Summary:
    """Ends the run in a table."""

    def pytest_terminal_summary(self, terminalreporter):
        if OUTCOMES:
            terminalreporter.section("faults")
            terminalreporter.write(table(OUTCOMES))


@pytest.fixture(scope="module", autouse=True)
def _summary(request):
    request.config.pluginmanager.register(Summary())


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_costs_no_more_than_its_ticket_and_no_longer_than_it_lasts(case, tmp_path):
    outcome = run(tried(case, tmp_path))
    OUTCOMES.append(outcome)
    assert outcome.troubles == []


@asynccontextmanager
async def scene(case, folder):
    made = Scene(case, folder)
    try:
        yield made
    finally:
        await made.close()


def test_connections_that_are_closed_between_polls_cost_nothing(tmp_path):
    async def main():
        async with scene(Case("503", "statistics", "later poll"), tmp_path) as world:
            await world.poll()
            world.door.hang_up_idle()
            world.go_on()
            seen = await world.poll()
            assert (seen.up(VICTIM), seen.up(BESIDE)) == (1, 1)
            assert not sum(seen.of("coc_exporter_api_retries_total").values())

    run(main())


def test_a_poll_of_a_slow_api_ends_at_its_deadline_and_keeps_what_it_read(tmp_path):
    """Latency below the timeout of a request, and far too many requests."""

    async def main():
        async with scene(Case("503", "statistics", "first read"), tmp_path) as world:
            for number in range(60):
                world._ticket(f"SCT-{number}")
            slow = f"""
accounts:
  - {{name: prod, endpoint: "{world.doors["api"].url}", auth: {{token: {{token: demo-token}}}}, discovery: {{}}}}
poll: {{interval: 1s, request_timeout: 1s, stale_after: 2s, requests_per_second: 200, concurrency: 2}}
"""
            await world.exporter.apply(config.parse(slow))
            world.door.damage("batch_page", "", "50 ms late")
            began = time.monotonic()
            seen = await world.poll()
            assert 1.9 < time.monotonic() - began < 3
            read = [dict(labels)["execute_uuid"] for labels, up in seen.of("coc_ticket_up", account="prod").items() if up]
            assert len(read) > 10
            for uuid in read:
                assert seen.counts(uuid) == truth(world.world.find(uuid, 0))
            watched = world.exporter.poller.progress()[1]
            assert seen.value("coc_exporter_poll_failures_total", reason="deadline") == watched - len(read)

    def late(wire, reply):
        time.sleep(0.05)
        wire.send(reply.whole("connection: close"))

    ANSWERS["50 ms late"] = Fault(late, frozenset())
    try:
        run(main())
    finally:
        del ANSWERS["50 ms late"]


def test_one_ticket_whose_pages_time_out_does_not_pause_the_others(tmp_path):
    """Its pages are asked for side by side, so their failures come in a row: that is no outage of the API."""

    async def main():
        async with scene(Case("read timeout", "batch_page", "later poll"), tmp_path) as world:
            for _ in range(7):
                world.world.find(VICTIM, 0).add_batch(1)
            for number in range(20):
                world._ticket(f"SCT-{number}")
            text = f"""
accounts:
  - {{name: prod, endpoint: "{world.doors["api"].url}", auth: {{token: {{token: demo-token}}}}, discovery: {{}}}}
poll: {{interval: 30s, request_timeout: 400ms, full_refresh: 20s, requests_per_second: 200, concurrency: 4}}
"""
            await world.exporter.apply(config.parse(text))
            await world.poll()
            world.break_it(None)
            for _ in range(4):
                world.go_on()
                seen = await world.poll()
                down = {dict(labels)["execute_uuid"] for labels, up in seen.of("coc_ticket_up").items() if not up}
                assert down == {VICTIM}

    run(main())


@pytest.mark.parametrize("endpoint", ["ticket", "batch_page"])
def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(endpoint, tmp_path):
    """A second answer on the same connection, about another ticket and another batch."""
    before = {"ticket": "statistics", "batch_page": "batches"}[endpoint]
    bodies = {
        "ticket": b'{"data":{"execute_uuid":"SCT-other","status":"CANCELED"}}',
        "batch_page": b'{"data":{"batch_index":7,"total_instances":1,"execute_instances":[{"id":1,"status":"ABNORMAL"}]}}',
    }

    def twice(wire, reply):
        wire.send(reply.whole() + Reply(200, reply.headers, bodies[endpoint]).whole())
        wire.wait()

    async def main():
        async with scene(Case("503", "statistics", "first read"), tmp_path) as world:
            world.door.damage(before, VICTIM, "twice")
            seen = await world.poll()
            account = world.exporter.poller.accounts[0]
            ticket = account.readings[VICTIM].ticket
            assert ticket is None or ticket.status == "PROCESSING"
            assert seen.counts(VICTIM) in (None, truth(world.world.find(VICTIM, 0)))
            assert seen.counts(CALM) == truth(world.world.find(CALM, 0))

    ANSWERS["twice"] = Fault(twice, frozenset())
    try:
        run(main())
    finally:
        del ANSWERS["twice"]


def test_polls_go_on_by_themselves_after_every_kind_of_failure(tmp_path):
    """The loop itself, with its own pauses: down, then up again, and no task is left."""

    async def main():
        async with scene(Case("reset inside body", "statistics", "first read"), tmp_path) as world:
            polling = asyncio.ensure_future(world.exporter.run())
            for fault in ("reset inside body", "null", "redirect"):
                world.door.damage("statistics", "", fault)
                await _until(world, lambda seen: seen.up(VICTIM) == 0)
                world.door.mend()
                await _until(world, lambda seen: seen.up(VICTIM) == 1)
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


async def _until(world, condition):
    async with asyncio.timeout(20):
        while not condition(await shown(world.exporter)):
            await asyncio.sleep(0.01)
