"""The OpenAPI document, and the server held to it by schemathesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from test_server_kit import running, site

from exporter.server import WebConfigFile, build
from exporter.server.openapi import document

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
AUTH = ("alice", "secret")


async def page(_request: Request) -> Response:
    return HTMLResponse("<p>page")


async def data(request: Request) -> Response:
    if request.path_params.get("account") == "unknown":
        return PlainTextResponse("no such ticket\n", 404)
    return JSONResponse({"tickets": []})


PAGES = (
    Route("/", page),
    Route("/tickets/{account}/{execute_uuid}", page),
    Route("/api/v1/tickets", data),
    Route("/api/v1/tickets/{account}/{execute_uuid}", data),
)
SHOWN = site(lifecycle=True, pages=PAGES, max_requests=0)


def test_every_route_of_ours_is_described() -> None:
    ours = {
        route.path
        for route in build(SHOWN).routes[-1].app.routes  # type: ignore[attr-defined]  # the Mount
    }
    assert ours == set(document(SHOWN)["paths"])


def test_the_document_follows_the_flags() -> None:
    described = document(site(telemetry_path="/m", route_prefix="/coc"))
    assert "/m" in described["paths"]
    assert described["servers"] == [{"url": "/coc"}]


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "with basic auth"])
def test_the_server_keeps_to_its_document(tmp_path: Path, guarded: bool) -> None:
    """Every operation, with inputs that fit and inputs that do not; every answer is a described one."""
    hashed = bcrypt.hashpw(AUTH[1].encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{{AUTH[0]}: {hashed}}}" if guarded else "")
    with running(SHOWN, web_config=WebConfigFile(tmp_path / "web.yml")) as server:
        schema = schemathesis.openapi.from_dict(document(SHOWN))
        schema.config.update(base_url=server.url)
        operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
        assert len(operations) == 11
        for operation in operations:
            _held_to_it(operation, AUTH if guarded else None)


def _held_to_it(operation: Any, auth: tuple[str, str] | None) -> None:
    @given(operation.as_strategy())
    @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def call(case: Any) -> None:
        case.call_and_validate(auth=auth, checks=CHECKS)

    call()
