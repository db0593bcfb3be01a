"""Where things are: the telemetry path, the route prefix, and what a reverse proxy makes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter.errors import UsageError

if TYPE_CHECKING:
    from exporter.server.site import Site

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_OURS = ("/-/", "/config", "/api/", "/tickets", "/static/")


def prefix_of(route_prefix: str | None, external_url: str) -> str:
    """Return the prefix of every route, empty for none: the one given, else the path of the external URL."""
    if external_url and urlsplit(external_url).scheme not in ("http", "https"):
        raise UsageError(f"--web.external-url={external_url} is no URL that begins with http:// or https://")
    given = urlsplit(external_url).path if route_prefix is None else route_prefix
    prefix = "/" + given.strip("/")
    if not _PATH.fullmatch(prefix) or "//" in prefix:
        raise UsageError(f"the route prefix {given} may contain letters, digits, '.', '_', '~', '-' and '/' only")
    return prefix.rstrip("/")


def telemetry_path(site: Site) -> str:
    """Return the telemetry path, or refuse one that would hide what else is served."""
    path = site.telemetry_path
    if not _PATH.fullmatch(path) or "//" in path:
        raise UsageError(f"--web.telemetry-path={path} must begin with '/' and hold nothing but a plain path")
    if path.startswith(_OURS):
        raise UsageError(
            f"--web.telemetry-path={path} is taken: /config, /-/, /api/, /tickets and /static/ have their own use"
        )
    return path


def landing_of(site: Site) -> str:
    """Return the path at which a browser reaches the landing page."""
    outer = urlsplit(site.external_url).path.strip("/") or site.route_prefix.strip("/")
    return f"/{outer}/" if outer else "/"
