"""
The HTTP surface: hands out what was rendered, and never causes a request to the API.

The door: :func:`build` makes the ASGI application of a :class:`Site`; :func:`open_sockets` listens; :func:`serve`
answers on these sockets until it is told to stop, under :class:`Limits` and behind a :class:`WebConfigFile`;
:func:`notify` tells systemd how far we are.

    sockets -> protocol (limits) -> guard (web config) -> app -> metrics, lifecycle, landing, pages
"""

from exporter.server.app import Site, build
from exporter.server.listen import open_sockets, shown
from exporter.server.paths import prefix_of
from exporter.server.protocol import Limits
from exporter.server.serve import serve
from exporter.server.systemd import notify
from exporter.server.web_config import WebConfigError, WebConfigFile

__all__ = [
    "Limits",
    "Site",
    "WebConfigError",
    "WebConfigFile",
    "build",
    "notify",
    "open_sockets",
    "prefix_of",
    "serve",
    "shown",
]
