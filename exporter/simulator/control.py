"""The simulator's own pages under ``/`` and ``/-/``: turn the switches, see tickets and requests."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from exporter.simulator.faults import API_DOWN, METADATA, BadSwitchError, from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from exporter.simulator.app import Simulator
    from exporter.simulator.faults import Controls
    from exporter.simulator.model import Ticket

_LISTED = 100
_CHOICES: dict[str, tuple[str, ...]] = {"api_down": (*API_DOWN[1:], "off"), "metadata": METADATA}
_PRESETS: dict[str, tuple[str, ...]] = {
    "page_cap": ("5", "1"),
    "throttle": ("0.3", "1"),
    "retry_after": ("2", "30"),
    "errors": ("0.3", "1"),
    "latency": ("0.5", "5"),
    "clock_offset": ("120", "1200"),
    "failure_wave": ("0.3", "1"),
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>COC simulator</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; max-width: 70rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd }}
form {{ display: inline }}
</style></head><body>
<h1>COC simulator</h1>
<p>It plays the COC API at <code>/v1/job/script/orders</code>, IAM at <code>/v3/auth/tokens</code> and the ECS
metadata service at <code>/openstack/latest/securitykey</code>.
See <a href="/-/requests">the requests so far</a> and <a href="/-/switches">the switches as JSON</a>.</p>
<h2>Switches</h2>
<table><tr><th>switch<th>now<th>turn</tr>
{switches}</table>
<form method="post" action="/-/reset"><button>everything back to normal</button></form>
<h2>Tickets ({number})</h2>
<table><tr><th>execute_uuid<th>name<th>status<th>instances</tr>
{tickets}</table>
</body></html>
"""


class Control:
    """The handlers behind the routes."""

    def __init__(self, simulator: Simulator, controls: Controls, clock: Callable[[], float]) -> None:
        self._simulator = simulator
        self._controls = controls
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes of ``/`` and ``/-/``."""
        return [
            Route("/", self.page),
            Route("/-/switches", self.show),
            Route("/-/switches", self.put, methods=["PUT"]),
            Route("/-/switches/{name}/{value}", self.turn, methods=["POST"]),
            Route("/-/reset", self.reset, methods=["POST"]),
            Route("/-/requests", self.requests),
            Route("/-/healthy", _healthy),
        ]

    async def page(self, _: Request) -> Response:
        """Show switches and tickets to a person."""
        tickets = self._simulator.world.tickets(self._clock())
        switches = "".join(_switch_row(name, value) for name, value in self._positions().items())
        rows = "".join(map(_ticket_row, reversed(tickets[-_LISTED:])))
        return HTMLResponse(_PAGE.format(switches=switches, tickets=rows, number=len(tickets)))

    async def show(self, _: Request) -> Response:
        """Return the switches as JSON."""
        return JSONResponse(self._controls.as_json())

    async def put(self, request: Request) -> Response:
        """Turn the switches named in the body; all of them or none."""
        try:
            from_json(self._controls, dict(json.loads(await request.body())))
        except (BadSwitchError, ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self._controls.as_json())

    async def turn(self, request: Request) -> Response:
        """Turn one switch, as the page's buttons do; a browser is led back to the page."""
        name, value = request.path_params["name"], request.path_params["value"]
        try:
            self._controls.set(**{name: value})
        except BadSwitchError as error:
            return JSONResponse({"error": str(error)}, 400)
        return self._done(request)

    async def reset(self, request: Request) -> Response:
        """Put every switch back."""
        self._controls.reset()
        return self._done(request)

    async def requests(self, _: Request) -> Response:
        """Return how many requests there were by operation."""
        return JSONResponse(self._simulator.requests)

    def _done(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/", 303)
        return JSONResponse(self._controls.as_json())

    def _positions(self) -> dict[str, object]:
        return {name: value for name, value in self._controls.as_json().items() if name != "waves"}


async def _healthy(_: Request) -> Response:
    return Response("ok\n", media_type="text/plain")


def _switch_row(name: str, value: object) -> str:
    buttons = "".join(_button(name, position) for position in _offered(name, value))
    return f"<tr><td>{escape(name)}<td>{escape(str(value))}<td>{buttons}</tr>\n"


def _offered(name: str, value: object) -> Sequence[str]:
    if isinstance(value, bool):
        return ("off",) if value else ("on",)
    if name == "revoked_tokens":
        return (str(int(str(value)) + 1), "0")
    return _CHOICES.get(name, (*_PRESETS.get(name, ()), "0"))


def _button(name: str, position: str) -> str:
    action = escape(f"/-/switches/{name}/{position}", quote=True)
    return f'<form method="post" action="{action}"><button>{escape(position)}</button></form> '


def _ticket_row(ticket: Ticket) -> str:
    head = ticket.head
    counts = ", ".join(f"{number} {status}" for status, (number, _) in sorted(ticket.counts.items()))
    return "<tr>" + "".join(f"<td>{escape(text)}" for text in (head.uuid, head.name, head.status, counts)) + "</tr>\n"
