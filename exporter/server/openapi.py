"""The HTTP surface described in OpenAPI's words, written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter import __version__

if TYPE_CHECKING:
    from exporter.server.site import Site

_EXPOSITIONS = ("text/plain", "application/openmetrics-text")
_NAME = {
    "name": "name[]",
    "in": "query",
    "description": "Only these families or samples; repeatable.",
    "style": "form",
    "explode": True,
    "schema": {"type": "array", "items": {"type": "string"}},
}
_ACCOUNT = {
    "name": "account",
    "in": "path",
    "required": True,
    "description": "The account's name in the config.",
    "schema": {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
}
_EXECUTE_UUID = {
    "name": "execute_uuid",
    "in": "path",
    "required": True,
    "description": "The ticket's execute_uuid.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,26}$"},
}
_TICKET = [_ACCOUNT, _EXECUTE_UUID]


def document(site: Site) -> dict[str, Any]:
    """Return the document, which is served at ``/api/v1/openapi.json``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "coc-exporter",
            "version": __version__,
            "description": "Prometheus exporter for Huawei Cloud COC script tickets.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": site.route_prefix or "/"}],
        "security": [{}, {"basic": []}],
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
        "paths": {site.telemetry_path: _metrics(), **_health(), **_reload(), **_pages()},
    }


def _metrics() -> dict[str, Any]:
    busy = {"503": _answer("More than --web.max-requests scrapes at once.", "text/plain")}
    served = {"200": _answer("The exposition of the last poll.", *_EXPOSITIONS)}
    return _get("metrics", "The metrics", served | busy, [_NAME])


def _health() -> dict[str, Any]:
    unready = {"503": _answer("Not every ticket was tried lately.", "text/plain")}
    return {
        "/-/healthy": _get("healthy", "Whether the process lives", _ok("text/plain")),
        "/-/ready": _get("ready", "Whether the metrics can be relied on", _ok("text/plain") | unready),
        "/config": _get("config", "The effective config, secrets masked", _ok("text/plain")),
    }


def _reload() -> dict[str, Any]:
    answers = {
        **_ok("text/plain"),
        "403": _answer("Not enabled, or asked by a page of another site.", "text/plain"),
        "500": _answer("The new config has a fault; the old one stays.", "text/plain"),
    }
    methods = {"post": "reload", "put": "reloadByPut"}
    return {
        "/-/reload": {method: _operation(name, "Take the config anew", answers, []) for method, name in methods.items()}
    }


def _pages() -> dict[str, Any]:
    unknown = {"404": _answer("No such ticket.", "text/plain", "text/html", "application/json")}
    page, data = _ok("text/html"), _ok("application/json")
    return {
        "/": _get("overview", "The overview, for people", page),
        "/tickets/{account}/{execute_uuid}": _get("ticketPage", "One ticket, for people", page | unknown, _TICKET),
        "/api/v1/tickets": _get("tickets", "The overview as JSON", data | unknown),
        "/api/v1/tickets/{account}/{execute_uuid}": _get("ticket", "One ticket as JSON", data | unknown, _TICKET),
        "/api/v1/openapi.json": _get("openapi", "This document", data),
    }


def _get(
    name: str, summary: str, answers: dict[str, Any], parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {"get": _operation(name, summary, answers, parameters or [])}


def _operation(name: str, summary: str, answers: dict[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    guarded = {
        "401": _answer("Basic auth is configured and these are no valid credentials.", "text/plain"),
        "429": _answer("The configured rate limit is exceeded.", "text/plain"),
    }
    return {"operationId": name, "summary": summary, "parameters": parameters, "responses": answers | guarded}


def _ok(media_type: str) -> dict[str, Any]:
    return {"200": _answer("As asked.", media_type)}


def _answer(description: str, *media_types: str) -> dict[str, Any]:
    schema = {"type": "string"}
    content = {kind: {"schema": {} if kind == "application/json" else schema} for kind in media_types}
    return {"description": description, "content": content}
