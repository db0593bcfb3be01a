"""
The API, played by somebody who means harm: it knows every secret that it is sent, and sends it back wherever it can.

An ``Echo`` gives the simulator's answers until its ``mode`` is one of ``MODES``. What a mode spoils is what a library
could quote in its exception: the status line, a header, the size of a chunk.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from email.utils import formatdate
from urllib.parse import quote

from exporter.simulator import Controls, Switches
from exporter.simulator.app import Simulator
from exporter.simulator.messages import Request

SENSITIVE = ("authorization", "x-auth-token", "x-security-token", "x-metadata-token", "proxy-authorization")


def _answered(line, *headers, body=b""):
    return ("\r\n".join([line, *headers]) + "\r\n\r\n").encode("latin-1") + body


def _error(status):
    """Return a mode in which the body, its request id and where it redirects to repeat what was asked."""

    def mode(text):
        body = json.dumps({"error_code": "APIGW.0301", "error_msg": f"canonicalRequest: {text}", "data": text}).encode()
        headers = ("content-type: application/json", f"x-request-id: {quote(text)}", f"location: /?{quote(text)}")
        return _answered(f"HTTP/1.1 {status} {text}", *headers, f"content-length: {len(body)}", body=body)

    return mode


def _header(line):
    return lambda text: _answered("HTTP/1.1 200 OK", line % text, "content-length: 2", body=b"{}")


OK = "HTTP/1.1 200 OK"
CHUNKED = "transfer-encoding: chunked"
WHOLE = {
    "a success": _error(200),
    "a redirect": _error(302),
    "an error": _error(400),
    "a refusal": _error(401),
    "a ban": _error(403),
    "a proxy's refusal": _error(407),
    "a throttling": _error(429),
    "a failure": _error(500),
}
"""Ways to repeat what was asked in an answer that HTTP allows."""

MODES = WHOLE | {
    "another protocol": lambda text: _answered(f"220 {text}"),
    "a status line": lambda text: _answered(f"HTTP/1.1 {text}"),
    "a version": lambda text: _answered(f"HTTP/{text} 200 OK"),
    "a header that is none": lambda text: _answered(OK, text),
    "a header's name": lambda text: _answered(OK, f"{text}: 1"),
    "a header with a NUL": lambda text: _answered(OK, f"x-more: {text}\0"),
    "a header that is too long": lambda text: _answered(OK, f"x-more: {text * 200}"),
    "a length": lambda text: _answered(OK, f"content-length: {text}", body=b"{}"),
    "two lengths": lambda text: _answered(OK, "content-length: 2", f"content-length: {text}", body=b"{}"),
    "a coding of the transfer": lambda text: _answered(OK, f"transfer-encoding: {text}", body=b"{}"),
    "a coding of the content": _header("content-encoding: %s"),
    "no gzip at all": lambda text: _answered(OK, "content-encoding: gzip", body=text.encode()),
    "the size of a chunk": lambda text: _answered(OK, CHUNKED, body=f"{text}\r\n".encode()),
    "the end of a chunk": lambda text: _answered(OK, CHUNKED, body=f"2\r\n{{}}{text}\r\n".encode()),
    "a trailer": lambda text: _answered(OK, CHUNKED, body=f"2\r\n{{}}\r\n0\r\n{text}\r\n\r\n".encode()),
    "a body cut short": lambda text: _answered(OK, "content-length: 100000", body=text.encode()),
    "a charset": _header("content-type: application/json; charset=%s"),
    "a date": _header("date: %s"),
    "a time to wait": _header("retry-after: %s"),
    "a cookie": _header("set-cookie: a=%s; domain=localhost"),
    "nothing": lambda _text: b"",
}
"""And in one that it does not allow, or that nobody needs."""


class Echo(socketserver.ThreadingTCPServer):
    """Plays the API; ``wire`` is every secret that went over it, ``asked`` how many requests came."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, world, clock, credentials):
        self.clock = clock
        self.controls = Controls(Switches(), self._now)
        self._simulator = Simulator(world, credentials, self._now, self.controls)
        self.mode = None
        self.wire = set()
        self.asked = 0
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Connection)

    def _now(self):
        # The clock is exchanged by tests.
        return self.clock()

    @property
    def host(self):
        return f"localhost:{self.server_address[1]}"

    @property
    def url(self):
        return f"http://{self.host}"

    def reply(self, request):
        """Return the octets of an answer."""
        with self._lock:
            self.asked += 1
            answer, request_id = self._simulator.answer(request, self.controls.switches)
        sent = [value for name, value in request.headers.items() if name in SENSITIVE]
        self.wire |= {value for value in sent if len(value) > 8}
        self.wire |= {value for name, value in answer.headers.items() if name.lower() == "x-subject-token"}
        if b"securitytoken" in answer.body:
            key = json.loads(answer.body)["credential"]
            self.wire |= {key["access"], key["secret"], key["securitytoken"]}
        # What the metadata service gives must be whole, or nothing would be signed with it.
        if self.mode is not None and "meta" not in request.raw_path and "securitykey" not in request.raw_path:
            return self.mode(" ".join([*sent, request.body.decode()]))
        headers = {
            "content-type": answer.content_type,
            "date": formatdate(self.clock(), usegmt=True),
            "x-request-id": request_id,
            **answer.headers,
            "content-length": len(answer.body),
        }
        told = (f"{name}: {value}" for name, value in headers.items())
        return _answered(f"HTTP/1.1 {answer.status} Whatever", *told, body=answer.body)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        with suppress(OSError):
            while (request := self._request()) is not None:
                self.wfile.write(self.server.reply(request))
                if self.server.mode is not None:
                    self.connection.shutdown(socket.SHUT_WR)
                    return

    def _request(self):
        line = self.rfile.readline(65536).decode("latin-1")
        if not line:
            return None
        method, target, _ = line.split(" ", 2)
        headers = {}
        while (line := self.rfile.readline(65536).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", "0")))
        path, _, query = target.partition("?")
        return Request(method, path, query, headers, body)


@contextmanager
def echoing(world, clock, credentials):
    """Play the API as long as the block lasts."""
    with Echo(world, clock, credentials) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
