"""
What is known of the tickets at one moment: the words every other room speaks.

Frozen data and what follows from it alone. No I/O, no clock, no import of another room. Times are Unix seconds,
durations seconds; text that the API left out is empty, numbers that it left out are None.
"""

from exporter.snapshot.instance import ENDED_STATUSES, FINAL_STATUSES, STATUSES, TICKET_STATUSES, Host, Instance
from exporter.snapshot.reading import AccountState, Fault, Reading, Snapshot, Watch
from exporter.snapshot.ticket import (
    OTHER_REASON,
    Batch,
    Execution,
    Fact,
    Failure,
    Statistics,
    StatusCount,
    Ticket,
    Told,
)

__all__ = [
    "ENDED_STATUSES",
    "FINAL_STATUSES",
    "OTHER_REASON",
    "STATUSES",
    "TICKET_STATUSES",
    "AccountState",
    "Batch",
    "Execution",
    "Fact",
    "Failure",
    "Fault",
    "Host",
    "Instance",
    "Reading",
    "Snapshot",
    "Statistics",
    "StatusCount",
    "Ticket",
    "Told",
    "Watch",
]
