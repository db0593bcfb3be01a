"""Ways to spoil an answer on the wire, and the reasons that may be given for each."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

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
        self.goes_on = False

    def answer(self, reply: Reply, *more: str) -> None:
        """Send a whole answer, after which the connection goes on."""
        self.goes_on = True
        self.send(reply.whole(*more))

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
    wire.answer(replace(reply, body=spoilt), "content-encoding: gzip")


def _cut_gzip(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, body=_packed(reply.body)[:-9]), "content-encoding: gzip")


def _false_gzip(wire: Wire, reply: Reply) -> None:
    wire.answer(reply, "content-encoding: gzip")


def _other_encoding(wire: Wire, reply: Reply) -> None:
    wire.answer(reply, "content-encoding: br")


def bomb() -> bytes:
    """Return a megabyte of gzip that holds a gigabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    first = packer.compress(b"[" + b" " * (MIB - 1)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers back, so the same bytes may follow again and again.
    return first + again * 1023


def _gzip_bomb(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, body=bomb()), "content-encoding: gzip")


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
    wire.answer(reply, *(f"x-{number}: {number}" for number in range(10_000)))


def _some_headers(wire: Wire, reply: Reply) -> None:
    wire.answer(reply, *(f"x-{number}: {number}" for number in range(1000)))


def _redirect(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, status=302), f"location: {wire.trap}")


def _redirect_for_good(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, status=308), f"location: {wire.trap}")


def _no_content(wire: Wire, reply: Reply) -> None:
    wire.send(replace(reply, status=204).whole())


def _claimed_charset(wire: Wire, reply: Reply) -> None:
    headers = tuple((name, value) for name, value in reply.headers if name != "content-type")
    wire.answer(replace(reply, headers=(*headers, ("content-type", "application/json; charset=utf-16"))))


def _other_charset(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, body=reply.body[:1] + b'"\xe9":1,' + reply.body[1:]))


def _html(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, body=b"<html>Please sign in to this network</html>"))


def _null(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, body=b"null"))


def _deep(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, body=b'{"data":' + b"[" * 100_000))


def _unavailable(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, status=503, body=b""))


def _throttle(wire: Wire, reply: Reply) -> None:
    wire.answer(replace(reply, status=429, body=b""))


def _interim_flood(wire: Wire, _reply: Reply) -> None:
    # At full speed it would be the tests' own CPU that is measured.
    wire.for_ever(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 50, 0.01)


def _interim(wire: Wire, reply: Reply) -> None:
    wire.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)
    wire.answer(reply)


Play = Callable[[Wire, Reply], None]


@dataclass(frozen=True)
class Fault:
    """A way to spoil an answer, and the reasons that may be given for it; none when it must do no harm."""

    play: Play
    reasons: frozenset[str]


def _fault(play: Play, *reasons: str) -> Fault:
    return Fault(play, frozenset(reasons))


ANSWERS = {
    "read timeout": _fault(_silence, "timeout"),
    "closed under us": _fault(_hang_up, "protocol"),
    "reset before headers": _fault(_reset_at_once, "protocol"),
    "reset inside headers": _fault(_reset_in_headers, "protocol"),
    "reset inside body": _fault(_reset_in_body, "protocol"),
    "Content-Length too large": _fault(_promise_more, "protocol"),
    "Content-Length too small": _fault(_promise_less, "malformed", "protocol"),
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
    "204 with a body": _fault(_no_content, "unexpected_status", "protocol"),
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
