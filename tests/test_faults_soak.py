"""A hundred polls of the soak: nothing grows, and nothing that is shown is untrue."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET

from conftest import run
from faults.soak import picture, soaked


def test_a_hundred_polls_with_churn_and_faults_leave_nothing_behind(tmp_path):
    logging.disable()
    try:
        soak = run(soaked(100, tmp_path, every=2))
    finally:
        logging.disable(logging.NOTSET)
    assert (soak.died, soak.lost, soak.lies) == (0, 0, 0)
    assert soak.looks == 40
    assert soak.faults > 10
    assert soak.growth(soak.tasks) == 0
    assert soak.growth(soak.files) <= 2
    assert soak.growth(soak.memory) < 24 * 2**20
    assert ET.fromstring(picture(soak)).tag.endswith("svg")  # noqa: S314  our own
