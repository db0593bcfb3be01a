"""
Log lines as the field writes them: logfmt or JSON on stderr with promslog's keys.

``time``, ``level``, ``source``, ``msg``, then what the caller gave in ``extra``. Values are escaped, so that no text of
the API can forge a line. A traceback is written without locals, which could hold secrets.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_LEVELS = {logging.WARNING: "warn", logging.CRITICAL: "error"}
_BARE = re.compile(r"[A-Za-z0-9_./:@%+*,~\[\]-]+")


class Logfmt(logging.Formatter):
    """Write a record as ``key=value`` pairs, quoted where needed."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return " ".join(f"{key}={_quoted(value)}" for key, value in _fields(record).items())


class Json(logging.Formatter):
    """Write a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(_fields(record), default=str)


class _Counting(logging.Handler):
    """Tell of each record of level warning and above."""

    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        self._count("error" if record.levelno >= logging.ERROR else "warning")


def setup(level: str, style: str, count: Callable[[str], None] | None = None) -> None:
    """Send every log line to stderr; ``level`` and ``style`` as on the command line; ``count`` is told of troubles."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if style == "json" else Logfmt())
    root = logging.getLogger()
    root.handlers = [handler] if count is None else [handler, _Counting(count)]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    for chatty in ("httpx", "aiohttp", "asyncio", "uvicorn.access", "uvicorn.error"):
        # httpx logs every URL at info.
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {
        "time": moment.replace("+00:00", "Z"),
        "level": _LEVELS.get(record.levelno, record.levelname.lower()),
        "source": f"{record.filename}:{record.lineno}",
        "msg": record.getMessage(),
    }
    fields |= _extra(record.__dict__)
    if record.exc_info and record.exc_info[1] is not None:
        fields["stack"] = "".join(traceback.format_tb(record.exc_info[2]))
    return fields


def _extra(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key not in _STANDARD}


def _quoted(value: object) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)
