"""Seconds from execute_costs and the two times, whatever the API's page says of its unit."""

from __future__ import annotations

import pytest

from exporter.api.durations import duration

THIRTY_DAYS_MS = 30 * 24 * 3600 * 1000


@pytest.mark.parametrize(
    ("costs", "created", "finished", "expected"),
    [
        pytest.param(311031, 1697946452436, 1697946763467, (311.031, None), id="the official example is milliseconds"),
        pytest.param(311282, 0, 311283, (311.282, None), id="one millisecond off still agrees"),
        pytest.param(311284, 0, 311282, (311.282, "duration_mismatch"), id="two milliseconds off does not agree"),
        pytest.param(311, 1697946452436, 1697946763467, (311.0, None), id="seconds that agree are seconds"),
        pytest.param(312, 0, 311031, (312.0, None), id="seconds may be rounded up"),
        pytest.param(310, 0, 311000, (311.0, "duration_mismatch"), id="a whole second off does not agree"),
        pytest.param(310, 0, 311031, (311.031, "duration_mismatch"), id="seconds that do not agree are refused"),
        pytest.param(5, 0, 60000, (60.0, "duration_mismatch"), id="agrees with neither unit"),
        pytest.param(68943, None, None, (68.943, None), id="no times: milliseconds"),
        pytest.param(68943, 1, None, (68.943, None), id="one time only: milliseconds"),
        pytest.param(None, 1000, 3500, (2.5, None), id="no costs: the difference"),
        pytest.param(None, 1000, None, (None, None), id="not ended: nothing"),
        pytest.param(0, 1000, 1000, (0.0, None), id="no time at all is a duration"),
        pytest.param(-1, None, None, (None, "duration_range"), id="negative costs are refused"),
        pytest.param(None, 2000, 1000, (None, "duration_range"), id="an end before the start is refused"),
        pytest.param(THIRTY_DAYS_MS, None, None, (2592000.0, None), id="thirty days are believed"),
        pytest.param(THIRTY_DAYS_MS + 1, None, None, (None, "duration_range"), id="more than thirty days are refused"),
    ],
)
def test_duration_in_seconds(costs, created, finished, expected):
    assert duration(costs, created, finished) == expected
