"""
From a body to the shapes of ``wire``.

What is as documented takes msgspec's fast way. Anything else (an undocumented field, a wrong type, NaN, a lone
surrogate) takes the patient way, which keeps what can be used, refuses what cannot, and notes both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import inf
from types import UnionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Union, cast, get_args, get_origin

import msgspec

from exporter.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec.structs import FieldInfo

T = TypeVar("T", bound=msgspec.Struct)

_DIGITS = 40


class Notes(Protocol):
    """Where oddities of an answer are counted."""

    def dropped(self, reason: str, number: int = 1) -> None:
        """Count records or values that were refused."""

    def drifted(self, path: str) -> None:
        """Count a field that no page of the API tells of."""


class _UnusableError(Exception):
    """A value that is not of the documented kind."""


@cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(body: bytes, kind: type[T], operation: str, notes: Notes) -> T:
    """Return the answer in ``body``; raise Malformed when it is not JSON or lacks what it must hold."""
    try:
        return cast("T", _decoder(kind).decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _decode_patiently(body, kind, operation, notes)


def _decode_patiently(body: bytes, kind: type[T], operation: str, notes: Notes) -> T:
    try:
        raw = json.loads(body, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise Malformed(
            f"The answer to {operation} is not JSON: is the endpoint, or a proxy on the way, the right one?"
        ) from error
    try:
        return cast("T", _usable(raw, kind, operation, notes))
    except (_UnusableError, RecursionError) as error:
        raise Malformed(f"The answer to {operation} lacks {error}, which the API documents.") from error


def _integer(digits: str) -> float:
    # Python refuses to read integers of thousands of digits; no field holds more than 64 bits.
    return int(digits) if len(digits) <= _DIGITS else inf


def _usable(raw: Any, kind: Any, path: str, notes: Notes) -> Any:
    shape = _shape(kind)
    if raw is None and shape.optional:
        return None
    if shape.struct is not None:
        return _record(raw, shape.struct, path, notes)
    if shape.item is not None:
        return _records(raw, shape.item, path, notes)
    if shape.undecoded:
        # Of what is left undecoded, nothing but text is ever looked at.
        return msgspec.Raw(json.dumps(raw).encode() if isinstance(raw, str) else b"null")
    return _scalar(raw, kind, path)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What kind of value stands in a field: a record, a list of items, something undecoded, or else a scalar."""

    optional: bool
    struct: type[msgspec.Struct] | None
    item: Any
    undecoded: bool


@cache
def _shape(kind: Any) -> _Shape:
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    first = choices[0]
    struct = first if isinstance(first, type) and issubclass(first, msgspec.Struct) else None
    item = get_args(first)[0] if get_origin(first) is list else None
    return _Shape(type(None) in choices, struct, item, first is msgspec.Raw)


def _scalar(raw: Any, kind: Any, path: str) -> Any:
    try:
        value = msgspec.convert(raw, kind)
    except (msgspec.ValidationError, OverflowError, UnicodeError):
        raise _UnusableError(path) from None
    return without_surrogates(value) if isinstance(value, str) else value


@cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(kind)}


def _record(raw: Any, kind: type[msgspec.Struct], path: str, notes: Notes) -> msgspec.Struct:
    if not isinstance(raw, dict):
        raise _UnusableError(path)
    fields = _fields(kind)
    for name in raw.keys() - fields.keys():
        notes.drifted(f"{path}.{name}")
    values = {}
    for name, field in fields.items():
        if name not in raw and not field.required:
            continue
        try:
            values[name] = _usable(raw.get(name), field.type, f"{path}.{name}", notes)
        except _UnusableError:
            if field.required:
                raise
            notes.dropped("malformed_value")
    return kind(**values)


def _records(raw: Any, kind: Any, path: str, notes: Notes) -> list[Any]:
    if not isinstance(raw, list):
        raise _UnusableError(path)
    kept = []
    for item in raw:
        try:
            kept.append(_usable(item, kind, path, notes))
        except _UnusableError:
            if not getattr(kind, "spared", True):
                raise
            notes.dropped("malformed_record")
    return kept


def text(raw: msgspec.Raw) -> str:
    """Return the string that was left undecoded, ``""`` when it is null or no string."""
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _text_patiently(bytes(raw))


def _text_patiently(raw: bytes) -> str:
    try:
        value = json.loads(raw.decode(errors="replace"), parse_int=_integer)
    except (ValueError, RecursionError):
        return ""
    return without_surrogates(value) if isinstance(value, str) else ""


def without_surrogates(value: str) -> str:
    """Return the text with each lone surrogate replaced: one of them makes a whole exposition unwritable."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
