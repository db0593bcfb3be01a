"""
What an answer that is no success means.

Codes are those of the gateway (APIGW.*, on some sites APIG.*), of COC (COC.*) and of IAM; the API documents no
status but 200, so the rest is read as HTTP has it. The server's text is never shown: it can hold a canonical request.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from exporter.api.dates import unix_seconds
from exporter.auth import refusal
from exporter.errors import (
    ApiError,
    BadRequest,
    NotFound,
    RateLimited,
    ServerFailed,
    UnexpectedStatus,
)

if TYPE_CHECKING:
    import httpx

_OK = 200
_LONGEST_DELAY = 3600.0
_NOT_FOUND = "COC.00040709"
_INTERNAL_ERROR = "COC.00040701"
_SUCCESS = "COC.00000000"
_SIGN_IN = (".0301", ".0307", ".01010001")
_THROTTLED = ".0308"
_CODE = re.compile(r"[A-Za-z]{2,12}\.\d{4,8}")


def judge(response: httpx.Response, operation: str, now: float) -> None:
    """Raise the ApiError that the answer amounts to; return when it is a success. ``now`` in Unix seconds."""
    status = response.status_code
    if status == _OK:
        return
    code, message = error_of(response.content)
    what = f"{operation}: HTTP {status}" + (f", {code}" if code else "")
    if status in (401, 403):
        raise refusal(status, code, message)
    if status == 429 or code.endswith(_THROTTLED):  # noqa: PLR2004  the status of throttling
        raise RateLimited(f"{what}: the API throttles us; lower poll.requests_per_second.", retry_after(response, now))
    raise _judged(status, code, what, retry_after(response, now))


def disguised(response: httpx.Response, operation: str) -> ApiError | None:
    """Return the error that a success (HTTP 200) without data holds all the same, None when it holds none."""
    code, message = error_of(response.content)
    what = f"{operation}: HTTP {_OK}, {code}"
    if not code or code == _SUCCESS:
        return None
    if code.endswith(_SIGN_IN):
        return refusal(401, code, message)
    if code.endswith(_THROTTLED):
        return RateLimited(f"{what}: the API throttles us; lower poll.requests_per_second.")
    return _judged(400, code, what, None)


def _judged(status: int, code: str, what: str, delay: float | None) -> ApiError:
    if code == _NOT_FOUND:
        return NotFound(f"{what}: the API knows no such ticket; check execute_uuid and the account's region.")
    if status == 404:  # noqa: PLR2004  the gateway's "no such API", not a ticket's
        return UnexpectedStatus(f"{what}: this host does not serve the COC API; check region or endpoint.")
    if status >= 500 or code == _INTERNAL_ERROR:  # noqa: PLR2004  server errors begin there
        return ServerFailed(f"{what}: the API failed inside; it is tried again.", delay)
    # Without a code it is not the API that refuses: a proxy, or a server of another kind.
    if status >= 400 and code:  # noqa: PLR2004  client errors begin there
        return BadRequest(f"{what}: the API refused the request; check project_id and the account's region.")
    return UnexpectedStatus(f"{what}: an answer that the API does not document; is a proxy in between?")


def error_of(body: bytes) -> tuple[str, str]:
    """Return error code and text of an error body, empty where it has none; searched as the official SDK does."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    return _error_in(raw, depth=3)


def _error_in(raw: Any, depth: int) -> tuple[str, str]:
    if not isinstance(raw, dict) or depth == 0:
        return "", ""
    for code, text in (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message")):
        if code in raw:
            found = _CODE.fullmatch(str(raw[code])[:64])
            return (found.group() if found else ""), str(raw.get(text, ""))
    for value in raw.values():
        found_in = _error_in(value, depth - 1)
        if any(found_in):
            return found_in
    return "", ""


def retry_after(response: httpx.Response, now: float) -> float | None:
    """Return the delay in seconds that the server asked for, in seconds or as a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), _LONGEST_DELAY)
    moment = unix_seconds(value)
    return None if moment is None else min(max(0.0, moment - now), _LONGEST_DELAY)
