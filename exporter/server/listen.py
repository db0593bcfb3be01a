"""From listen addresses to sockets that listen: TCP, or those that systemd hands over."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

from exporter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]/]*)):(?P<port>\d{1,5})")
_LARGEST_PORT = 65535
_BACKLOG = 512
_FIRST_HANDED_OVER = 3


def open_sockets(addresses: Sequence[str], environ: Mapping[str, str] | None = None) -> list[socket.socket]:
    """Listen at every address, or at what systemd hands over instead; raise UsageError where that cannot be."""
    handed_over = list(_handed_over(environ or {}))
    if handed_over:
        return handed_over
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(_open(address))  # noqa: PERF401  those opened must be closed when the next fails
    except UsageError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def shown(listener: socket.socket) -> str:
    """Return the address of a socket as people write it."""
    name = listener.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return str(name)


def parsed(address: str) -> tuple[str, int]:
    """Return host and port of an address; no host means every interface."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > _LARGEST_PORT:
        raise UsageError(f"--web.listen-address={address} is no address; write :10262, 127.0.0.1:10262 or [::1]:10262")
    return match["v6"] or match["host"] or "", int(match["port"])


def _open(address: str) -> socket.socket:
    host, port = parsed(address)
    try:
        if host:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            return socket.create_server(place[:2], family=family, backlog=_BACKLOG)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        return socket.create_server(("", port), backlog=_BACKLOG)
    except OSError as error:
        # create_server's own text tells the address once more; getaddrinfo's errors have numbers of their own.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise UsageError(f"cannot listen on {address}: {reason}") from error


def _handed_over(environ: Mapping[str, str]) -> Iterator[socket.socket]:
    """Yield the sockets of systemd's protocol, when they are meant for this process."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return
    count = environ.get("LISTEN_FDS", "0")
    try:
        for descriptor in range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + int(count)):
            os.set_inheritable(descriptor, False)
            yield socket.socket(fileno=descriptor)
    except (ValueError, OSError) as error:
        raise UsageError(f"LISTEN_FDS={count} does not name sockets that were handed over") from error
