"""
The poller: the only place where time passes. A ticket's failure becomes data here; nothing is said of families.

The door: :class:`Poller` turns the crank over :class:`AccountPoller`.
"""

from exporter.poller.account import AccountPoller, Pace
from exporter.poller.loop import Poller
from exporter.poller.schedule import Cadence

__all__ = ["AccountPoller", "Cadence", "Pace", "Poller"]
