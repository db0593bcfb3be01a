"""Set-ups of the api and poller rooms: an Api over a handler, and a poller over a simulated world."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import replace

import httpx
from conftest import FakeClock

from exporter import config
from exporter.api import Interpreter, Statuses, connect
from exporter.api.client import Api, Limits, headers
from exporter.api.gate import Gate
from exporter.api.transport import MeteredTransport
from exporter.auth import TokenAuth
from exporter.poller import AccountPoller, Cadence, Pace, Poller
from exporter.poller.journal import Journal
from exporter.reasons import Reasons
from exporter.simulator import Controls, Credentials, Script, Switches, build, running
from exporter.simulator.app import Simulator
from exporter.simulator.messages import Request
from exporter.snapshot import Batch, Instance, Statistics, StatusCount, Ticket
from exporter.telemetry import Telemetry

UUID = "SCT2026010211040501a3f9c27"
CANARY = "canary-token-5f2a"
DEMO_AUTH = {"token": {"token": "demo-token"}}


class Highest:
    """Dice that always show the highest face; ``asked`` are the ranges they were thrown over."""

    def __init__(self):
        self.asked = []

    def uniform(self, low, high):
        self.asked.append((low, high))
        return high


class Rig:
    """An Api whose answers a handler gives; ``sent`` are the requests that left."""

    def __init__(self, handler, clock=None, telemetry=None, **limits):
        self.clock = clock or FakeClock()
        self.telemetry = telemetry or Telemetry(process=False)
        self.random = Highest()
        self.sent = []
        self.gate = Gate(
            "prod",
            rate=limits.pop("rate", 1e6),
            concurrency=limits.pop("concurrency", 8),
            pause=limits.pop("pause", 27.0),
            telemetry=self.telemetry,
            clock=self.clock,
        )
        self._handler = handler
        self.api = self._api(
            limits.pop("auth", None) or TokenAuth(lambda: CANARY), Limits(50, limits.pop("attempts", 3))
        )
        assert not limits

    def _api(self, auth, limits):
        transport = MeteredTransport(
            httpx.MockTransport(self._answer), account="prod", timeout=5, telemetry=self.telemetry, clock=self.clock
        )
        http = httpx.AsyncClient(
            transport=transport,
            base_url="https://coc.example",
            headers=headers("en-us", None),
            auth=auth,
            follow_redirects=False,
        )
        reasons = Reasons()
        interpreter = Interpreter(Statuses(), self.telemetry, reasons.of, keep_logs=True)
        return Api(
            http,
            self.gate,
            interpreter,
            auth,
            limits=limits,
            telemetry=self.telemetry,
            clock=self.clock,
            random=self.random,
        )

    async def _answer(self, request):
        self.sent.append(request)
        answer = self._handler(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        # A fresh one each time, not yet read, as it comes over a wire.
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    def value(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, {"account": "prod"} | labels)

    def count(self, name, **labels):
        """Return a counter that has no account."""
        return self.telemetry.registry.get_sample_value(name, labels)


def ok(data):
    return httpx.Response(200, json={"data": data})


def raw(body, status=200, **headers):
    return httpx.Response(status, content=body, headers=headers)


def refusal(status, code="", text="", **headers):
    return httpx.Response(status, json={"error_code": code, "error_msg": text}, headers=headers)


def in_turn(*answers):
    """Answer with one after the other, the last for ever."""
    left = list(answers)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def row(number, status="FINISHED", **fields):
    """Return an instance as the API writes it."""
    return {
        "id": number,
        "gmt_created": 1767323105301,
        "gmt_finished": 1767323141544,
        "execute_costs": 36243,
        "status": status,
        "message": "ok\n",
        "target_instance": {"resource_id": f"r-{number}", "properties": {"host_name": f"web-{number}"}},
        **fields,
    }


def page(*rows, total=None):
    return {"batch_index": 1, "total_instances": len(rows) if total is None else total, "execute_instances": list(rows)}


STATISTICS = {"total_instance": 0, "execute_statistics": []}


# The poller over a simulated world.


def account(url, name="prod", **fields):
    """Return an account of the config."""
    document = {"accounts": [{"name": name, "endpoint": url, "iam_endpoint": url, "auth": DEMO_AUTH, **fields}]}
    return config.parse(json.dumps(document)).accounts[0]


def tickets(*uuids, **fields):
    return [{"execute_uuid": uuid, **fields} for uuid in uuids]


class Stage:
    """An application that can be exchanged, so that tests share a socket."""

    app = None

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


@contextmanager
def stage():
    """Serve a stage; yield it with its URL."""
    held = Stage()
    with running(held) as url:
        held.url = url
        yield held


def poller_of(world, connected, url, name, uuids, *, discovery=None, watch=None, **pace):
    """Return a poller of these tickets; ``pace`` is what differs from the defaults of the config."""
    fields = {"tickets": tickets(*uuids) if watch is None else watch}
    if discovery is not None:
        fields["discovery"] = discovery
    known = account(url, name, **fields)
    cadence = Cadence(30.0, pace.pop("stale_after", 300.0), pace.pop("full_refresh", 3600.0))
    how = Pace(cadence, pace.pop("deadline", 60.0), pace.pop("concurrency", 8), pace.pop("keep_finished", 86400.0))
    assert not pace
    return AccountPoller(
        known, connected(known), how, journal=world.journal, telemetry=world.telemetry, clock=world.clock
    )


class World:
    """A scripted world on a stage, and the pollers over it; the clock is the test's."""

    def __init__(self, held, clock=None):
        self.clock = clock or FakeClock(1_767_323_045.0)
        self.telemetry = Telemetry(process=False)
        self.script = Script(clock=self.clock.time)
        self.app = build(world=self.script, clock=self.clock.time)
        self.url = held.url
        self.journal = Journal(self.clock)
        held.app = self.app

    @property
    def controls(self):
        return self.app.state.controls

    def poller(self, *uuids, name="prod", **fields):
        limits = {
            "requests_per_second": fields.pop("rate", 200.0),
            "page_limit": fields.pop("page_limit", 50),
            "max_attempts": 1,
        }

        def connected(known):
            return connect(
                known,
                config.Poll().model_copy(update=limits),
                Interpreter(Statuses(), self.telemetry, Reasons().of, keep_logs=True),
                telemetry=self.telemetry,
                clock=self.clock,
                random=Highest(),
            )

        return poller_of(self, connected, self.url, name, uuids, **fields)

    def crank(self, *accounts, publish=None, **settings):
        async def nowhere(_snapshot):
            return None

        how = {"interval": 30.0, "deadline": 60.0} | settings
        return Poller(accounts, publish or nowhere, telemetry=self.telemetry, clock=self.clock, **how)

    def asked(self):
        """Return the requests since this was last asked, by operation."""
        seen = dict(self.app.state.requests)
        self.app.state.requests.clear()
        return seen

    def value(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, labels)


class Played(Rig):
    """An Api over a scripted world without a socket: fast enough for thousands of polls."""

    def __init__(self, **limits):
        clock = FakeClock(1_767_323_045.0)
        self.script = Script(clock=clock.time)
        self.controls = Controls(Switches(), clock.time)
        self.simulator = Simulator(self.script, Credentials(token=CANARY), clock.time, self.controls)
        self.journal = Journal(clock)
        super().__init__(self._played, clock, **limits)

    def _played(self, request):
        path, _, query = request.url.raw_path.decode().partition("?")
        asked = Request(request.method, path, query, dict(request.headers))
        answer, _ = self.simulator.answer(asked, self.controls.switches)
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)

    def poller(self, *uuids, **fields):
        return poller_of(self, lambda _known: self.api, "https://coc.example", "prod", uuids, **fields)

    def asked(self):
        """Return the requests since this was last asked, by operation."""
        seen = dict(self.simulator.requests)
        self.simulator.requests.clear()
        return seen


def counts(ticket):
    """Return the instances by batch and status."""
    return {
        batch.index: {
            status: sum(i.status == status for i in batch.instances) for status in {i.status for i in batch.instances}
        }
        for batch in ticket.batches
    }


# Tickets made by hand.


def statistics_of(batches):
    """Return the statistics that agree with these batches."""
    found = {}
    for batch in batches:
        for instance in batch.instances:
            number, indexes = found.get(instance.status, (0, frozenset()))
            found[instance.status] = number + 1, indexes | {batch.index}
    rows = tuple(StatusCount(status, number, indexes) for status, (number, indexes) in sorted(found.items()))
    return Statistics(sum(row.count for row in rows), rows)


def ticket_of(*batches, status="PROCESSING", **fields):
    """Return a ticket of batches, each a string of the first letters of its instances' statuses."""
    made = tuple(
        Batch.of(
            index,
            len(letters),
            tuple(instance(index * 100 + number, LETTERS[letter]) for number, letter in enumerate(letters)),
        )
        for index, letters in enumerate(batches, start=1)
    )
    return replace(Ticket("SCT", status, batches=made, statistics=statistics_of(made)), **fields)


LETTERS = {"R": "READY", "P": "PROCESSING", "A": "ABNORMAL", "C": "CANCELED", "F": "FINISHED", "B": "ROLLBACKED"}


def instance(number, status, finished=None, duration=None, **fields):
    return Instance(number, status, 1.0, finished, duration, **fields)
