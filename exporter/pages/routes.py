"""The pages' paths. Views are made and rendered in a thread: a long page must not hold up a scrape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from exporter.pages import overview, render, text, ticket
from exporter.pages.digest import Digests
from exporter.pages.query import overview_query, ticket_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from exporter.pages.desk import Desk
    from exporter.pages.models import Overview, TicketView

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # A page may show the end of a log, which no cache should keep.
    "Cache-Control": "no-store",
}

_SHORTEST_REFRESH = 5
_STARTING_REFRESH = 3


def routes(desk: Desk) -> list[Route]:
    """Return the routes of pages that know the same things for ever."""
    return live_routes(lambda: desk)


def live_routes(desk: Callable[[], Desk]) -> list[Route]:
    """Return the routes of pages that ask, at each request, what they are to know: a reload may change it."""
    pages = _Pages(desk)
    return [
        Route("/", pages.overview),
        # An account may have any name, a slash in it included.
        Route("/tickets/{account:path}/{execute_uuid}", pages.ticket),
        Route("/api/v1/tickets", pages.overview_json),
        Route("/api/v1/tickets/{account:path}/{execute_uuid}", pages.ticket_json),
        Route("/static/pages.css", _stylesheet),
    ]


class _Pages:
    """The endpoints; what they share is the digest of the newest snapshot."""

    def __init__(self, desk: Callable[[], Desk]) -> None:
        self._desk = desk
        self._digests = Digests()

    async def overview(self, request: Request) -> Response:
        return await asyncio.to_thread(self._overview_page, self._desk(), dict(request.query_params))

    async def overview_json(self, request: Request) -> Response:
        return await asyncio.to_thread(self._overview_twin, self._desk(), dict(request.query_params))

    async def ticket(self, request: Request) -> Response:
        return await asyncio.to_thread(self._ticket_page, self._desk(), request)

    async def ticket_json(self, request: Request) -> Response:
        return await asyncio.to_thread(self._ticket_twin, self._desk(), request)

    def _overview(self, desk: Desk, given: dict[str, str]) -> Overview:
        snapshot = desk.current()
        digest = self._digests.of(snapshot, desk)
        return overview.overview(snapshot, digest, overview_query(given), desk, desk.now())

    def _overview_page(self, desk: Desk, given: dict[str, str]) -> Response:
        view = self._overview(desk, given)
        starting = any(notice.kind == "starting" for notice in view.notices)
        every = _STARTING_REFRESH if starting else max(_SHORTEST_REFRESH, round(desk.interval))
        refresh = None if view.query.refresh == "off" else every
        return _html("overview.html", desk, view=view, path=desk.links.to("/"), refresh=refresh, every=every)

    def _overview_twin(self, desk: Desk, given: dict[str, str]) -> Response:
        return _json(render.as_json(self._overview(desk, given)))

    def _ticket_page(self, desk: Desk, request: Request) -> Response:
        view = _ticket(desk, request)
        if view is None:
            return _missing(desk, request)
        # Only on request: a refresh would close the fold that somebody is reading in.
        every = max(_SHORTEST_REFRESH, round(desk.interval))
        refresh = every if view.query.refresh == "on" else None
        return _html("ticket.html", desk, view=view, path=view.ticket.url, refresh=refresh, every=every)

    def _ticket_twin(self, desk: Desk, request: Request) -> Response:
        view = _ticket(desk, request)
        if view is None:
            return _json(render.as_json({"error": _unknown(request)}), 404)
        return _json(render.as_json(view))


def _ticket(desk: Desk, request: Request) -> TicketView | None:
    snapshot = desk.current()
    reading = ticket.find(snapshot, request.path_params["account"], request.path_params["execute_uuid"])
    if reading is None:
        return None
    return ticket.view(snapshot, reading, ticket_query(request.query_params), desk, desk.now())


def _missing(desk: Desk, request: Request) -> Response:
    return _html("missing.html", desk, 404, sentence=_unknown(request), refresh=None)


def _unknown(request: Request) -> str:
    account = text.line(request.path_params["account"])
    return f"No ticket {text.line(request.path_params['execute_uuid'])} of account {account} is watched."


async def _stylesheet(_request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(await asyncio.to_thread(render.stylesheet), headers=headers, media_type="text/css")


def _html(template: str, desk: Desk, status: int = 200, **values: Any) -> Response:
    body = render.html(template, to=desk.links.to, version=desk.version, telemetry_path=desk.telemetry_path, **values)
    return Response(body, status, HEADERS, "text/html")


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, HEADERS, "application/json")
