"""Addresses, sockets that systemd hands over, and what systemd is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from test_server_kit import running

from exporter.errors import UsageError
from exporter.server import notify, open_sockets
from exporter.server.listen import parsed, shown

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = {
    ":10262": ("", 10262),
    "127.0.0.1:0": ("127.0.0.1", 0),
    "localhost:9": ("localhost", 9),
    "[::1]:10262": ("::1", 10262),
    "[fe80::1%eth0]:1": ("fe80::1%eth0", 1),
    "192.0.2.1:65535": ("192.0.2.1", 65535),
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.items())
def test_address(address: str, expected: tuple[str, int]) -> None:
    assert parsed(address) == expected


@pytest.mark.parametrize(
    "address", ["", "10262", "127.0.0.1", ":", ":65536", "::1:80", "[::1]", ":http", ":-1", "a:b:1", "unix:/x:1"]
)
def test_no_address(address: str) -> None:
    with pytest.raises(UsageError, match=r"is no address; write :10262"):
        parsed(address)


def test_several_addresses() -> None:
    sockets = open_sockets(["127.0.0.1:0", ":0"])
    try:
        assert [shown(each).rpartition(":")[0] for each in sockets] == ["127.0.0.1", "[::]"]
        port = sockets[1].getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 5).close()
    finally:
        for each in sockets:
            each.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_ipv6() -> None:
    (only,) = open_sockets(["[::1]:0"])
    with only:
        assert shown(only).startswith("[::1]:")


def test_a_port_in_use_is_one_sentence_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError) as caught:
            open_sockets(["127.0.0.1:0", address])
    assert str(caught.value) == f"cannot listen on {address}: Address already in use"


def test_a_host_that_does_not_resolve() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on no\.such\.host\.invalid:0"):
        open_sockets(["no.such.host.invalid:0"])


HANDED_OVER = """
import os, socket
from exporter.server import open_sockets
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
print([each.getsockname()[1] for each in open_sockets([":1"], environ)])
"""


def test_sockets_of_systemd_are_taken_instead() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [each.getsockname()[1] for each in (one, two)]
        # A shell puts them where systemd does.
        moved = f"exec 3<&{one.fileno()} 4<&{two.fileno()}; exec \"$0\" -c '{HANDED_OVER}'"
        done = subprocess.run(
            ["/bin/bash", "-c", moved, sys.executable],
            pass_fds=(one.fileno(), two.fileno()),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.stdout.strip() == str(ports), done.stderr


def test_sockets_meant_for_another_process_are_not() -> None:
    with pytest.raises(UsageError):
        open_sockets(["x"], {"LISTEN_PID": "1", "LISTEN_FDS": "1"})


def test_nonsense_from_systemd_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="LISTEN_FDS"):
        open_sockets([":0"], {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"})


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, abstract: bool) -> None:
    address = f"\0coc-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address)
        ear.settimeout(5)
        notify("READY=1", {"NOTIFY_SOCKET": address.replace("\0", "@")})
        assert ear.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told() -> None:
    notify("READY=1", {})


def test_a_deaf_systemd_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert caplog.records[0].message == "Cannot notify systemd"


def test_the_log_says_where_and_how(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with running() as server:
        address = f"127.0.0.1:{server.port}"
    lines = [(record.message, record.__dict__.get("http2"), record.__dict__["address"]) for record in caplog.records]
    assert lines == [("Listening on", None, address), ("TLS is disabled.", False, address)]
