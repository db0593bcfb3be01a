"""Measures how late the event loop of scrapes and pages is: whatever holds it up holds up all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.telemetry import Telemetry

EVERY = 1.0
"""Seconds between two looks."""


async def watch_loop(telemetry: Telemetry, clock: Clock) -> NoReturn:
    """Sleep again and again, and observe how much later than asked we woke."""
    while True:
        due = clock.monotonic() + EVERY
        await clock.sleep(EVERY)
        telemetry.event_loop_lag.observe(max(0.0, clock.monotonic() - due))
