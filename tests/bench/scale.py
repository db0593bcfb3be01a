"""How much is to be measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """``quick`` is for a look, ``tickets`` the size of the large worlds, of 200 instances a ticket."""

    quick: bool
    tickets: int
