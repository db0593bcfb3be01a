"""
Endpoints A to E over a world: what a signed-in request is answered; pure but for the world it asks.

Behaviour that the official pages leave open is marked as a guess here and listed in ``docs/simulator.md``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from exporter.simulator.messages import Answer, invalid, missing
from exporter.simulator.model import STATUSES, dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.simulator.faults import Switches
    from exporter.simulator.messages import Request
    from exporter.simulator.model import Batch, Ticket, World

_INT32 = 2**31 - 1
_LONGEST_UUID = 26
_LAST_BATCH = 20
_DEFAULT_LISTING = 10  # a guess: the page names no default
_TICKET_FILTER = {"READY", "PROCESSING", "ABNORMAL", "PAUSED", "CANCELED", "FINISHED"}
_INSTANCE_FILTER = {"READY", "PROCESSING", "ABNORMAL", "CANCELED", "FINISHED"}
_ALWAYS_COUNTED = STATUSES[:5]

Row = TypeVar("Row")


@dataclass(frozen=True)
class View:
    """What an endpoint needs to know: the world, the time and how to misbehave."""

    world: World
    now: float
    switches: Switches


def list_orders(view: View, request: Request) -> Answer:
    """Answer A, newest first; note ``data.data``."""
    limit = _number(request, "limit", 1, 100, _DEFAULT_LISTING)
    marker = _number(request, "marker", 1, _INT32, 0)
    found = [] if view.switches.empty_site else _matching(view.world.tickets(view.now), request)
    page = _page(found, marker, limit, view.switches, lambda ticket: ticket.head.order_id, descending=True)
    rows = b",".join(ticket.head.listed for ticket in page)
    listed = b"null" if view.switches.null_pages and not page else b"[%b]" % rows
    return Answer(b'{"data":{"total":%d,"data":%b}}' % (len(found), listed))


def show_order(view: View, uuid: str) -> Answer:
    """Answer B."""
    return Answer(b'{"data":%b}' % _ticket(view, uuid).head.basic)


def show_statistics(view: View, uuid: str) -> Answer:
    """Answer C: five rows always, a sixth only when something was rolled back (a guess)."""
    ticket = _ticket(view, uuid)
    counts = ticket.counts
    rows = [_count_row(s, *counts.get(s, (0, []))) for s in STATUSES if s in _ALWAYS_COUNTED or s in counts]
    if view.switches.drop_statistics:
        rows.remove(max(rows, key=lambda row: row["instance_count"]))
    total = sum(batch.total for batch in ticket.batches)
    return Answer(dumps({"data": {"total_instance": total, "execute_statistics": rows}}))


def list_batches(view: View, uuid: str) -> Answer:
    """Answer D: an array, never paged."""
    return Answer(dumps({"data": [batch.body() for batch in _ticket(view, uuid).batches]}))


def show_batch(view: View, uuid: str, index: str, request: Request) -> Answer:
    """Answer E: a page of a batch's instances; ``total_instances`` is the whole batch's."""
    limit = _number(request, "limit", 1, 100 if view.switches.lenient_limit else 50, None)
    marker = _number(request, "marker", 0, _INT32, 0)
    wanted = _status(request, _INSTANCE_FILTER)
    if not index.isdecimal() or not 1 <= int(index) <= _LAST_BATCH:
        raise invalid(f"batch_index must be 1 to {_LAST_BATCH}")
    ticket = _ticket(view, uuid)
    batch = next((batch for batch in ticket.batches if batch.index == int(index)), None)
    if batch is None:
        return _no_such_batch(view, int(index))
    rows = ticket.instances(batch.index)
    if wanted:
        rows = [row for row in rows if row.status == wanted]
    page = _page(rows, marker, limit, view.switches, lambda row: row.id, descending=view.switches.descending)
    return _batch_answer(view, batch, [row.json for row in page])


def _batch_answer(view: View, batch: Batch, rows: Sequence[bytes]) -> Answer:
    listed = b"null" if view.switches.null_pages and not rows else b"[%b]" % b",".join(rows)
    shape = b'{"data":{"batch_index":%d,"total_instances":%d,"execute_instances":%b}}'
    return Answer(shape % (batch.index, batch.total, listed))


def _no_such_batch(view: View, index: int) -> Answer:
    if not view.switches.unknown_batch_empty:
        raise missing(f"batch {index}")
    return Answer(dumps({"data": {"batch_index": index, "total_instances": 0, "execute_instances": []}}))


def _ticket(view: View, uuid: str) -> Ticket:
    if not 1 <= len(uuid) <= _LONGEST_UUID:
        raise invalid(f"execute_uuid must be 1 to {_LONGEST_UUID} characters")
    ticket = None if view.switches.empty_site else view.world.find(uuid, view.now)
    if ticket is None:
        raise missing("the script order")
    return ticket


def _count_row(status: str, number: int, batches: list[int]) -> dict[str, Any]:
    return {"instance_status": status, "instance_count": number, "batch_indexes": batches}


def _matching(tickets: Sequence[Ticket], request: Request) -> Sequence[Ticket]:
    """Return what the listing's filters leave; times are taken as seconds (a guess: ms would not fit)."""
    status = _status(request, _TICKET_FILTER)
    since = _number(request, "start_time", 1, _INT32, 0)
    until = _number(request, "end_time", 1, _INT32, 0)
    creator, name = request.query.get("creator"), request.query.get("name_like")
    tests: list[Callable[[Ticket], bool]] = []
    if status:
        tests.append(lambda ticket: ticket.head.status == status)
    if creator:
        tests.append(lambda ticket: ticket.head.creator == creator)
    if name:
        tests.append(lambda ticket: name in ticket.head.name)
    if since or until:
        tests.append(lambda ticket: since <= ticket.head.created / 1000 <= (until or _INT32))
    return [ticket for ticket in tickets if all(test(ticket) for test in tests)] if tests else tickets


def _page(
    rows: Sequence[Row],
    marker: int,
    limit: int,
    switches: Switches,
    key: Callable[[Row], int],
    *,
    descending: bool,
) -> Sequence[Row]:
    """Cut a page out of ``rows``, which ascend by ``key``."""
    size = min(limit, switches.page_cap or limit)
    marker = 0 if switches.stuck_marker else marker
    past, before = (bisect_left, bisect_right) if switches.overlap else (bisect_right, bisect_left)
    if not descending:
        start = past(rows, marker, key=key) if marker else 0
        return rows[start : start + size]
    end = before(rows, marker, key=key) if marker else len(rows)
    return rows[max(0, end - size) : end][::-1]


def _number(request: Request, name: str, lowest: int, highest: int, default: int | None) -> int:
    text = request.query.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        raise invalid(f"{name} is required")
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and lowest <= int(text) <= highest):  # noqa: PLR2004 - longer than any int64
        raise invalid(f"{name} must be {lowest} to {highest}")
    return int(text)


def _status(request: Request, known: set[str]) -> str | None:
    status = request.query.get("status")
    if status is not None and status not in known:
        raise invalid(f"status must be one of {', '.join(sorted(known))}")
    return status
