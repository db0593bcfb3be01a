"""How long the interpreter itself may hold us up; docs/performance.md has the figures."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

_SWITCH_INTERVAL = 0.00005
_YOUNG = 3000


def load(name: str) -> ModuleType:
    """Import a module; no garbage is looked for meanwhile, for there is none, and that takes a tenth of the start."""
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        # Else all of it would be looked through at once, now that it is allowed.
        gc.freeze()
        gc.enable()


def shorten() -> None:
    """Set up the process that serves, once everything is loaded, so that a scrape has its turn soon."""
    # Polls go on in a thread beside: at Python's 5 ms a scrape would wait so long for each of its steps.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # What is loaded by now stays; to look through it again and again would stop everything for 40 ms each time.
    gc.freeze()
    # To write a ticket's lines makes a thousand objects that are gone again: nothing to look for.
    gc.set_threshold(_YOUNG)
