"""A restart of the real process with --storage.path: what ended is shown again, and asked for never again."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from conftest import run
from tools import listening, running, until

from exporter import config, simulator
from exporter.cli.wiring import Exporter
from exporter.clock import SystemClock
from exporter.storage import Storage
from exporter.telemetry import Telemetry

TICKETS = 1000
CONFIG = """
accounts:
  - name: listed
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{listed}]
  - name: found
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    discovery: {{name_regex: "^found-", max_tickets: 1000}}
poll: {{requests_per_second: 200, concurrency: 16}}
"""


@pytest.fixture
def app():
    """Half of the tickets are for an account that lists them, half for one that finds them."""
    script = simulator.Script()
    for number in range(TICKETS):
        kind = "found" if number % 2 else "listed"
        ticket = script.ticket(f"SCT-{kind}-{number:04}", batches=[2], instances="FINISHED", name=f"{kind}-{number}")
        ticket.set(ticket.ids(1)[0], "ABNORMAL", log="No space left on device")
        ticket.status("FINISHED")
    return simulator.build(world=script)


@pytest.fixture
def serve(app, tmp_path):
    """Return a context that runs the exporter, killed at its end as by a node that dies; it yields its URL."""
    with simulator.running(app) as url:
        listed = ", ".join(
            f"{{execute_uuid: {ticket.head.uuid}}}"
            for ticket in app.state.world.tickets(0)
            if "listed" in ticket.head.uuid
        )
        file = tmp_path / "config.yaml"
        file.write_text(CONFIG.format(url=url, listed=listed))
        flags = ("--web.listen-address=127.0.0.1:0", f"--storage.path={tmp_path / 'tickets.db'}")

        @contextmanager
        def started(log):
            # Without asyncio's debug mode, which other tests of processes run in: it makes thousands of requests slow.
            command = [sys.executable, "-m", "exporter", "serve", f"--config.file={file}", *flags]
            with running(command, tmp_path / log) as process:
                yield listening(process)
                process.popen.kill()
                process.popen.wait()

        yield started


def samples(base):
    """Return what /metrics says of tickets; what it says of the process itself is its own."""
    with urllib.request.urlopen(f"{base}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {line for line in lines if line.startswith("coc_") and not line.startswith("coc_exporter_")}


def complete(base):
    shown = samples(base)
    return shown if sum(line.startswith("coc_ticket_up{") for line in shown) == TICKETS else None


def ready(base):
    try:
        with urllib.request.urlopen(f"{base}/-/ready"):
            return True
    except urllib.error.HTTPError:
        return False


def test_a_restart_with_1000_finished_tickets_asks_for_none_of_them_and_shows_all(app, serve):
    with serve("first") as base:
        until(lambda: ready(base), "every ticket was tried", patience=180)
        before = until(lambda: complete(base), "every ticket is shown")
    assert app.state.requests["ticket"] >= TICKETS
    app.state.requests.clear()
    with serve("second") as base:
        # The first poll has ended then; whoever finds tickets asks for the list of them, and no more.
        until(lambda: ready(base), "a whole poll")
        after = until(lambda: complete(base), "every ticket is shown again")
    assert after == before
    assert set(app.state.requests) == {"list_tickets"}


def test_nothing_is_shown_before_it_is_stored(app, tmp_path):
    """Who was killed in between would forget what somebody has seen already: a counter that falls."""
    seen = []

    class Watched(Storage):
        def save(self, snapshot, pauses):
            seen.append((exporter.board.current, snapshot))
            super().save(snapshot, pauses)

    async def polled(url):
        nonlocal exporter
        file = config.parse(CONFIG.format(url=url, listed="{execute_uuid: SCT-listed-0000}"))
        alone = file.model_copy(update={"accounts": file.accounts[:1]})
        exporter = Exporter(alone, Telemetry(process=False), SystemClock(), storage=Watched(tmp_path / "tickets.db"))
        await exporter.poller.once()
        shown = exporter.board.current
        await exporter.aclose()
        return shown

    exporter = None
    with simulator.running(app) as url:
        last = run(polled(url))
    assert last.readings[0].ticket.status == "FINISHED"
    assert [(before.readings, stored) for before, stored in seen] == [((), last)]
