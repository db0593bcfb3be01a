"""
The web config file, in exporter-toolkit's format: TLS, headers, users and rate limit.

It is read anew when it, or a certificate that it names, has changed. A new one with faults changes nothing and is
logged once; whether TLS is served at all is decided at the start. A file of secrets that every user of the host may
read is warned of once.
"""

from __future__ import annotations

import logging
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exporter.errors import ExporterError
from exporter.server import basic_auth, tls
from exporter.server.rate_limit import Rate, duration
from exporter.server.tls_fields import READERS, check, settings
from exporter.server.yaml_fields import Faults, boolean, integer, node_itself, root, section, text, texts_by_name

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import yaml

    from exporter.server.tls import Tls

_logger = logging.getLogger(__name__)
_LARGEST = 1024 * 1024
_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class WebConfigError(ExporterError):
    """Faults of the web config file, one sentence a line."""


@dataclass(frozen=True)
class WebConfig:
    """What the file says; an empty one says plain HTTP for everybody."""

    tls: Tls | None = None
    http2: bool | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    rate: Rate = field(default_factory=Rate)


def parse(content: str, name: str, folder: Path) -> WebConfig:
    """Return what a file says, or raise WebConfigError with all its faults; relative paths are below ``folder``."""
    faults = Faults(name)
    sections = section(root(content, faults), "", dict.fromkeys(_SECTIONS, node_itself), faults)
    http = _http(sections.get("http_server_config"), faults)
    found = WebConfig(
        tls=_tls(sections.get("tls_server_config"), folder, faults, http2=http.get("http2", True)),
        http2=http.get("http2"),
        headers=_headers(http.get("headers"), faults),
        users=_users(sections.get("basic_auth_users"), faults),
        rate=_rate(sections.get("rate_limit"), faults),
    )
    if faults.found:
        raise WebConfigError("\n".join(faults.found))
    return found


def _tls(node: yaml.Node | None, folder: Path, faults: Faults, *, http2: bool) -> Tls | None:
    before = len(faults.found)
    values = section(node, "tls_server_config", READERS, faults)
    if not values:
        return None
    for fault in check(values, http2=http2):
        faults.add(fault, "tls_server_config", node)
    return settings(values, folder) if len(faults.found) == before else None


def _http(node: yaml.Node | None, faults: Faults) -> dict[str, Any]:
    return section(node, "http_server_config", {"http2": boolean, "headers": node_itself}, faults)


def _headers(node: yaml.Node | None, faults: Faults) -> tuple[tuple[bytes, bytes], ...]:
    path = "http_server_config.headers"
    given = texts_by_name(node, path, faults)
    for name, value in given.items():
        fault = _header_fault(name, value)
        if fault:
            faults.add(fault, f"{path}.{name}", node)
    return tuple((name.encode(), value.encode("utf-8")) for name, value in given.items() if value)


def _header_fault(name: str, value: str) -> str:
    if name not in _HEADERS:
        return f"this header cannot be set, accepted are {', '.join(_HEADERS)}"
    if _HEADERS[name] and value not in _HEADERS[name]:
        return f"accepted is {' or '.join(_HEADERS[name])}"
    return "" if _HEADER_VALUE.fullmatch(value) else "a header holds printable ASCII only"


def _users(node: yaml.Node | None, faults: Faults) -> dict[bytes, bytes]:
    users = texts_by_name(node, "basic_auth_users", faults)
    for name, hashed in users.items():
        if not basic_auth.HASH.fullmatch(hashed):
            faults.add("this must be a bcrypt hash, as htpasswd -nB writes it", f"basic_auth_users.{name}", node)
    return {name.encode(): hashed.encode() for name, hashed in users.items()}


def _rate(node: yaml.Node | None, faults: Faults) -> Rate:
    readers = {"interval": lambda node: duration(text(node)), "burst": integer}
    rate = Rate(**section(node, "rate_limit", readers, faults))
    if rate.interval and rate.burst < 1:
        faults.add("burst must be at least 1, or no request ever passes", "rate_limit", node)
    return rate


class WebConfigFile:
    """The file in use: ``current`` is what it said when it last had no fault."""

    def __init__(self, path: Path) -> None:
        """Read the file; raise WebConfigError with all faults, those of the certificates included."""
        self._path = path
        self._watched: tuple[Path, ...] = (path,)
        self._warned: set[Path] = set()
        stamps = self._seen()
        self.current, self._context = self._load()
        self._warn()
        self._stamps = self._seen() | stamps

    def fresh(self) -> WebConfig:
        """Return what the file says now, or said last without a fault."""
        stamps = self._seen()
        if stamps != self._stamps:
            self._renew()
            # Stamps from before the reading: what changed meanwhile is read again.
            self._stamps = {path: stamps.get(path, stamp) for path, stamp in self._seen().items()}
        return self.current

    def fresh_context(self) -> ssl.SSLContext:
        """Return what the next handshake is done with."""
        self.fresh()
        if self._context is None:
            raise WebConfigError("TLS is not served")
        return self._context

    def _renew(self) -> None:
        try:
            config, context = self._load()
            self._refuse_switch(config)
        except WebConfigError as error:
            _logger.error("Web config has faults, the last good one stays", extra={"err": str(error)})  # noqa: TRY400  the sentence says all
        else:
            self.current, self._context = config, context
            self._warn()
            _logger.info("Loaded web config", extra={"file": str(self._path)})

    def _refuse_switch(self, config: WebConfig) -> None:
        if (config.tls is None) is not (self.current.tls is None):
            raise WebConfigError(f"{self._path}: TLS is turned on or off by a restart only")

    def _load(self) -> tuple[WebConfig, ssl.SSLContext | None]:
        config = parse(self._read(), str(self._path), self._path.parent)
        if config.tls is None:
            return config, None
        self._watched = (self._path, *config.tls.files)
        try:
            return config, tls.context(config.tls)
        except tls.TlsFault as error:
            raise WebConfigError(f"{self._path}: tls_server_config: {error}") from None

    def _warn(self) -> None:
        unsafe = {path for path in self._secret_files() if _world_readable(path)}
        for path in unsafe - self._warned:
            text = "Every user of this host may read a file with secrets; chmod 600 would stop that."
            _logger.warning(text, extra={"file": str(path)})
        self._warned = unsafe

    def _secret_files(self) -> Iterator[Path]:
        if self.current.users:
            yield self._path
        if self.current.tls is not None:
            yield self.current.tls.key.path or self._path

    def _read(self) -> str:
        try:
            with self._path.open(encoding="utf-8") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise WebConfigError(f"{self._path}: this file cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise WebConfigError(f"{self._path}: this file is not UTF-8") from None
        if len(content) > _LARGEST:
            raise WebConfigError(f"{self._path}: this file is larger than 1 MiB")
        return content

    def _seen(self) -> dict[Path, tuple[int, int, int] | None]:
        return {path: _stamp(path) for path in self._watched}


def _world_readable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
