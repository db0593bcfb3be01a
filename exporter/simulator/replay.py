"""
Serve recorded answers: a folder with one JSON file per answer.

A file holds ``method``, ``path``, ``query``, ``status`` and ``body``. Sign-in is not looked at: a recording
says nothing about secrets. Of two files for the same request the one whose name sorts last is served.
"""

from __future__ import annotations

import json
from collections import Counter
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from exporter.simulator.model import dumps

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

_UNKNOWN = dumps({"error_code": "COC.00040709", "error_msg": "this request is not in the recording"})

Key = tuple[str, str, tuple[tuple[str, str], ...]]


class BadRecordingError(ValueError):
    """A file of the folder is no recorded answer."""


def replay(folder: Path) -> Starlette:
    """Return an application that serves the recording in ``folder`` and counts in ``app.state.requests``."""
    answers = dict(_load(file) for file in sorted(folder.glob("*.json")))
    if not answers:
        raise BadRecordingError(f"{folder}: no recorded answers (*.json) here")
    requests: Counter[str] = Counter()

    async def serve(request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        found = answers.get(_key(request.method, path, request.url.query))
        requests["known" if found else "unknown"] += 1
        status, body = found or (400, _UNKNOWN)
        return Response(body, status, {"Date": formatdate(usegmt=True)}, "application/json")

    app = Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST", "PUT"])])
    app.state.requests = requests
    return app


def _key(method: str, path: str, query: str) -> Key:
    """Return what makes two requests the same; the order of a query does not matter."""
    return method, path, tuple(sorted(parse_qsl(query, keep_blank_values=True)))


def _load(file: Path) -> tuple[Key, tuple[int, bytes]]:
    try:
        record: dict[str, Any] = json.loads(file.read_bytes())
        key = _key(record.get("method", "GET"), record["path"], record.get("query", ""))
        return key, (int(record.get("status", 200)), dumps(record["body"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRecordingError(f"{file}: no recorded answer: {error!r}") from error
