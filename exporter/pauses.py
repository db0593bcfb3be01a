"""How long the interpreter itself may hold up a scrape; docs/performance.md has the figures."""

from __future__ import annotations

import gc
import sys

_SWITCH_INTERVAL = 0.00005
_YOUNG = 10_000


def shorten() -> None:
    """Set up the process that serves, once everything is loaded: threads take turns, garbage is looked for seldom."""
    # Polls go on in a thread beside: at Python's 5 ms a scrape would wait so long for each of its steps.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # What is loaded by now stays; to look through it again and again would stop everything for 40 ms each time.
    gc.freeze()
