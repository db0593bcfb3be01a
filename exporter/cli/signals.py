"""From signals to events of the loop."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def set_by(*signals: signal.Signals) -> Iterator[asyncio.Event]:
    """Yield an event that each of the signals sets."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set."""
    with set_by(signal.SIGTERM, signal.SIGINT) as event:
        yield event
