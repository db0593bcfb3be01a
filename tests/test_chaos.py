"""Whatever happens to world, API, process and clock: no lie is told. ``make chaos`` is the long form."""

from __future__ import annotations

import logging
import os

import pytest
from chaos.machine import TALLY, Chaos
from hypothesis import HealthCheck, settings

RUNS = int(os.environ.get("CHAOS", "40"))


class Summary:
    """Ends the run in a table."""

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("chaos")
        for name, number in sorted(TALLY.items()):
            terminalreporter.write(f"{name:<40}{number:>9,}\n")


@pytest.fixture(scope="module", autouse=True)
def _summary(request):
    request.config.pluginmanager.register(Summary())


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


TestChaos = Chaos.TestCase
TestChaos.settings = settings(
    max_examples=RUNS,
    stateful_step_count=25,
    deadline=None,
    # The short form tries the same at each run; the long one something else.
    derandomize="CHAOS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
