"""
The COC API, played: a world of tickets that lives by a plan, and an application that tells it.

The way through::

    plan -> life -> world --+
                   script --+-> api --+-> app -> serve
      signing -> signin, iam ---------+    |
                             faults, control

A product of its own: it imports no other room of the package.
"""

from exporter.simulator.credentials import Credentials
from exporter.simulator.faults import Controls, Switches
from exporter.simulator.model import World
from exporter.simulator.plan import Plan, Wave
from exporter.simulator.replay import BadRecordingError, replay
from exporter.simulator.script import Script, ScriptedTicket
from exporter.simulator.serve import build, config, listener, running
from exporter.simulator.world import PlanWorld

__all__ = [
    "BadRecordingError",
    "Controls",
    "Credentials",
    "Plan",
    "PlanWorld",
    "Script",
    "ScriptedTicket",
    "Switches",
    "Wave",
    "World",
    "build",
    "config",
    "listener",
    "replay",
    "running",
]
