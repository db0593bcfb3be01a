"""
A server on a bare socket that plays the API by the simulator's answers, and breaks the one it is told to break.

A ``Door`` is one address. ``damage`` makes it spoil the answers to one operation, by a fault of ``ANSWERS``;
``shut`` makes the address itself fail, in a manner of ``SHUT``. ``mend`` ends both.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from email.utils import formatdate
from typing import TYPE_CHECKING

from exporter.simulator import Controls, Credentials, Switches
from exporter.simulator.app import Simulator, operation
from exporter.simulator.messages import Request
from faults.answers import ANSWERS, PATIENCE, Reply, Wire
from faults.certificates import contexts

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.simulator import World
    from faults.answers import Play

SHUT = {
    "refused": frozenset({"connect"}),
    "name does not resolve": frozenset({"connect"}),
    "connect timeout": frozenset({"timeout"}),
    "TLS: no handshake": frozenset({"timeout"}),
    "TLS: plain HTTP": frozenset({"connect"}),
    "TLS: expired": frozenset({"tls"}),
    "TLS: wrong host": frozenset({"tls"}),
    "TLS: unknown CA": frozenset({"tls"}),
}


class Played:
    """One API for several doors: the simulator's answers, one at a time."""

    def __init__(self, world: World, clock: Callable[[], float], credentials: Credentials | None = None) -> None:
        self.controls = Controls(Switches(), clock)
        self.simulator = Simulator(world, credentials or Credentials(), clock, self.controls)
        self._clock = clock
        self._lock = threading.Lock()

    def reply(self, request: Request) -> Reply:
        with self._lock:
            answer, request_id = self.simulator.answer(request, self.controls.switches)
        headers = {
            "content-type": answer.content_type,
            "date": formatdate(self._clock(), usegmt=True),
            "x-request-id": request_id,
            **answer.headers,
        }
        return Reply(answer.status, tuple(headers.items()), answer.body)


class Door:
    """One address of the API; ``injected`` counts what was spoilt, ``trapped`` who followed a redirect."""

    def __init__(self, played: Played, *, tls: bool = False) -> None:
        self.injected = 0
        self.trapped: list[bytes] = []
        self._played = played
        self._tls = tls
        self._certificate = "good"
        self._target: tuple[str, str, Play] | None = None
        self._shut_after: tuple[str, str] | None = None
        self._manner = ""
        self._mended = threading.Event()
        self._blockers: list[socket.socket] = []
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = _listener(0)
        self.port = self._listener.getsockname()[1]
        self._trap = Trap(self.trapped)
        self._accept()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://localhost:{self.port}"

    def damage(self, operation: str, uuid: str, fault: str | Play) -> None:
        """Spoil the answers to one operation; of one ticket, unless ``uuid`` is empty."""
        self._target = (operation, uuid, ANSWERS[fault].play if isinstance(fault, str) else fault)

    def shut(self, manner: str, after: str = "") -> None:
        """Fail as a whole, from now on or from the next answer to the operation ``after`` on."""
        if after:
            self._shut_after = (after, manner)
            return
        self._shut_after = None
        self._manner = manner
        self.injected += 1
        self._hang_up_on_all()
        match manner:
            case "refused":
                self._unlisten()
            case "connect timeout":
                self._unlisten()
                self._listener = _listener(self.port, backlog=0)
                self._blockers = [_blocker(self.port) for _ in range(4)]
            case "TLS: expired" | "TLS: wrong host" | "TLS: unknown CA":
                self._certificate = manner.removeprefix("TLS: ")

    def mend(self) -> None:
        """Play as before."""
        self._target = self._shut_after = None
        self._mended.set()
        self._hang_up_on_all()
        if self._manner in {"refused", "connect timeout"}:
            self._unlisten()
            for blocker in self._blockers:
                blocker.close()
            self._blockers = []
            self._listener = _listener(self.port)
            self._accept()
        self._manner, self._certificate = "", "good"
        self._mended = threading.Event()

    def hang_up_idle(self) -> None:
        """Close every connection, as servers do with those that are idle."""
        self._hang_up_on_all()

    def close(self) -> None:
        self._mended.set()
        self._hang_up_on_all()
        self._unlisten()
        for blocker in self._blockers:
            blocker.close()
        self._trap.close()
        for thread in self._threads:
            thread.join(PATIENCE + 1)

    def _accept(self) -> None:
        self._begin(self._accept_all, self._listener)

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, args=arguments, daemon=True, name="faulty-door")
        self._threads.append(thread)
        thread.start()

    def _unlisten(self) -> None:
        with contextlib.suppress(OSError):
            # Wakes the thread that waits in accept, which close does not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _hang_up_on_all(self) -> None:
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _accept_all(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._begin(self._serve, connection)

    def _serve(self, raw: socket.socket) -> None:
        self._connections.add(raw)
        connection = raw
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._secured(raw)
            self._answer_all(connection)
        except (OSError, ValueError):
            pass  # hung up, by them or by us
        finally:
            self._connections.discard(raw)
            connection.close()
            raw.close()

    def _secured(self, raw: socket.socket) -> socket.socket:
        if not self._tls:
            return raw
        wire = Wire(raw, self._mended, "")
        if self._manner == "TLS: no handshake":
            wire.wait()
            raise OSError
        if self._manner == "TLS: plain HTTP":
            wire.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            raise OSError
        secured = contexts()[self._certificate].wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        self._connections.discard(raw)
        self._connections.add(secured)
        try:
            secured.do_handshake()
        except BaseException:
            self._connections.discard(secured)
            secured.close()
            raise
        return secured

    def _answer_all(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as stream:
                while (request := _read(stream)) is not None:
                    if not self._answer(connection, request):
                        return
        finally:
            self._connections.discard(connection)

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        name = operation(request)
        reply = self._played.reply(request)
        target = self._target
        if target is not None and target[0] == name and target[1] in request.raw_path:
            self.injected += 1
            wire = Wire(connection, self._mended, self._trap.url)
            target[2](wire, reply)
            return wire.goes_on
        pending = self._shut_after
        if pending is not None and pending[0] == name:
            # The next request comes at once: the address has failed before it knows that it may.
            self._connections.discard(connection)
            self.shut(pending[1])
            connection.sendall(reply.whole("connection: close"))
            return False
        connection.sendall(reply.whole())
        return True


class Trap:
    """Where redirects lead; nobody must ever come."""

    def __init__(self, trapped: list[bytes]) -> None:
        self._listener = _listener(0)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/trap"
        self._trapped = trapped
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self._trapped.append(connection.recv(65536))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)


def _listener(port: int, backlog: int = 64) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(backlog)
    return listener


def _blocker(port: int) -> socket.socket:
    """Take a place in the queue of connections that nobody accepts."""
    blocker = socket.socket()
    blocker.setblocking(False)
    blocker.connect_ex(("127.0.0.1", port))
    return blocker


def _read(stream) -> Request | None:
    """Return the next request, None when the peer hung up."""
    line = stream.readline(65536)
    if not line:
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers = {}
    while (line := stream.readline(65536).strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body)


@contextlib.contextmanager
def unresolvable(door: Door):
    """Let the resolver be asked for a name that no resolver knows when the door's is meant."""
    true = socket.getaddrinfo

    def asked(host, port, *arguments, **options):
        return true("coc.invalid" if port == door.port else host, port, *arguments, **options)

    socket.getaddrinfo = asked
    try:
        yield
    finally:
        socket.getaddrinfo = true
