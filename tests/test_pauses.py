"""What holds us up: the interpreter's own settings, in the process that serves."""

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


LOADED = """
import gc, sys
runs = []
gc.callbacks.append(lambda phase, _info: runs.append(phase))
from exporter import pauses
before = len(runs)
module = pauses.load("exporter.cli.serve")
print(len(runs) - before, gc.isenabled(), module is pauses.load("exporter.cli.serve") is sys.modules[module.__name__])
"""


def test_no_garbage_is_looked_for_while_a_command_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    collected, enabled, same = done.stdout.split()
    # The first allocations after it may find the youngest few.
    assert int(collected) <= 2
    assert (enabled, same) == ("True", "True")


def test_threads_take_turns_at_once_and_what_is_loaded_is_not_looked_through_again() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["5e-05", "True"]
