"""
Record the API's answers for a bug report: what they say about shape, counts and times stays, the rest is replaced.

Numbers, nulls and a short list of harmless texts are kept. Every other text becomes a pseudonym, the same one for the
same text within a recording, so that names, addresses and logs leave no trace and equal things stay equal.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from exporter.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

_KEPT = frozenset(
    {
        "execute_uuid",
        "status",
        "instance_status",
        "rotation_strategy",
        "error_code",
        "provider",
        "type",
        "region_id",
        "region_ids",
        "script_source",
        "limit",
        "marker",
    }
)


class Recorder:
    """Write each answer to ``folder``, one file each, in the form that ``simulate --replay`` serves."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
        self._folder = folder
        self._salt = secrets.token_bytes(16)
        self._numbers = count(1)

    async def __call__(self, response: httpx.Response) -> None:
        """Record one answer; only requests of the API itself come here, never a sign-in."""
        request = response.request
        query = parse_qsl(request.url.query.decode("ascii"), keep_blank_values=True)
        record = {
            "method": request.method,
            "path": request.url.raw_path.decode("ascii").partition("?")[0],
            "query": urlencode([(name, self._text(name, value)) for name, value in query]),
            "status": response.status_code,
            "body": self.redacted("body", _json(response.content)),
        }
        name = f"{next(self._numbers):05}-{request.extensions['operation']}.json"
        (self._folder / name).write_text(json.dumps(record, indent=1))

    def redacted(self, key: str, value: Any) -> Any:
        """Return a value with every text replaced that is not known to be harmless."""
        if isinstance(value, dict):
            return {name: self.redacted(name, inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.redacted(key, inner) for inner in value]
        return self._text(key, value) if isinstance(value, str) else value

    def _text(self, key: str, value: str) -> str:
        if key in _KEPT or not value:
            return value
        digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=4).hexdigest()
        return f"{key}-{digest}"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
