"""What the server's tests share: a real server on a free port, certificates, and a client that speaks bytes."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import ipaddress
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest as text_of
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_of

from exporter.exposition import Body, Encoding, Format, Variant
from exporter.server import Limits, Site, WebConfigFile, build, open_sockets, serve
from exporter.server.protocol import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp


def registry() -> CollectorRegistry:
    """Return a few families of every type that we expose."""
    disable_created_metrics()
    made = CollectorRegistry()
    Gauge("coc_instances", "Instances in this status.", ["status"], registry=made).labels("READY").set(3)
    Counter("coc_exporter_polls", "Polls that ended.", registry=made).inc(2)
    histogram = Histogram("coc_wait_seconds", "Waits\nin two lines.", registry=made, buckets=(1, 10))
    histogram.observe(2)
    Gauge("coc_ticket_info", "1.", ["name"], registry=made).labels('odd "name"\n# HELP no family').set(1)
    return made


@dataclass
class FakeBoard:
    """Hands out what it is told; a variant that it lacks is made by packing the identity."""

    bodies: dict[Format, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bodies.setdefault(Format.TEXT, text_of(registry()))
        self.bodies.setdefault(Format.OPENMETRICS, openmetrics_of(registry()))

    async def body(self, variant: Variant) -> Body:
        import gzip  # noqa: PLC0415  the fake's own affair

        whole = self.bodies[variant.format]
        return (whole if variant.encoding is Encoding.IDENTITY else gzip.compress(whole),)


async def nothing() -> None:
    """Reload, and find nothing to do."""


SITE = Site(FakeBoard(), ready=lambda: True, reload=nothing, config_text=lambda: "poll: {interval: 30s}\n")


def site(**changes: Any) -> Site:
    return replace(SITE, **changes)


@dataclass(frozen=True)
class Served:
    """A server that runs: its address, and the stopping of it."""

    port: int
    scheme: str
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, **options)

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """Return a bare connection, whose every wait is bounded."""
        made = socket.socket()
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(10)
        made.connect(("127.0.0.1", self.port))
        return made

    def tell(self, request: bytes) -> bytes:
        """Send bytes and return all that comes back until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return until_closed(connection)

    def wait_for_connections(self, number: int) -> bool:
        """Return once the server holds so many connections."""
        waiting = asyncio.run_coroutine_threadsafe(self._until(number), self.loop)
        return waiting.result(10)

    def buffered(self, peer: tuple[str, int]) -> int:
        """Return the bytes that wait in the server for one client."""

        async def size() -> int:
            (transport,) = [each for each in transports() if each.get_extra_info("peername") == peer]
            return int(transport.get_write_buffer_size())

        return asyncio.run_coroutine_threadsafe(size(), self.loop).result(10)

    async def _until(self, number: int) -> bool:
        while len(transports()) != number:  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0)
        return True

    def end(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(20)
        assert not self.thread.is_alive()


@contextmanager
def running(
    shown: Site | ASGIApp = SITE, *, web_config: WebConfigFile | None = None, limits: Limits | None = None
) -> Iterator[Served]:
    """Serve in a thread of its own, on a free port, until the block ends."""
    (listener,) = open_sockets(["127.0.0.1:0"])
    port = listener.getsockname()[1]
    app = build(shown) if isinstance(shown, Site) else shown
    ready = threading.Event()
    hold: dict[str, Any] = {}

    async def run() -> None:
        hold["loop"], hold["stop"] = asyncio.get_running_loop(), asyncio.Event()
        await serve(
            app,
            [listener],
            web_config=web_config,
            stop=hold["stop"],
            limits=limits or Limits(),
            tell=lambda _state: ready.set(),
        )

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    tls = web_config is not None and web_config.current.tls is not None
    served = Served(port, "https" if tls else "http", hold["loop"], hold["stop"], thread)
    try:
        yield served
    finally:
        served.end()


def transports() -> list[Any]:
    """Return what the running server holds open."""
    alive = (each for each in gc.get_objects() if isinstance(each, BoundedProtocol))
    mine = [each for each in alive if each.loop is asyncio.get_running_loop() and not each.closed.done()]
    return [each.transport for each in mine if each.transport is not None]


def until_closed(connection: socket.socket) -> bytes:
    pieces = []
    while True:
        try:
            piece = connection.recv(1 << 20)
        except ConnectionResetError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


@dataclass(frozen=True)
class Authority:
    """A certificate authority that lives for one test."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    cert: x509.Certificate

    @classmethod
    def made(cls, folder: Path, name: str = "ca") -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        cert = cert.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        signed = cert.add_extension(usage, critical=True).sign(key, hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, signed)

    def issue(self, name: str, *sans: x509.GeneralName, client: bool = False) -> None:
        """Write ``name``.crt and ``name``.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        issuer = self.cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        builder = _builder(name, str(issuer), key).add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(sans or _LOOPBACK), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        cert = builder.add_extension(identifier, critical=False).sign(self.key, hashes.SHA256())
        (self.folder / f"{name}.crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(_pem(key))


_LOOPBACK = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(name: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    return x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        key.public_key(),
        x509.random_serial_number(),
        now - day,
        now + day,
    )
