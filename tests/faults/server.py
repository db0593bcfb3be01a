"""
A server on a bare socket that plays the API by the simulator's answers, and breaks the one it is told to break.

A ``Door`` is one address. ``damage`` makes it spoil the answers to one operation, by a fault of ``ANSWERS``;
``shut`` makes the address itself fail, in a manner of ``SHUT``. ``mend`` ends both.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
import zlib
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING

from faults.certificates import contexts

from exporter.simulator import Controls, Credentials, Switches
from exporter.simulator.app import Simulator, operation
from exporter.simulator.messages import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.simulator import World

MIB = 1024 * 1024
PATIENCE = 5.0
"""Seconds after which a broken answer that nobody hung up on is given up."""


@dataclass(frozen=True)
class Reply:
    """A whole answer, before it is sent or spoilt."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def head(self, *more: str, length: int | None = None, line: str = "") -> bytes:
        """Return status line and headers; ``length`` None states no Content-Length."""
        lines = [line or f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in self.headers)]
        if length is not None:
            lines.append(f"content-length: {length}")
        return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode("latin-1")

    def whole(self, *more: str) -> bytes:
        return self.head(*more, length=len(self.body)) + self.body


class Wire:
    """One connection, as a fault sees it."""

    def __init__(self, connection: socket.socket, mended: threading.Event, trap: str) -> None:
        self.connection = connection
        self.mended = mended
        self.trap = trap

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.sendall(piece)

    def wait(self) -> None:
        """Wait until the peer hangs up."""
        self.connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass

    def reset(self) -> None:
        """Break off by RST, not by FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def for_ever(self, piece: bytes, pause: float = 0.0) -> None:
        """Send and send, until the peer hangs up or the fault is mended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self.mended.wait(pause):
            self.send(piece)


def _silence(wire: Wire, _reply: Reply) -> None:
    wire.wait()


def _hang_up(_wire: Wire, _reply: Reply) -> None:
    """Close without a byte, as a server does that closes an idle connection just when we use it."""


def _reset_at_once(wire: Wire, _reply: Reply) -> None:
    wire.reset()


def _reset_in_headers(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head()[:40])
    wire.reset()


def _reset_in_body(wire: Wire, reply: Reply) -> None:
    wire.send(reply.whole()[:-10])
    wire.reset()


def _promise_more(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head(length=len(reply.body) + 10), reply.body)


def _promise_less(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head(length=max(1, len(reply.body) - 10)), reply.body)


def _contradict(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head("content-length: 1", length=len(reply.body)), reply.body)


def _negative_length(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head("content-length: -5"), reply.body)


def _bad_status_line(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head(line="ICY 2OO fine", length=len(reply.body)), reply.body)


def _other_protocol(wire: Wire, _reply: Reply) -> None:
    wire.send(b"220 mail.example.org ESMTP ready\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _truncated_chunk(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head("transfer-encoding: chunked"), _chunk(reply.body)[:-12])


def _no_last_chunk(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head("transfer-encoding: chunked"), _chunk(reply.body))


def _bad_chunk_size(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head("transfer-encoding: chunked"), b"many\r\n", reply.body, b"\r\n0\r\n\r\n")


def _drip(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head(length=len(reply.body)))
    for byte in reply.body:
        wire.send(bytes([byte]))
        if wire.mended.wait(1.0):
            return


def _packed(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def _broken_gzip(wire: Wire, reply: Reply) -> None:
    packed = _packed(reply.body)
    spoilt = packed[:12] + bytes(byte ^ 0xFF for byte in packed[12:])
    wire.send(replace(reply, body=spoilt).whole("content-encoding: gzip"))


def _cut_gzip(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, body=_packed(reply.body)[:-9]).whole("content-encoding: gzip"))


def _false_gzip(wire: Wire, reply: Reply) -> None:
    wire.send(reply.whole("content-encoding: gzip"))


def _other_encoding(wire: Wire, reply: Reply) -> None:
    wire.send(reply.whole("content-encoding: br"))


def bomb() -> bytes:
    """Return a megabyte of gzip that holds a gigabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    first = packer.compress(b"[" + b" " * (MIB - 1)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers back, so the same bytes may follow again and again.
    return first + again * 1023


def _gzip_bomb(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, body=bomb()).whole("content-encoding: gzip"))


def _endless_body(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head("transfer-encoding: chunked"))
    wire.for_ever(_chunk(b" " * MIB))


def _huge_length(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head(length=10**15))
    wire.for_ever(b" " * MIB)


def _endless_headers(wire: Wire, reply: Reply) -> None:
    wire.send(reply.head()[:-2])
    wire.for_ever(b"x-more: and more\r\n" * 100)


def _many_headers(wire: Wire, reply: Reply) -> None:
    wire.send(reply.whole(*(f"x-{number}: {number}" for number in range(10_000))))


def _some_headers(wire: Wire, reply: Reply) -> None:
    wire.send(reply.whole(*(f"x-{number}: {number}" for number in range(1000))))


def _redirect(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, status=302).whole(f"location: {wire.trap}"))


def _redirect_for_good(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, status=308).whole(f"location: {wire.trap}"))


def _no_content(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, status=204).whole())


def _claimed_charset(wire: Wire, reply: Reply) -> None:
    headers = tuple((name, value) for name, value in reply.headers if name != "content-type")
    wire.send(replace(reply, headers=(*headers, ("content-type", "application/json; charset=utf-16"))).whole())


def _other_charset(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, body=reply.body[:1] + b'"\xe9":1,' + reply.body[1:]).whole())


def _html(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, body=b"<html>Please sign in to this network</html>").whole())


def _null(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, body=b"null").whole())


def _deep(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, body=b'{"data":' + b"[" * 100_000).whole())


def _unavailable(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, status=503, body=b"").whole())


def _throttle(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, status=429, body=b"").whole())


def _interim_flood(wire: Wire, _reply: Reply) -> None:
    # At full speed it would be the tests' own CPU that is measured.
    wire.for_ever(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 50, 0.01)


def _interim(wire: Wire, reply: Reply) -> None:
    wire.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, reply.whole())


@dataclass(frozen=True)
class Fault:
    """A way to spoil an answer, and the reasons that may be given for it; none when it must do no harm."""

    play: Callable[[Wire, Reply], None]
    reasons: frozenset[str]


def _fault(play: Callable[[Wire, Reply], None], *reasons: str) -> Fault:
    return Fault(play, frozenset(reasons))


ANSWERS = {
    "read timeout": _fault(_silence, "timeout"),
    "closed under us": _fault(_hang_up, "protocol"),
    "reset before headers": _fault(_reset_at_once, "protocol"),
    "reset inside headers": _fault(_reset_in_headers, "protocol"),
    "reset inside body": _fault(_reset_in_body, "protocol"),
    "Content-Length too large": _fault(_promise_more, "protocol"),
    "Content-Length too small": _fault(_promise_less, "malformed"),
    "two Content-Lengths": _fault(_contradict, "protocol"),
    "negative Content-Length": _fault(_negative_length, "protocol"),
    "bad status line": _fault(_bad_status_line, "protocol"),
    "another protocol": _fault(_other_protocol, "protocol"),
    "truncated chunk": _fault(_truncated_chunk, "protocol"),
    "no last chunk": _fault(_no_last_chunk, "protocol"),
    "bad chunk size": _fault(_bad_chunk_size, "protocol"),
    "a byte a second": _fault(_drip, "timeout"),
    "broken gzip": _fault(_broken_gzip, "protocol"),
    "gzip cut short": _fault(_cut_gzip, "protocol"),
    "no gzip at all": _fault(_false_gzip, "protocol"),
    "an encoding not asked for": _fault(_other_encoding, "protocol"),
    "gzip bomb": _fault(_gzip_bomb, "too_large"),
    "endless body": _fault(_endless_body, "too_large", "timeout"),
    "a petabyte announced": _fault(_huge_length, "too_large", "timeout"),
    "endless headers": _fault(_endless_headers, "protocol", "timeout"),
    "10,000 headers": _fault(_many_headers, "protocol"),
    "1,000 headers": _fault(_some_headers, "protocol"),
    "redirect": _fault(_redirect, "unexpected_status"),
    "permanent redirect": _fault(_redirect_for_good, "unexpected_status"),
    "204 with a body": _fault(_no_content, "unexpected_status"),
    "charset that is not so": _fault(_claimed_charset),
    "not UTF-8": _fault(_other_charset, "malformed"),
    "a page of HTML": _fault(_html, "malformed"),
    "null": _fault(_null, "malformed"),
    "nested without end": _fault(_deep, "malformed"),
    "503": _fault(_unavailable, "server_error"),
    "429": _fault(_throttle, "rate_limited"),
    "1xx without end": _fault(_interim_flood, "timeout"),
    "fifty 1xx": _fault(_interim),
}

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
        self._target: tuple[str, str, Fault] | None = None
        self._shut_after: tuple[str, str] | None = None
        self._manner = ""
        self._mended = threading.Event()
        self._blockers: list[socket.socket] = []
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = _listener(0)
        self._port = self._listener.getsockname()[1]
        self._trap = Trap(self.trapped)
        self._accept()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://localhost:{self._port}"

    def damage(self, operation: str, uuid: str, fault: str) -> None:
        """Spoil the answers to one operation; of one ticket, unless ``uuid`` is empty."""
        self._target = (operation, uuid, ANSWERS[fault])

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
                self._listener = _listener(self._port, backlog=0)
                self._blockers = [_blocker(self._port) for _ in range(4)]
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
            self._listener = _listener(self._port)
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
            target[2].play(Wire(connection, self._mended, self._trap.url), reply)
            return False
        pending = self._shut_after
        if pending is not None and pending[0] == name:
            connection.sendall(reply.whole("connection: close"))
            self.shut(pending[1])
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
def unresolvable():
    """Let the resolver be asked for a name that no resolver knows, whatever name is meant."""
    true = socket.getaddrinfo

    def asked(host, *arguments, **options):
        return true("coc.invalid" if host == "localhost" else host, *arguments, **options)

    socket.getaddrinfo = asked
    try:
        yield
    finally:
        socket.getaddrinfo = true
