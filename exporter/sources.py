"""
Which tickets are watched: those the config lists, and those that discovery finds.

Filters are applied here, whatever the API's own do: the unit of its time filter is documented nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.snapshot import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.api import Api, Listed
    from exporter.config import Account, Discovery


@dataclass(frozen=True, slots=True)
class Found:
    """The tickets to watch; ``omitted`` is how many were left out, ``listed`` how many the API told of at all."""

    watches: tuple[Watch, ...]
    omitted: int = 0
    listed: int | None = None


def fixed(account: Account) -> tuple[Watch, ...]:
    """Return the tickets that the config lists."""
    return tuple(
        Watch(
            account=account.name,
            execute_uuid=ticket.execute_uuid,
            name=ticket.name or "",
            labels=dict(ticket.labels),
            batches=frozenset(ticket.batches or ()),
        )
        for ticket in account.tickets
    )


async def find(account: Account, api: Api, now: float) -> Found:
    """Return the tickets to watch as of ``now`` in Unix seconds; raise an ApiError when the listing fails."""
    listed = fixed(account)
    if account.discovery is None:
        return Found(listed)
    seen, orders = await _recent(api, account.discovery, now)
    return merged(account.name, listed, orders, account.discovery, seen)


def merged(account: str, listed: tuple[Watch, ...], orders: Iterable[Listed], discovery: Discovery, seen: int) -> Found:
    """Return listed and discovered tickets without doubles, the newest ``max_tickets`` of the discovered."""
    taken = {watch.execute_uuid for watch in listed}
    fresh: Mapping[str, Listed] = {order.execute_uuid: order for order in orders if order.execute_uuid not in taken}
    newest = sorted(fresh.values(), key=lambda order: (-(order.created or 0.0), -order.id))
    chosen = newest[: discovery.max_tickets]
    discovered = tuple(Watch(account, order.execute_uuid, order.name, listed=False) for order in chosen)
    return Found(listed + discovered, omitted=len(newest) - len(chosen), listed=seen)


async def _recent(api: Api, discovery: Discovery, now: float) -> tuple[int, list[Listed]]:
    """Return how many tickets the API told of, and those that the filters let pass."""
    seen = 0
    chosen: list[Listed] = []
    filters = {} if discovery.creator is None else {"creator": discovery.creator}
    async for orders in api.list_tickets(filters):
        seen += len(orders)
        chosen += [order for order in orders if matches(order, discovery, now)]
        if orders and all(_too_old(order, discovery, now) for order in orders):
            break
    return seen, chosen


def matches(order: Listed, discovery: Discovery, now: float) -> bool:
    """Tell whether discovery wants this ticket."""
    if _too_old(order, discovery, now):
        return False
    if discovery.status and order.status not in discovery.status:
        return False
    if discovery.creator is not None and order.creator != discovery.creator:
        return False
    return discovery.name_regex is None or re.search(discovery.name_regex, order.name) is not None


def _too_old(order: Listed, discovery: Discovery, now: float) -> bool:
    if discovery.created_within is None or order.created is None:
        return False
    return order.created < now - discovery.created_within
