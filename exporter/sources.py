"""
Which tickets are watched: those the config lists, and those that discovery finds.

Filters are applied here, whatever the API's own do: the unit of its time filter is documented nowhere.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from exporter.snapshot import FINAL_STATUSES, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.api import Api, Listed
    from exporter.config import Account, Discovery


@dataclass(frozen=True, slots=True)
class Followed:
    """A ticket that discovery found before and that is watched until it is over; ``created`` in Unix seconds."""

    watch: Watch
    created: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """
    The tickets to watch; ``omitted`` is how many were left out.

    ``listed`` is how many tickets the API told of, and ``stated`` how many it said there were; both are None where it
    was not asked, ``stated`` also where the listing was not read to its end.
    """

    watches: tuple[Watch, ...]
    omitted: int = 0
    listed: int | None = None
    stated: int | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    watch: Watch
    created: float
    order_id: int = 0


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


async def find(
    account: Account, api: Api, now: float, *, keep_finished: float, followed: Iterable[Followed] = ()
) -> Found:
    """
    Return the tickets to watch as of ``now`` in Unix seconds; raise an ApiError when the listing fails.

    Tickets that ended more than ``keep_finished`` seconds ago are not found any more.
    """
    if account.discovery is None:
        return Found(fixed(account))
    chosen, listed, stated = await _recent(api, account.discovery, now)
    orders = [order for order in chosen if not _long_over(order, now, keep_finished)]
    watches, omitted = merged(account, orders, followed, account.discovery.max_tickets)
    return Found(watches, omitted, listed, stated)


async def past(account: Account, api: Api, start: float, end: float) -> tuple[Watch, ...]:
    """
    Return the tickets that were watched between two times in Unix seconds; raise an ApiError when the listing fails.

    Discovery's limits of status and number speak of the present: each ticket ran once, and was found then.
    """
    if account.discovery is None:
        return fixed(account)
    discovery = account.discovery.model_copy(update={"status": ()})
    chosen, _, _ = await _recent(api, discovery, start)
    orders = [order for order in chosen if _lived(order, start, end)]
    return merged(account, orders, (), sys.maxsize)[0]


def _lived(order: Listed, start: float, end: float) -> bool:
    return (order.created is None or order.created < end) and (order.finished is None or order.finished >= start)


def merged(
    account: Account, orders: Iterable[Listed], followed: Iterable[Followed], most: int
) -> tuple[tuple[Watch, ...], int]:
    """Return listed and discovered tickets without doubles, the newest ``most`` of these, and how many are left."""
    watches = fixed(account)
    taken = {watch.execute_uuid for watch in watches}
    candidates = {known.watch.execute_uuid: _Candidate(known.watch, known.created or 0.0) for known in followed}
    for order in orders:
        watch = Watch(account.name, order.execute_uuid, order.name, listed=False)
        candidates[order.execute_uuid] = _Candidate(watch, order.created or 0.0, order.id)
    discovered = [candidate for uuid, candidate in candidates.items() if uuid not in taken]
    newest = sorted(discovered, key=_newest_first)
    chosen = tuple(candidate.watch for candidate in newest[:most])
    return watches + chosen, len(newest) - len(chosen)


def _newest_first(candidate: _Candidate) -> tuple[float, int, str]:
    return -candidate.created, -candidate.order_id, candidate.watch.execute_uuid


async def _recent(api: Api, discovery: Discovery, now: float) -> tuple[list[Listed], int, int | None]:
    """Return the tickets that the filters let pass, how many the API told of, and how many it said there are."""
    listed = 0
    stated: int | None = None
    chosen: list[Listed] = []
    filters = {} if discovery.creator is None else {"creator": discovery.creator}
    async for page in api.list_tickets(filters):
        # Of the first page: tickets that are created meanwhile need not come up.
        stated = page.total if listed == 0 else stated
        listed += len(page.items)
        chosen += [order for order in page.items if matches(order, discovery, now)]
        if _rest_is_older(page.items) and all(_too_old(order, discovery, now) for order in page.items):
            return chosen, listed, None
    return chosen, listed, stated


def _rest_is_older(orders: Iterable[Listed]) -> bool:
    """Tell whether a page goes from newer tickets to older ones; the API documents no order."""
    ids = [order.id for order in orders]
    return len(ids) > 1 and ids[0] > ids[-1]


def matches(order: Listed, discovery: Discovery, now: float) -> bool:
    """Tell whether discovery wants this ticket."""
    if _too_old(order, discovery, now):
        return False
    if discovery.status and order.status not in discovery.status:
        return False
    if discovery.creator is not None and order.creator != discovery.creator:
        return False
    return discovery.name_regex is None or _pattern(discovery.name_regex).search(order.name) is not None


@lru_cache(maxsize=64)
def _pattern(regex: str) -> Any:
    # A backtracking engine can be made to hang by a ticket's name; it is left for what RE2 does not know.
    import re2  # noqa: PLC0415  only where patterns are used

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regex, options=options)
    except re2.error:
        return re.compile(regex)


def _too_old(order: Listed, discovery: Discovery, now: float) -> bool:
    if discovery.created_within is None or order.created is None:
        return False
    return order.created < now - discovery.created_within


def _long_over(order: Listed, now: float, keep_finished: float) -> bool:
    ended = order.finished if order.finished is not None else order.created
    return order.status in FINAL_STATUSES and ended is not None and now - ended > keep_finished
