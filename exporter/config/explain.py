"""The model's refusals in our own words: where it is in the file, what is wrong, what is accepted."""

import difflib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from exporter.config.faults import Loc, RefusedError, kind
from exporter.config.model import Config, SecretSection

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SIMPLE_KEY = re.compile("[A-Za-z0-9_.-]{1,40}")


def explained(error: ValidationError) -> Iterator[tuple[Loc, str]]:
    """Yield the place and the sentence of each refusal."""
    for details in error.errors(include_url=False):
        loc = details["loc"]
        # The model marks a refused name of a label by a step of its own.
        if loc[-1:] == ("[key]",) and details["type"] == "value_error":
            loc = loc[:-1]
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, RefusedError):
            yield (*loc[:-1], cause.key) if cause.key else loc, str(cause)
        else:
            yield loc, _sentence(loc, details)


def _sentence(loc: Loc, details: "ErrorDetails") -> str:
    match details["type"]:
        case "missing":
            return _missing(loc)
        case "extra_forbidden":
            return _unknown(loc)
        case "tuple_type":
            return f"is {kind(details['input'])}, accepted is a list"
        case "too_long":
            return f"has too many items, accepted are at most {details['ctx']['max_length']}"
    return f"is {kind(details['input'])}, accepted is a mapping{_of(loc)}"


def _missing(loc: Loc) -> str:
    ways = [way for way in _ways(str(loc[-1])) if way in known_keys(loc[:-1])]
    return (
        f"is missing, accepted is exactly one of {', '.join(ways)}"
        if len(ways) > 1
        else "is missing, and has no default"
    )


def _unknown(loc: Loc) -> str:
    keys = known_keys(loc[:-1])
    near = difflib.get_close_matches(str(loc[-1])[:60], keys, 1)
    return f"is no known key, accepted is {near[0]}" if near else f"is no known key, accepted are {', '.join(keys)}"


def _of(loc: Loc) -> str:
    keys = known_keys(loc)
    return f" with {', '.join(keys)}" if keys else ""


def known_keys(loc: Loc) -> list[str]:
    """Return the keys that the file may have at this place; none where it names its own."""
    section: type[BaseModel] | None = Config
    for step in loc:
        if isinstance(step, str):
            found = section.model_fields.get(step) if section else None
            section = _section(found.annotation) if found else None
    if section is None:
        return []
    secrets = section.secrets if issubclass(section, SecretSection) else ()
    return [key for name in section.model_fields for key in (_ways(name) if name in secrets else (name,))]


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)


def _ways(name: str) -> tuple[str, str, str]:
    return name, f"{name}_env", f"{name}_file"


def path(loc: Loc) -> str:
    """Return the place as ``accounts[0].auth.token``; a key that may be a misplaced secret is left out."""
    text = ""
    for depth, step in enumerate(loc):
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f"{'.' if text else ''}{_key(loc[:depth], step)}"
    return text


def _key(around: Loc, key: str) -> str:
    if not _SIMPLE_KEY.fullmatch(key):
        return "?"
    near = difflib.get_close_matches(key, known_keys(around), 1)
    # "token: {abc}" makes a key of what was meant as the token.
    return key if "auth" not in around or near else "?"
