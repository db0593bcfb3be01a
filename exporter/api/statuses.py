"""The statuses an API may send, and how many new ones become label values."""

from __future__ import annotations

import re

from exporter.snapshot import TICKET_STATUSES

_SPELLINGS = {"ROLLED BACK": "ROLLBACKED", "ROLLED_BACK": "ROLLBACKED", "ERROR": "ABNORMAL"}
"""ERROR is what older pages of the API call an ABNORMAL ticket."""

OTHER = "OTHER"
_NEW_LIMIT = 8
_LENGTH = 32


class Statuses:
    """Known statuses by name; the first eight new ones by their own name; from the ninth on ``OTHER``."""

    def __init__(self) -> None:
        self._new: set[str] = set()

    def name(self, raw: str) -> tuple[str, bool]:
        """Return the label value of a status, and whether the API documents it."""
        name = _SPELLINGS.get(raw, raw)
        if name in TICKET_STATUSES:
            return name, True
        name = re.sub(r"[^A-Za-z0-9_]", "_", raw)[:_LENGTH] or OTHER
        if name not in self._new and len(self._new) >= _NEW_LIMIT:
            return OTHER, False
        if name != OTHER:
            self._new.add(name)
        return name, False
