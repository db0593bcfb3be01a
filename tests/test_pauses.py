"""What holds up a scrape: the interpreter's own settings, in the process that serves."""

from __future__ import annotations

import subprocess
import sys

TOLD = """
import gc, sys
from exporter import pauses
from exporter.cli import serve
pauses.shorten()
print(round(sys.getswitchinterval(), 6), gc.get_freeze_count() > 10_000)
"""


def test_threads_take_turns_at_once_and_what_is_loaded_is_not_looked_through_again() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["5e-05", "True"]
