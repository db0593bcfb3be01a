"""What the overview says: a pure function of snapshot, question and time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from exporter.pages import text, words
from exporter.pages.digest import trouble
from exporter.pages.models import AccountRow, Notice, Overview, Paging, TicketRow, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter.pages.desk import Desk
    from exporter.pages.digest import Digest
    from exporter.pages.query import OverviewQuery
    from exporter.snapshot import AccountState, Fault, Snapshot

PER_PAGE = 100
HOSTS = 20
STALE_INTERVALS = 3
"""Data is called old when no poll ended for so many intervals."""

_Row = TypeVar("_Row")


def overview(snapshot: Snapshot, digest: Digest, query: OverviewQuery, desk: Desk, now: float) -> Overview:
    """Return what ``/`` says."""
    rows = [timed(row, now) for row in digest.rows]
    shown = matching(rows, query)
    paging = paged(len(shown), query.page)
    return Overview(
        headline=_headline(rows, snapshot),
        now=now,
        age_seconds=age(snapshot, now),
        interval_seconds=desk.interval,
        notices=(*notices(snapshot, desk, now), *_gaps(snapshot, rows)),
        totals=_totals(rows),
        instances=digest.instances,
        accounts=tuple(_account(account, rows, _health(account, desk, now)) for account in snapshot.accounts),
        query=replace(query, page=paging.page, account=text.line(query.account)),
        paging=paging,
        tickets=tuple(cut(shown, paging)),
        hosts=digest.hosts[:HOSTS],
        hosts_omitted=max(0, len(digest.hosts) - HOSTS),
        reasons=digest.reasons,
        last_reload=text.line(desk.reload_note(), 3 * text.NAME_LENGTH),
    )


def timed(row: TicketRow, now: float) -> TicketRow:
    """Return a row with how long its ticket has been running, and whether an instance outlasts the timeout."""
    if row.created is None:
        return row
    running = max(0.0, (now if row.finished is None else row.finished) - row.created)
    oldest, timeout = row.oldest_processing, row.timeout_seconds
    late = oldest is not None and timeout is not None and now - oldest > timeout
    return replace(row, running_seconds=running, late=late)


def matching(rows: Iterable[TicketRow], query: OverviewQuery) -> list[TicketRow]:
    """Return the rows that were asked for, in the order asked for; equals are ordered by name."""
    found = [row for row in rows if _in_state(row, query.state) and query.account in ("", row.account)]
    found.sort(key=lambda row: (row.name, row.account, row.execute_uuid))
    found.sort(key=_ORDERS[query.sort], reverse=query.descending)
    return found


def paged(count: int, page: int) -> Paging:
    """Return which rows stand on a page; a page beyond the last is the last."""
    pages = max(1, -(-count // PER_PAGE))
    page = min(page, pages)
    return Paging(page, pages, PER_PAGE, count, min(count, (page - 1) * PER_PAGE + 1), min(count, page * PER_PAGE))


def cut(rows: Sequence[_Row], paging: Paging) -> Sequence[_Row]:
    """Return the rows of a page."""
    return rows[(paging.page - 1) * PER_PAGE : paging.page * PER_PAGE]


def age(snapshot: Snapshot, now: float) -> float | None:
    """Return how long ago the account that was polled longest ago was; None before a poll ended."""
    polled = [account.polled for account in snapshot.accounts if account.polled is not None]
    return max(0.0, now - min(polled)) if polled else None


def notices(snapshot: Snapshot, desk: Desk, now: float) -> tuple[Notice, ...]:
    """Return what must be known before anything on a page is believed."""
    seconds = age(snapshot, now)
    if seconds is None:
        return (Notice("starting", "The first poll is still running. Tickets appear as they are read."),)
    faults = tuple(_fault_notice(account.name, account.fault) for account in snapshot.accounts if account.fault)
    if seconds <= STALE_INTERVALS * desk.interval:
        return faults
    every = words.duration(desk.interval)
    stale = f"This is {words.duration(seconds)} old: polls should end every {every}, and the last one did not."
    return (Notice("stale", stale), *faults)


def _fault_notice(account: str, fault: Fault) -> Notice:
    kind = "paused" if fault.reason == "paused" else "error"
    told = "is paused" if kind == "paused" else f"cannot be read ({words.fault(fault.reason)})"
    message = text.line(fault.message, 2 * text.NAME_LENGTH)
    return Notice(kind, f"Account {text.line(account)} {told} since {words.when(fault.since)}: {message}")


def _gaps(snapshot: Snapshot, rows: Sequence[TicketRow]) -> Iterable[Notice]:
    if not rows and _polled(snapshot):
        yield Notice("empty", "No ticket is watched: the config lists none, and discovery finds none.")
    for account in snapshot.accounts:
        if account.omitted_tickets:
            left_out = words.count(account.omitted_tickets, "ticket")
            yield Notice(
                "omitted", f"Account {text.line(account.name)}: {left_out} beyond discovery.max_tickets left out."
            )


def _polled(snapshot: Snapshot) -> bool:
    """Tell whether a poll ever ended."""
    return any(account.polled is not None for account in snapshot.accounts)


def _headline(rows: Sequence[TicketRow], snapshot: Snapshot) -> str:
    abnormal = sum(row.abnormal for row in rows)
    if abnormal:
        tickets = sum(row.abnormal > 0 for row in rows)
        return (
            f"{words.count(abnormal, 'instance')} {words.verb(abnormal)} ABNORMAL in {words.count(tickets, 'ticket')}"
        )
    if not _polled(snapshot):
        return "Reading the tickets for the first time"
    unread = sum(row.state == "failed" for row in rows)
    if unread:
        return f"{words.count(unread, 'ticket')} cannot be read"
    return "No instance is ABNORMAL" if rows else "No tickets"


def _totals(rows: Sequence[TicketRow]) -> Totals:
    states = Counter(row.state for row in rows)
    abnormal = sum(row.abnormal > 0 for row in rows)
    return Totals(len(rows), abnormal, states["failed"], states["active"], states["finished"])


def _account(account: AccountState, rows: Sequence[TicketRow], health: str) -> AccountRow:
    name = text.line(account.name)
    own = [row for row in rows if row.account == name]
    return AccountRow(
        name=name,
        health=health,
        fault=trouble(account.fault),
        polled=account.polled,
        tickets=len(own),
        tickets_failed=sum(row.state == "failed" for row in own),
        omitted_tickets=account.omitted_tickets,
    )


def _health(account: AccountState, desk: Desk, now: float) -> str:
    if account.fault is not None:
        return "paused" if account.fault.reason == "paused" else "failing"
    if account.polled is None:
        return "waiting"
    return "overdue" if now - account.polled > STALE_INTERVALS * desk.interval else "healthy"


def _in_state(row: TicketRow, state: str) -> bool:
    if state == "abnormal":
        return row.abnormal > 0
    return state in ("", row.state)


def _trouble(row: TicketRow) -> tuple[int, int, float]:
    """Rank a row by how much it needs a person: failures first, then what cannot be read, then what runs."""
    urgency = 3 if row.abnormal else 2 if row.state == "failed" else int(row.state == "active")
    return urgency, row.abnormal, row.created or 0.0


_ORDERS: dict[str, Callable[[TicketRow], tuple[int, int, float] | tuple[float, ...] | str]] = {
    "trouble": _trouble,
    "name": lambda row: row.name.casefold(),
    "status": lambda row: row.status or "",
    "failures": lambda row: (row.abnormal, row.failures),
    "running": lambda row: (row.running_seconds or 0.0,),
    "created": lambda row: (row.created or 0.0,),
}
