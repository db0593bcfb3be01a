"""What the config decides about families."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """``buckets`` are upper bounds in seconds, ascending, without infinity; ``ticket_labels`` start with ``label_``."""

    per_batch: bool = True
    abnormal_instances: int = 50
    buckets: tuple[float, ...] = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800)
    ticket_labels: tuple[str, ...] = ()
