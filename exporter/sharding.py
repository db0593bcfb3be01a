"""
Which of several exporters reads a ticket.

Rendezvous hashing (Thaler, Ravishankar 1998): every shard draws a number for the ticket and the highest has it. With
one shard more, only the tickets move that the new one wins.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``total`` exporters that share the tickets; ``ordinal`` counts from 0."""

    ordinal: int = 0
    total: int = 1

    def owns(self, execute_uuid: str) -> bool:
        """Tell whether this shard reads the ticket."""
        return self.total == 1 or _owner(execute_uuid, self.total) == self.ordinal


def _owner(execute_uuid: str, total: int) -> int:
    # Not hash(): it differs between processes.
    draws = (hashlib.blake2b(f"{ordinal}/{execute_uuid}".encode(), digest_size=8).digest() for ordinal in range(total))
    return max(enumerate(draws), key=lambda drawn: drawn[1])[0]
