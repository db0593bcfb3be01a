"""Certificates of a day: a good one, and the ways in which one can be wrong."""

from __future__ import annotations

import datetime as dt
import ssl
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
_HERE = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))
_ELSEWHERE = (x509.DNSName("coc.example.org"),)


class Authority:
    """Signs certificates with a key that nobody else has."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._name, self._key, dt.datetime.now(dt.UTC) + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def context(self, names: tuple[x509.GeneralName, ...], until: dt.datetime) -> ssl.SSLContext:
        """Return what a server of these names answers handshakes with."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named("coc"), self._name, key, until)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "server.pem"
            file.write_bytes(pem)
            context.load_cert_chain(file)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), until - 30 * DAY, until
    )


@cache
def authority() -> Authority:
    """Return the authority that our config trusts."""
    return Authority("the one we trust")


@cache
def contexts() -> dict[str, ssl.SSLContext]:
    """Return a server's context for each kind of certificate."""
    now = dt.datetime.now(dt.UTC)
    return {
        "good": authority().context(_HERE, now + DAY),
        "expired": authority().context(_HERE, now - DAY),
        "wrong host": authority().context(_ELSEWHERE, now + DAY),
        "unknown CA": Authority("nobody knows").context(_HERE, now + DAY),
    }
