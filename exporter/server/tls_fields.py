"""The keys of ``tls_server_config``: how each is read, and what of them does not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.server.tls import ALWAYS_ON_CIPHERS, CIPHERS, CLIENT_AUTH, CURVES, VERSIONS, Pem, Tls
from exporter.server.yaml_fields import boolean, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    import yaml

_HTTP2_CIPHERS = frozenset({"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"})
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_OLD_VERSIONS = ("TLS10", "TLS11")


def _client_auth(node: yaml.Node) -> str:
    word = text(node) or "NoClientCert"
    if word in _UNVERIFIED:
        raise ValueError(
            f"{word} takes client certificates without verifying them, which cannot be done here; "
            f"accepted are {', '.join(CLIENT_AUTH)}"
        )
    return _one_of(CLIENT_AUTH, word)


def _version(node: yaml.Node) -> str:
    word = text(node)
    if word in _OLD_VERSIONS:
        raise ValueError(f"{word} is not served, accepted are {', '.join(VERSIONS)}")
    return _one_of(VERSIONS, word)


def _ciphers(node: yaml.Node) -> tuple[str, ...]:
    return tuple(_one_of([*CIPHERS, *ALWAYS_ON_CIPHERS], name) for name in texts(node))


def _curves(node: yaml.Node) -> tuple[str, ...]:
    names = tuple(_one_of(CURVES, name) for name in texts(node))
    if len(names) > 1:
        raise ValueError("Python's ssl knows no order among several curves; give one")
    return names


def _one_of(known: Collection[str], word: str) -> str:
    if word not in known:
        raise ValueError(f"{word} is unknown, accepted are {', '.join(known)}")
    return word


READERS: Mapping[str, Callable[[yaml.Node], Any]] = {
    "cert": text,
    "key": text,
    "client_ca": text,
    "cert_file": text,
    "key_file": text,
    "client_auth_type": _client_auth,
    "client_ca_file": text,
    "client_allowed_sans": texts,
    "min_version": _version,
    "max_version": _version,
    "cipher_suites": _ciphers,
    "prefer_server_cipher_suites": boolean,
    "curve_preferences": _curves,
}


def check(values: Mapping[str, Any], *, http2: bool) -> Iterator[str]:
    """Yield what of the values does not go together."""
    yield from _pem_faults(values)
    yield from _client_faults(values)
    lowest, highest = values.get("min_version", "TLS12"), values.get("max_version", "TLS13")
    if VERSIONS[lowest] > VERSIONS[highest]:
        yield "min_version is above max_version"
    suites = set(values.get("cipher_suites", ()))
    if not suites or lowest == "TLS13":
        return
    if suites <= ALWAYS_ON_CIPHERS:
        yield "cipher_suites names none for TLS 1.2; add one, or set min_version to TLS13"
    elif http2 and suites.isdisjoint(_HTTP2_CIPHERS):
        # We serve HTTP/1.1, but a file must not be good here and refused by the next exporter.
        yield f"cipher_suites lacks what HTTP/2 needs; add {' or '.join(sorted(_HTTP2_CIPHERS))}, or set http2: false"


def _pem_faults(values: Mapping[str, Any]) -> Iterator[str]:
    for key in ("cert", "key"):
        if not values.get(key) and not values.get(f"{key}_file"):
            yield f"give {key} or {key}_file"
    for key in ("cert", "key", "client_ca"):
        if values.get(key) and values.get(f"{key}_file"):
            yield f"give {key} or {key}_file, not both"


def _client_faults(values: Mapping[str, Any]) -> Iterator[str]:
    policy = values.get("client_auth_type", "NoClientCert")
    if policy == "NoClientCert" and (values.get("client_ca") or values.get("client_ca_file")):
        yield "a client CA without client_auth_type would verify nobody; set RequireAndVerifyClientCert"
    if policy != "RequireAndVerifyClientCert" and "client_allowed_sans" in values:
        yield "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert"


def settings(values: Mapping[str, Any], folder: Path) -> Tls:
    """Return checked values as settings; paths are relative to the file's folder."""
    pems = {key: _pem(key, values, folder) for key in ("cert", "key", "client_ca")}
    plain = {key: value for key, value in values.items() if key.removesuffix("_file") not in pems}
    ca = pems["client_ca"] if values.get("client_ca") or values.get("client_ca_file") else None
    return Tls(cert=pems["cert"], key=pems["key"], client_ca=ca, **plain)


def _pem(key: str, values: Mapping[str, Any], folder: Path) -> Pem:
    path = values.get(f"{key}_file")
    return Pem(f"{key}_file", path=folder / path) if path else Pem(key, inline=values.get(key, ""))
