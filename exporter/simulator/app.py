"""
One ASGI application that plays every host an exporter talks to: COC, IAM and the ECS metadata service.

Paths do not collide, so one socket is enough. Routing is by hand: it is the path that benchmarks measure.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from exporter.simulator import api, iam
from exporter.simulator.messages import Answer, Refused, Request, coc, gateway
from exporter.simulator.signin import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send

    from exporter.simulator.credentials import Credentials
    from exporter.simulator.faults import Controls, Switches
    from exporter.simulator.model import World

_ORDERS = ["v1", "job", "script", "orders"]
_REMEMBERED_REQUESTS = 10_000
_FIXED = {
    ("POST", "v3/auth/tokens"): "iam_token",
    ("GET", "v3/projects"): "iam_projects",
    ("PUT", "meta-data/latest/api/token"): "metadata_token",
    ("GET", "openstack/latest/securitykey"): "metadata_key",
}
_METADATA = {"metadata_token", "metadata_key"}


class Record(NamedTuple):
    """A request that was answered, for tests of what was asked and in which order."""

    operation: str
    method: str
    path: str
    query: str
    status: int


def operation(request: Request) -> str:
    """Name what the request asks for; ``unknown`` is published nowhere."""
    parts = request.segments
    if parts[:4] != _ORDERS:
        return _FIXED.get((request.method, "/".join(parts)), "unknown")
    match request.method, parts[4:]:
        case "GET", []:
            return "list_tickets"
        case "GET", [_]:
            return "ticket"
        case "GET", [_, "statistics" | "batches" as name]:
            return name
        case "GET", [_, "batches", _]:
            return "batch_page"
    return "unknown"


class Simulator:
    """The application; counts what it was asked in ``requests`` and lists it in ``log``."""

    def __init__(self, world: World, credentials: Credentials, clock: Callable[[], float], controls: Controls) -> None:
        self.world = world
        self.requests: Counter[str] = Counter()
        self.log: deque[Record] = deque(maxlen=_REMEMBERED_REQUESTS)
        self._credentials = credentials
        self._clock = clock
        self._controls = controls
        self._gate = Gate(credentials)
        self._iam = iam.Iam(credentials)
        self._served = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        request = await _received(scope, receive)
        switches = self._controls.switches
        if switches.latency:
            await asyncio.sleep(switches.latency)
        answer, request_id = self.answer(request, switches)
        for message in _sent(answer, request_id, self._clock() + switches.clock_offset):
            await send(message)

    def answer(self, request: Request, switches: Switches) -> tuple[Answer, str]:
        """Return the answer and its request id; every answer is counted."""
        self._served += 1
        name = operation(request)
        request_id = hashlib.md5(f"{self._served}/{request.raw_path}".encode(), usedforsecurity=False).hexdigest()
        try:
            answer = self._faulty(name, request, switches)
        except Refused as refused:
            answer = refused.answer(request_id)
        self.requests[name] += 1
        self.log.append(Record(name, request.method, request.raw_path, request.raw_query, answer.status))
        return answer, request_id

    def _faulty(self, name: str, request: Request, switches: Switches) -> Answer:
        """Answer as the switches have it; the metadata service is another host and has its own switch."""
        if name in _METADATA:
            return self._metadata(name, request, switches)
        if switches.api_down:
            return Answer(b"", 503, "text/plain", cut=switches.api_down == "close")
        if switches.html:
            return Answer(b"<html><body><h1>Welcome</h1></body></html>", 200, "text/html")
        if _due(self._served, switches.throttle):
            raise _throttled(switches)
        if _due(self._served, switches.errors):
            raise coc("COC.00040701", "Internal error", 500)
        return self._signed_in(name, request, switches)

    def _signed_in(self, name: str, request: Request, switches: Switches) -> Answer:
        now = self._clock() + switches.clock_offset
        if name == "iam_token":
            return self._iam.token(request, now, switches)
        if name == "unknown":
            raise gateway(404, "APIGW.0101", "The API does not exist or has not been published in the environment")
        if name == "iam_projects":
            self._gate.check(request, now, switches)
            return self._iam.projects(request)
        self._gate.check(request, now, switches)
        return Answer(b"{}") if switches.empty_answers else self._endpoint(name, request, switches)

    def _endpoint(self, name: str, request: Request, switches: Switches) -> Answer:
        view = api.View(self.world, self._clock(), switches)
        match name, request.segments[4:]:
            case "ticket", [uuid]:
                return api.show_order(view, uuid)
            case "statistics", [uuid, _]:
                return api.show_statistics(view, uuid)
            case "batches", [uuid, _]:
                return api.list_batches(view, uuid)
            case "batch_page", [uuid, _, index]:
                return api.show_batch(view, uuid, index, request)
        return api.list_orders(view, request)

    def _metadata(self, name: str, request: Request, switches: Switches) -> Answer:
        now = self._clock() + switches.clock_offset
        serve = iam.metadata_token if name == "metadata_token" else iam.security_key
        return serve(self._credentials, request, now, switches)


def _due(served: int, share: float) -> bool:
    """Tell whether request number ``served`` is one of this share, spread evenly."""
    return int(served * share) > int((served - 1) * share)


def _throttled(switches: Switches) -> Refused:
    text = "The throttling threshold has been reached: policy user over ratelimit,limit:60,time:1 minute"
    return gateway(429, "APIGW.0308", text, {"Retry-After": str(switches.retry_after)} if switches.retry_after else {})


async def _received(scope: Scope, receive: Receive) -> Request:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return Request(
        method=scope["method"],
        raw_path=scope["raw_path"].decode("latin-1"),
        raw_query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


def _sent(answer: Answer, request_id: str, now: float) -> list[Message]:
    """Return the ASGI messages; a cut answer promises a byte that never comes, so the server hangs up."""
    headers = {
        "content-type": answer.content_type,
        "content-length": str(len(answer.body) + answer.cut),
        "date": formatdate(now, usegmt=True),
        "x-request-id": request_id,
        **answer.headers,
    }
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    start = {"type": "http.response.start", "status": answer.status, "headers": raw}
    body = {"type": "http.response.body", "body": answer.body, "more_body": answer.cut}
    return [start, body]
