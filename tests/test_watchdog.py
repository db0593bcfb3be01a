"""How late the event loop wakes is measured."""

from __future__ import annotations

import asyncio

import pytest
from conftest import FakeClock, run

from exporter.watchdog import watch_loop


class LateClock(FakeClock):
    """Wakes later than asked, by each of these in turn."""

    def __init__(self, *late):
        super().__init__()
        self._late = list(late)

    async def sleep(self, seconds):
        if not self._late:
            raise asyncio.CancelledError
        self.advance(seconds + self._late.pop(0))


def seen(telemetry, sample, **labels):
    return telemetry.registry.get_sample_value(f"coc_exporter_event_loop_lag_seconds_{sample}", labels)


def watched(telemetry, clock):
    with pytest.raises(asyncio.CancelledError):
        run(watch_loop(telemetry, clock))


def test_each_delay_is_observed_once(telemetry):
    watched(telemetry, LateClock(0.0, 0.25, 3.0))
    assert seen(telemetry, "count") == 3
    assert seen(telemetry, "sum") == pytest.approx(3.25)
    assert [seen(telemetry, "bucket", le=bound) for bound in ("0.1", "1.0", "2.5", "5.0")] == [1, 2, 2, 3]


def test_waking_early_is_not_late(telemetry):
    watched(telemetry, LateClock(-0.5))
    assert (seen(telemetry, "count"), seen(telemetry, "sum")) == (1, 0)
