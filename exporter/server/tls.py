"""
From ``tls_server_config`` to an SSLContext.

What Python's ssl cannot do exactly as asked is refused, never weakened: client certificates that are requested but
not verified, TLS below 1.2, an order among several curves.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
CIPHERS = {
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
ALWAYS_ON_CIPHERS = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
"""TLS 1.3 has no choice of suites in Go's format either; naming them is allowed and changes nothing."""

_CHAIN_FAULTS = {"KEY_VALUES_MISMATCH": "the key does not belong to the certificate"}


class TlsFault(ValueError):
    """A TLS setting that cannot be served, as a sentence."""


@dataclass(frozen=True)
class Pem:
    """A piece of PEM, inline or in a file; ``key`` is what the config calls it."""

    key: str
    path: Path | None = None
    inline: str = ""

    def read(self) -> bytes:
        """Return the bytes."""
        if self.path is None:
            return self.inline.encode()
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise TlsFault(f"{self.key}: {self.path} cannot be read: {error.strerror}") from None

    def __repr__(self) -> str:
        return f"Pem({self.key})"


@dataclass(frozen=True)
class Tls:
    """How TLS is to be served; the defaults are exporter-toolkit's."""

    cert: Pem
    key: Pem
    client_ca: Pem | None = None
    client_auth_type: str = "NoClientCert"
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @property
    def files(self) -> Iterator[Path]:
        """The files whose change makes new certificates."""
        for pem in (self.cert, self.key, self.client_ca):
            if pem is not None and pem.path is not None:
                yield pem.path

    def admits(self, peer: Mapping[str, object] | None) -> bool:
        """Tell whether a verified client certificate, in ssl's words, bears a name that is allowed."""
        if self.client_allowed_sans is None:
            return True
        return any(name in self.client_allowed_sans for name in _names(peer or {}))


def context(tls: Tls) -> ssl.SSLContext:
    """Return what new handshakes are done with, or raise TlsFault."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = VERSIONS[tls.min_version]
    made.maximum_version = VERSIONS[tls.max_version]
    made.options |= ssl.OP_NO_RENEGOTIATION
    if not tls.prefer_server_cipher_suites:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    _choose_ciphers(made, tls)
    _choose_curve(made, tls)
    _load_chain(made, tls.cert.read(), tls.key.read())
    _ask_for_client_certificate(made, tls)
    return made


def _choose_ciphers(made: ssl.SSLContext, tls: Tls) -> None:
    chosen = [CIPHERS[name] for name in tls.cipher_suites if name in CIPHERS]
    if not chosen:
        return
    lacking = set(chosen)
    try:
        made.set_ciphers(":".join(chosen))
        lacking -= {cipher["name"] for cipher in made.get_ciphers()}
    except ssl.SSLError:
        pass
    if lacking:
        raise TlsFault(f"cipher_suites: OpenSSL on this machine has no {', '.join(sorted(lacking))}")


def _choose_curve(made: ssl.SSLContext, tls: Tls) -> None:
    for name in tls.curve_preferences:
        try:
            made.set_ecdh_curve(CURVES[name])
        except (ValueError, ssl.SSLError):
            raise TlsFault(f"curve_preferences: OpenSSL on this machine has no {name}") from None


def _load_chain(made: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    # ssl reads certificates from files alone: these two exist in memory only.
    with _in_memory(cert) as cert_file, _in_memory(key) as key_file:
        try:
            made.load_cert_chain(cert_file, key_file, password=_no_password)
        except ssl.SSLError as error:
            raise TlsFault(_CHAIN_FAULTS.get(error.reason, "certificate or key is no PEM that OpenSSL reads")) from None


def _no_password() -> bytes:
    raise TlsFault("the key is encrypted; give one that is not")


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Make a file that has no name on any disk, and yield its path."""
    descriptor = os.memfd_create("tls")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _ask_for_client_certificate(made: ssl.SSLContext, tls: Tls) -> None:
    made.verify_mode = CLIENT_AUTH[tls.client_auth_type]
    if made.verify_mode == ssl.CERT_NONE:
        return
    if tls.client_ca is None:
        made.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        made.load_verify_locations(cadata=tls.client_ca.read().decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        if isinstance(error, TlsFault):
            raise
        raise TlsFault(f"{tls.client_ca.key}: there is no certificate in it") from None


def _names(peer: Mapping[str, object]) -> Iterator[str]:
    for kind, name in peer.get("subjectAltName", ()):  # type: ignore[attr-defined]  # pairs, as ssl documents
        if kind in ("DNS", "email", "URI"):
            yield name
        elif kind == "IP Address":
            yield str(ipaddress.ip_address(name.strip()))


class RenewedContext(ssl.SSLContext):
    """A context that does each handshake with the one that holds by then."""

    _current: Callable[[], ssl.SSLContext]

    def __new__(cls, _current: Callable[[], ssl.SSLContext]) -> Self:
        """Make an empty context: nothing is ever served with its own settings."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, current: Callable[[], ssl.SSLContext]) -> None:
        super().__init__()
        self._current = current

    def wrap_bio(self, *args: object, **kwargs: object) -> ssl.SSLObject:
        """Begin a handshake; asyncio calls this for each connection."""
        return self._current().wrap_bio(*args, **kwargs)  # type: ignore[arg-type]  # handed through
