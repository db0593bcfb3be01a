"""
What a reader asked for: filters, order and page, from a query string that may hold anything.

What cannot be understood is as if it had not been said.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

STATES = ("abnormal", "failed", "active", "finished")
SORTS = ("trouble", "name", "status", "failures", "running", "created")
ASCENDING = frozenset({"name", "status"})
"""The orders that begin with the least unless asked otherwise."""

_LONGEST = 256


@dataclass(frozen=True, slots=True)
class OverviewQuery:
    """Which tickets to list, and how."""

    state: str = ""
    account: str = ""
    sort: str = "trouble"
    order: str = ""
    page: int = 1
    refresh: str = ""

    @property
    def descending(self) -> bool:
        """Whether the greatest comes first."""
        return (self.order or ("asc" if self.sort in ASCENDING else "desc")) == "desc"


@dataclass(frozen=True, slots=True)
class TicketQuery:
    """Which instances to list."""

    status: str = ""
    batch: int = 0
    page: int = 1
    refresh: str = ""


def overview_query(given: Mapping[str, str]) -> OverviewQuery:
    """Return what was asked of the overview."""
    return OverviewQuery(
        state=_one_of(STATES, given.get("state", "")),
        account=given.get("account", "")[:_LONGEST],
        sort=_one_of(SORTS, given.get("sort", "")) or "trouble",
        order=_one_of(("asc", "desc"), given.get("order", "")),
        page=_natural(given.get("page", "")) or 1,
        refresh=_one_of(("on", "off"), given.get("refresh", "")),
    )


def ticket_query(given: Mapping[str, str]) -> TicketQuery:
    """Return what was asked of a ticket."""
    return TicketQuery(
        status=given.get("status", "")[:_LONGEST],
        batch=_natural(given.get("batch", "")),
        page=_natural(given.get("page", "")) or 1,
        refresh=_one_of(("on", "off"), given.get("refresh", "")),
    )


def link(path: str, query: OverviewQuery | TicketQuery, **changes: Any) -> str:
    """Return the link to the same view with some answers changed; a change of filter or order begins at page 1."""
    changed = replace(query, **({"page": 1} | changes if set(changes) - {"refresh"} else changes))
    said = {
        field.name: getattr(changed, field.name)
        for field in fields(changed)
        if getattr(changed, field.name) != field.default
    }
    return f"{path}?{urlencode(said, errors='replace')}" if said else path


def _one_of(known: tuple[str, ...], given: str) -> str:
    return given if given in known else ""


def _natural(text: str) -> int:
    """Return a small number, 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0  # noqa: PLR2004  fits any page
