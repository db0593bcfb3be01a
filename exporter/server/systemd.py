"""How far we are, told to systemd (``Type=notify``)."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger = logging.getLogger(__name__)


def notify(state: str, environ: Mapping[str, str]) -> None:
    """Send a state such as ``READY=1`` to where the environment says; do nothing without systemd."""
    place = environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    # A name that begins with @ is in the abstract namespace, where it begins with a zero byte.
    address = place.replace("@", "\0", 1) if place.startswith("@") else place
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        try:
            speaker.connect(address)
            speaker.sendall(state.encode())
        except OSError as error:
            _logger.warning("Cannot notify systemd", extra={"err": str(error)})
