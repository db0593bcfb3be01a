"""What comes in and what goes out: one request, one answer, and the refusals of gateway, COC and IAM."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from exporter.simulator.model import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire; header names in lower case."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @cached_property
    def segments(self) -> list[str]:
        """Return the path's parts, decoded one by one so that an encoded slash stays inside its part."""
        return [unquote(part) for part in self.raw_path.strip("/").split("/")]

    @cached_property
    def query(self) -> dict[str, str]:
        """Return the query; of a repeated name the last value."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """An answer before ``Date`` and request id are put on; ``cut`` hangs up in the middle of it."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, body: dict[str, object], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}

    def answer(self, request_id: str) -> Answer:
        """Return the answer; gateway errors carry the request id in the body too."""
        body = {name: request_id if name == "request_id" else value for name, value in self.body.items()}
        return Answer(dumps(body), self.status, headers=self.headers)


def gateway(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> Refused:
    """Return a refusal of the API gateway, such as 401 ``APIGW.0301``."""
    body: dict[str, object] = {"error_msg": text, "error_code": code, "request_id": None}
    return Refused(status, body, headers)


def unauthorized(text: str) -> Refused:
    """Return the gateway's one answer to every failed sign-in; only the text differs."""
    return gateway(401, "APIGW.0301", f"Incorrect IAM authentication information: {text}")


def coc(code: str, text: str, status: int = 400) -> Refused:
    """Return a refusal of the COC service, which uses 400 for nearly everything."""
    return Refused(status, {"error_code": code, "error_msg": text})


def iam(code: int, title: str, text: str) -> Refused:
    """Return a refusal of IAM; its code is an integer."""
    return Refused(code, {"error": {"code": code, "message": text, "title": title}})


def invalid(text: str) -> Refused:
    """Return COC's generic refusal of a parameter (a guess: the API documents none)."""
    return coc("COC.00010002", f"Invalid parameter: {text}")


def missing(text: str) -> Refused:
    """Return "not found", which is 400 here (known from the official Terraform provider)."""
    return coc("COC.00040709", f"{text} does not exist")
