"""Too many scrapers, too many tickets, too few descriptors, no disk, little memory: it goes on, and tells the truth."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import tools
from conftest import FakeClock, run
from faults.readings import Exposition, shown, truth
from faults.server import Door, Played
from faults.serving import COMMAND, Serving, serving, world

from exporter import config, simulator
from exporter.cli.wiring import Exporter
from exporter.exposition import Format
from exporter.telemetry import Telemetry

FORMS = {
    Format.TEXT: {"Accept": "text/plain;version=0.0.4"},
    Format.OPENMETRICS: {"Accept": "application/openmetrics-text;version=1.0.0"},
}
STORM = """
accounts: [{{name: prod, endpoint: "{url}", auth: {{token: {{token: demo-token}}}}, discovery: {{max_tickets: 10000}}}}]
poll: {{interval: 5s, request_timeout: 5s, requests_per_second: 200, stale_after: 8s}}
"""
STORMING = 10_000
MEMORY = 128 * 1024 * 1024


def test_a_hundred_scrapers_beside_slow_readers_get_all_of_the_truth_while_polls_go_on(tmp_path):
    with world(tmp_path, 50) as played, serving(played, tmp_path / "log", "--web.max-requests=0") as served:
        before = served.descriptors()
        kinds = [*FORMS] * 50
        with served.slow_readers(20), ThreadPoolExecutor(100) as pool:
            bodies = set(zip(kinds, pool.map(lambda kind: served.fresh(**FORMS[kind]), kinds), strict=True))
            assert played.right(served.polled())
        for kind, body in bodies:
            assert played.right(Exposition(body.decode(), kind))
        tools.until(lambda: served.descriptors() <= before, "every connection closed")


def test_without_descriptors_it_keeps_what_it_knows_and_with_them_reads_on(tmp_path):
    with world(tmp_path, 5) as played, serving(played, tmp_path / "log") as served:
        good = {uuid: truth(ticket) for uuid, ticket in ((t.head.uuid, t) for t in played.script.tickets(0))}
        before = served.descriptors()
        with served.limited(resource.RLIMIT_NOFILE, 3):
            played.door.hang_up_idle()
            played.fail_more()
            with served.slow_readers(30):
                seen = served.shown(lambda seen: seen.value("coc_up", account="prod") == 0, "that nothing can be read")
                assert {uuid: seen.counts(uuid) for uuid in good} == good
        served.shown(played.right, "what became of the tickets")
        tools.until(lambda: served.descriptors() <= before, "every descriptor given back")


def test_on_a_full_disk_polls_go_on_and_what_was_stored_stays(tmp_path):
    log, storage = tmp_path / "log", f"--storage.path={tmp_path / 'coc.db'}"
    with world(tmp_path, 20) as played:
        with serving(played, log, storage) as served:
            # The log is a file as well, and has to grow on.
            full = log.stat().st_size + 4096
            assert full < (tmp_path / "coc.db-wal").stat().st_size
            with served.limited(resource.RLIMIT_FSIZE, full):
                played.fail_more()
                served.process.find("Nothing can be stored: is the disk full")
                assert played.right(served.polled())
            assert played.right(served.polled())
        limits = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))}
        for ticket in played.script.tickets(0):
            for row in ticket.ids():
                ticket.retry(row)
        with serving(played, tmp_path / "second.log", storage, **limits) as served:
            # Every instance was retried, so the API tells of no failure any more.
            seen = served.scrape()
            assert {seen.total("coc_instance_failures_total", f"SCT-{number}") for number in range(20)} == {2}
    assert not (tmp_path / "coc.db.unusable").exists()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    with world(tmp_path, 2) as played:
        address = f"127.0.0.1:{tools.free_port()}"
        command = [*COMMAND, f"--web.listen-address={address}", f"--config.file={played.config}"]
        into_nothing = ["/bin/sh", "-c", 'exec "$@" 2> /dev/full', "sh", *command]
        with tools.running(into_nothing, tmp_path / "log") as process:
            tools.until(lambda: answers(address), "that it listens")
            served = Serving(process, f"http://{address}")
            played.door.damage("statistics", "SCT-0", "503")
            served.shown(lambda seen: (seen.up("SCT-0"), seen.up("SCT-1")) == (0, 1), "the failure that it cannot log")
            played.door.mend()
            served.shown(played.right, "every ticket")
            served.close()


def answers(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True


def test_ten_thousand_tickets_on_a_slow_api_are_read_in_turn_and_each_poll_ends_at_its_deadline():
    """To read them all, eight at a time, would take two minutes; each poll has eight seconds."""

    async def main(script, door, clock):
        made = Exporter(config.parse(STORM.format(url=door.url)), Telemetry(process=False), clock)
        try:
            first = await storm_poll(made, script)
            clock.advance(5)
            second = await storm_poll(made, script)
        finally:
            await made.aclose()
        assert first
        assert second
        assert not first & second

    clock = FakeClock()
    script = simulator.Script(clock.time)
    for number in range(STORMING):
        script.ticket(f"SCT-{number}", batches=[2])
    door = Door(Played(script, clock.time))
    door.damage("statistics", "", late)
    try:
        run(main(script, door, clock))
    finally:
        door.close()


async def storm_poll(made, script):
    """Poll once; return the tickets that were read. What is shown must be as it is, and the rest told as not read."""
    began, tasks = time.monotonic(), len(asyncio.all_tasks())
    failed = (await shown(made)).value("coc_exporter_poll_failures_total", reason="deadline")
    polling = asyncio.ensure_future(made.poller.once())
    await asyncio.sleep(0)
    await shown(made)
    assert not polling.done()
    await polling
    assert time.monotonic() - began < 60
    assert len(asyncio.all_tasks()) == tasks
    seen = await shown(made)
    read = {dict(labels)["execute_uuid"] for labels, up in seen.of("coc_ticket_up").items() if up}
    assert seen.tickets.keys() >= read
    assert all(counts == truth(script.find(uuid, 0)) for uuid, counts in seen.tickets.items())
    assert seen.value("coc_exporter_poll_failures_total", reason="deadline") == failed + STORMING - len(read)
    return read


def late(wire, reply):
    time.sleep(0.1)  # the API's own slowness
    wire.answer(reply)


def test_a_hundred_tickets_and_scrapes_in_every_form_fit_into_128_mib(tmp_path):
    """The limit is of what it may reserve, stacks included, which is more than what it comes to hold."""
    limits = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))}
    with world(tmp_path, 100, (10, 10)) as played, serving(played, tmp_path / "log", **limits) as served:
        for headers, coding in product(FORMS.values(), ("identity", "gzip")):
            served.fresh(**headers, **{"Accept-Encoding": coding})
        assert "SCT-99" in served.get("/")
        assert played.right(served.polled())
        assert served.peak() < MEMORY
