"""The paths of the HTTP surface."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router

from exporter.server.hardening import Hardened
from exporter.server.landing import page
from exporter.server.lifecycle import Lifecycle, healthy
from exporter.server.metrics import Metrics
from exporter.server.openapi import document
from exporter.server.paths import landing_of, prefix_of, telemetry_path
from exporter.server.site import Site

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Site", "build"]


def build(site: Site) -> Starlette:
    """Return the ASGI application."""
    site = replace(site, telemetry_path=telemetry_path(site), route_prefix=prefix_of(site.route_prefix, ""))
    # A redirect to the same path with or without a slash would be made of the request's Host header.
    inner = Router([*_routes(site), *site.pages, *_landing(site)], redirect_slashes=False)
    app = Starlette(routes=[*_redirects(site), Mount(site.route_prefix, app=inner)], middleware=[Middleware(Hardened)])
    app.router.redirect_slashes = False
    return app


def _routes(site: Site) -> list[BaseRoute]:
    lifecycle = Lifecycle(site)
    described = document(site)

    async def config(_request: Request) -> Response:
        return PlainTextResponse(site.config_text())

    async def openapi(_request: Request) -> Response:
        return JSONResponse(described)

    return [
        Route(site.telemetry_path, Metrics(site.board, site.max_requests)),
        Route("/-/healthy", healthy),
        Route("/-/ready", lifecycle.ready),
        Route("/-/reload", lifecycle.reload, methods=["POST", "PUT"]),
        Route("/config", config),
        Route("/api/v1/openapi.json", openapi),
    ]


def _landing(site: Site) -> list[BaseRoute]:
    if site.telemetry_path == "/":
        return []
    text = page(site.telemetry_path)

    async def landing(_request: Request) -> Response:
        return HTMLResponse(text)

    return [Route("/", landing)]


def _redirects(site: Site) -> list[BaseRoute]:
    """Lead from the root, and from the prefix without its slash, to the landing page."""
    if not site.route_prefix:
        return []
    target = landing_of(site)

    async def redirect(_request: Request) -> Response:
        return Response(status_code=302, headers={"Location": target})

    return [Route("/", redirect), Route(site.route_prefix, redirect)]
