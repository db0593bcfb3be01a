"""Whatever the API's side does: the process lives, nothing is made up or leaks, and all is well one poll later."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from conftest import run
from faults.answers import Reply
from faults.matrix import Outcome, some_cases, table, tried
from faults.readings import shown, truth
from faults.scene import BESIDE, CALM, VICTIM, Case, Scene

from exporter import config

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


@pytest.mark.parametrize("case", list(some_cases()), ids=str)
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
        "batch_page": b'{"data":{"batch_index":7,"total_instances":1,"execute_instances":[{"id":1,"status":"READY"}]}}',
    }

    def twice(wire, reply):
        wire.send(reply.whole() + Reply(200, reply.headers, bodies[endpoint]).whole())
        wire.wait()

    async def main():
        async with scene(Case("503", "statistics", "first read"), tmp_path) as world:
            world.door.damage(before, VICTIM, twice)
            seen = await world.poll()
            account = world.exporter.poller.accounts[0]
            ticket = account.readings[VICTIM].ticket
            assert ticket is None or ticket.status == "PROCESSING"
            assert seen.counts(VICTIM) in (None, truth(world.world.find(VICTIM, 0)))
            assert seen.counts(CALM) == truth(world.world.find(CALM, 0))

    run(main())


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
            # A thread that renders ends by itself.
            async with asyncio.timeout(20):
                await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


async def _until(world, condition):
    async with asyncio.timeout(20):
        while not condition(await shown(world.exporter)):  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0.01)
