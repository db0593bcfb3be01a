"""
The API, played fast: the simulator's answers, each worked out once, sent by a server that costs next to nothing.

Every ticket stands at a moment of its own; ``/-/turn/N`` takes N tickets, the first ones, to their next event, and
``/-/settle/N`` takes all but the first N to their end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from exporter.simulator import Plan, Switches, api, build
from exporter.simulator.messages import Refused, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUNNING = "PROCESSING"
_REQUEST_ID = "0123456789abcdef0123456789abcdef"


class Book:
    """The answers of a world in which each ticket stands at its own moment."""

    def __init__(self, plan: Plan) -> None:
        self._world = build(plan).state.world
        self._switches = Switches()
        self.uuids: list[str] = []
        self._events: dict[str, Sequence[int]] = {}
        self._at: dict[str, int] = {}
        self._known: dict[str, dict[str, bytes]] = {}
        self.counts: dict[str, int] = {}
        for ticket in self._world.tickets(plan.until):
            uuid = ticket.head.uuid
            self.uuids.append(uuid)
            self._events[uuid] = ticket.life.events
            self._at[uuid] = len(ticket.life.events) // 2
            self._find_running(uuid)

    def answer(self, target: str) -> bytes:
        """Return the whole answer to a GET."""
        path, _, query = target.partition("?")
        parts = path.strip("/").split("/")
        if parts[0] == "-":
            return self._control(parts[1:])
        uuid = parts[4] if len(parts) > 4 else ""
        name = parts[5] if len(parts) == 6 else "batch_page" if len(parts) > 6 else "ticket" if uuid else "list"
        self.counts[name] = self.counts.get(name, 0) + 1
        known = self._known.setdefault(uuid, {})
        if target not in known:
            known[target] = _http(*self._work_out(uuid, parts[5:], Request("GET", path, query, {})))
        return known[target]

    def _work_out(self, uuid: str, rest: list[str], request: Request) -> tuple[bytes, int]:
        view = api.View(self._world, self._now(uuid), self._switches)
        try:
            match rest:
                case ["statistics"]:
                    answer = api.show_statistics(view, uuid)
                case ["batches"]:
                    answer = api.list_batches(view, uuid)
                case ["batches", index]:
                    answer = api.show_batch(view, uuid, index, request)
                case _:
                    answer = api.show_order(view, uuid) if uuid else api.list_orders(view, request)
        except Refused as refused:
            answer = refused.answer(_REQUEST_ID)
        return answer.body, answer.status

    def _now(self, uuid: str) -> float:
        if not uuid:
            return self._world.plan.until
        return self._events[uuid][self._at[uuid]] / 1000 + 0.001

    def _control(self, parts: list[str]) -> bytes:
        match parts:
            case ["turn", number]:
                for uuid in self.uuids[: int(number)]:
                    self._move(uuid, self._at[uuid] + 1)
                    self._find_running(uuid)
            case ["settle", number]:
                for uuid in self.uuids[int(number) :]:
                    self._move(uuid, len(self._events[uuid]) - 1)
            case ["forget"]:
                self.counts.clear()
        return _http(json.dumps({"uuids": self.uuids, "counts": self.counts}).encode(), HTTPStatus.OK)

    def _move(self, uuid: str, place: int) -> None:
        self._at[uuid] = min(place, len(self._events[uuid]) - 1)
        self._known.pop(uuid, None)

    def _find_running(self, uuid: str) -> None:
        """Take a ticket to its next event at which it is running."""
        while self._at[uuid] < len(self._events[uuid]) - 1:
            if self._world.find(uuid, self._now(uuid)).head.status == _RUNNING:
                return
            self._at[uuid] += 1


def _http(body: bytes, status: int) -> bytes:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\ndate: {formatdate(time.time(), usegmt=True)}\r\n"
        f"x-request-id: {_REQUEST_ID}\r\n\r\n"
    )
    return head.encode() + body


class _Speaker(asyncio.Protocol):
    def __init__(self, book: Book) -> None:
        self._book = book
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            target = self._unread[:end].split(b" ", 2)[1]
            self._unread = self._unread[end + 4 :]
            self._transport.write(self._book.answer(target.decode("latin-1")))


async def _serve(book: Book) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Speaker(book), "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def plan(tickets: int, batches: int, instances: int) -> Plan:
    """Return a plan with exactly so many of everything, of tickets that run through without pause."""
    shape = Plan(tickets=tickets, batches=batches, instances=instances, exact=True, pause_share=0, cancelled_share=0)
    return Plan(**{**shape.__dict__, "until": shape.epoch + shape.period * (tickets + 1)})


def main() -> None:
    """Play until killed."""
    command = argparse.ArgumentParser()
    for name, default in (("--tickets", 100), ("--batches", 20), ("--instances", 10)):
        command.add_argument(name, type=int, default=default)
    asked = command.parse_args()
    asyncio.run(_serve(Book(plan(asked.tickets, asked.batches, asked.instances))))


if __name__ == "__main__":
    main()
