"""Our exporter as a process of its own, over a scripted world, and what it takes of the machine."""

from __future__ import annotations

import os
import re
import resource
import socket
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import tools

from exporter import simulator
from faults.readings import Exposition, truth
from faults.server import Door, Played

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COMMAND = [sys.executable, "-m", "exporter", "serve"]
CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token_file: {token}}}}}
    discovery: {{max_tickets: 10000}}
# Any poll uses both connections: one more than that is one that was lost.
poll: {{interval: 1s, request_timeout: 5s, requests_per_second: 200, concurrency: 2, max_attempts: 1, full_refresh: 1s}}
"""


class World:
    """Tickets that run, each with an instance in a different state, and the address of their API."""

    def __init__(self, folder: Path, tickets: int, batches: Sequence[int] = (3, 2)) -> None:
        self.script = simulator.Script()
        self.door = Door(Played(self.script, time.time))
        for number in range(tickets):
            ticket = self.script.ticket(f"SCT-{number}", batches=batches)
            ticket.set(ticket.ids()[0], "ABNORMAL", log="No space left on device")
            ticket.set(ticket.ids()[1], "PROCESSING")
        self.config = folder / "config.yaml"
        token = folder / "token"
        token.write_text("demo-token")
        self.config.write_text(CONFIG.format(url=self.door.url, token=token))

    def wrong(self, seen: Exposition) -> list[str]:
        """Return the tickets of which something else is shown than is true."""
        tickets = self.script.tickets(0)
        return [ticket.head.uuid for ticket in tickets if seen.counts(ticket.head.uuid) != truth(ticket)]

    def right(self, seen: Exposition) -> bool:
        """Tell whether every ticket is shown as it is, and as read by the last poll."""
        return not self.wrong(seen) and all(seen.up(ticket.head.uuid) == 1 for ticket in self.script.tickets(0))

    def fail_more(self) -> None:
        """Let a READY instance of every ticket fail."""
        for ticket in self.script.tickets(0):
            row = next(row for row in ticket.ids() if ticket.instance(row).status == "READY")
            ticket.set(row, "ABNORMAL", log="odd")


class Serving:
    """The process; it is asked through one connection that stays open."""

    def __init__(self, process: tools.Process, url: str) -> None:
        self.process = process
        self.url = url
        self.host, self.port = self.url.removeprefix("http://").split(":")
        self._kept = HTTPConnection(self.host, int(self.port), timeout=tools.PATIENCE)

    @property
    def pid(self) -> int:
        return self.process.popen.pid

    def get(self, path: str = "/metrics") -> str:
        self._kept.request("GET", path)
        return self._kept.getresponse().read().decode()

    def scrape(self) -> Exposition:
        """Return what is shown now."""
        return Exposition(self.get())

    def fresh(self, **headers: str) -> bytes:
        """Return a scrape over a connection of its own."""
        request = urllib.request.Request(f"{self.url}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=tools.PATIENCE) as answer:
            return answer.read()

    def shown(self, condition: Callable[[Exposition], bool], what: str) -> Exposition:
        """Return the first exposition that is so."""
        return tools.until(lambda: seen if condition(seen := self.scrape()) else None, what)

    def polled(self) -> Exposition:
        """Return what is shown after two more polls: the second began after this was asked."""
        before = self.scrape().value("coc_exporter_polls_total") or 0
        return self.shown(lambda seen: (seen.value("coc_exporter_polls_total") or 0) >= before + 2, "two more polls")

    @contextmanager
    def slow_readers(self, number: int) -> Iterator[None]:
        """Hold so many connections that asked for all and take nothing of it."""
        with ExitStack() as stack:
            for _ in range(number):
                reader = stack.enter_context(socket.socket())
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                reader.connect((self.host, int(self.port)))
                reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: slow\r\n\r\n")
            yield

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208  names alone are wanted

    def peak(self) -> int:
        """Return the most memory that it ever held, in bytes."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0

    @contextmanager
    def limited(self, kind: int, number: int) -> Iterator[None]:
        """Let it have no more than this of something, for as long as the block lasts."""
        soft, hard = resource.prlimit(self.pid, kind)
        resource.prlimit(self.pid, kind, (number, hard))
        try:
            yield
        finally:
            resource.prlimit(self.pid, kind, (soft, hard))

    def close(self) -> None:
        self._kept.close()


@contextmanager
def world(folder: Path, tickets: int, batches: Sequence[int] = (3, 2)) -> Iterator[World]:
    """Play an API of so many tickets."""
    made = World(folder, tickets, batches)
    try:
        yield made
    finally:
        made.door.close()


@contextmanager
def serving(made: World, log: Path, *flags: str, **extra) -> Iterator[Serving]:
    """Run our exporter over a world, ready."""
    command = [*COMMAND, "--web.listen-address=127.0.0.1:0", f"--config.file={made.config}", *flags]
    with tools.running(command, log, **extra) as process:
        served = Serving(process, tools.listening(process))
        try:
            served.shown(made.right, "every ticket")
            yield served
        finally:
            served.close()
