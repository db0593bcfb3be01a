"""
Kinds of values, each with its range and the sentence that says what is accepted.

The validators are our own: a library's message quotes its input, and ours must never quote what may be a secret.
"""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from exporter.config import durations
from exporter.config.faults import RefusedError, kind
from exporter.config.secret import MASK, FileSecret, Secret, clean

PatternCheck = Callable[[str], str | None]
"""Say what is wrong with a failure pattern, or None."""


@dataclass(frozen=True)
class Surroundings:
    """What a text means beyond itself: its file, the folder its paths start at, and the environment."""

    folder: Path = field(default_factory=Path)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    check_pattern: PatternCheck = lambda _pattern: None
    file: Path | None = None


def surroundings(info: ValidationInfo) -> Surroundings:
    """Return the surroundings that the load was given."""
    return info.context if isinstance(info.context, Surroundings) else Surroundings()


@dataclass(frozen=True)
class Ways:
    """The keys ``x``, ``x_env`` and ``x_file`` of a secret ``x``, as far as they are given."""

    name: str
    given: Mapping[str, object] = field(repr=False)


def whole(low: int, high: int) -> PlainValidator:
    """Accept a whole number in this range."""

    def check(value: object) -> int:
        if type(value) is not int:
            raise RefusedError(f"is {kind(value)}, accepted is a whole number from {low} to {high}")
        if not low <= value <= high:
            raise RefusedError(f"is {_figure(value)}, accepted is a whole number from {low} to {high}")
        return value

    return PlainValidator(check)


def number(high: int) -> PlainValidator:
    """Accept a number above 0, up to ``high``."""

    def check(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise RefusedError(f"is {kind(value)}, accepted is a number above 0, at most {high}")
        if not 0 < value <= high:
            raise RefusedError(f"is {_figure(value)}, accepted is a number above 0, at most {high}")
        return float(value)

    return PlainValidator(check)


def duration(low: str, high: str) -> PlainValidator:
    """Accept a Prometheus duration in this range."""
    least, most = durations.seconds(low) or 0.0, durations.seconds(high) or math.inf
    accepted = f"accepted is a duration from {low} to {high}, such as 90s or 1h30m"

    def check(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and value != 0:
            raise RefusedError(f"is a number without a unit, {accepted}")
        # As in Prometheus, nothing but 0 needs no unit.
        parsed = durations.seconds(value) if isinstance(value, str) else 0.0 if kind(value) == "a number" else None
        if parsed is None:
            sort = "no duration" if isinstance(value, str) else kind(value)
            raise RefusedError(f"is {sort}, {accepted}")
        if not least <= parsed <= most:
            raise RefusedError(f"is {durations.written(parsed)}, {accepted}")
        return parsed

    return PlainValidator(check)


def flag(value: object) -> bool:
    """Accept true and false."""
    if isinstance(value, bool):
        return value
    raise RefusedError(f"is {kind(value)}, accepted is true or false")


def text(pattern: str, accepted: str) -> PlainValidator:
    """Accept text that the pattern matches whole."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        checked = plain_text(value, accepted)
        if compiled.fullmatch(checked) is None:
            raise RefusedError(f"does not fit, accepted is {accepted}")
        return checked

    return PlainValidator(check)


def plain_text(value: object, accepted: str) -> str:
    """Return the value if it is text."""
    if isinstance(value, str):
        return value
    hint = "; put it in quotes" if isinstance(value, bool | int | float) else ""
    raise RefusedError(f"is {kind(value)}, accepted is {accepted}{hint}")


def choice(*values: str) -> PlainValidator:
    """Accept one of these words."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in values:
            return value
        raise RefusedError(f"does not fit, accepted is one of {', '.join(values)}")

    return PlainValidator(check)


def regex(value: object) -> str:
    """Accept a regular expression of Python's ``re``."""
    checked = plain_text(value, _REGEX)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(checked)
    except (re.error, OverflowError, RecursionError) as error:
        raise RefusedError(f"is no regular expression ({_short(error)}), accepted is {_REGEX}") from None
    return checked


def reason(value: object) -> str:
    """Accept the name of a failure reason."""
    accepted = "at most 40 of a-z, 0-9 and _, beginning with a letter, and not other"
    checked = plain_text(value, accepted)
    if checked == "other":
        raise RefusedError("is reserved for failures that no pattern explains, accepted is another name")
    if re.fullmatch("[a-z][a-z0-9_]{0,39}", checked) is None:
        raise RefusedError(f"does not fit, accepted is {accepted}")
    return checked


def failure_pattern(value: object, info: ValidationInfo) -> str:
    """Accept a failure pattern; whether it compiles is for the room that matches it to say."""
    checked = plain_text(value, _PATTERN)
    if not 1 <= len(checked) <= _MAX_PATTERN:
        raise RefusedError(f"has {len(checked)} characters, accepted is {_PATTERN}")
    wrong = surroundings(info).check_pattern(checked)
    if wrong is not None:
        raise RefusedError(wrong)
    return checked


def file_path(value: object, info: ValidationInfo) -> Path:
    """Accept the path of a file that exists, relative to the config file's folder."""
    if isinstance(value, Path):
        return value
    checked = plain_text(value, "the path of a file")
    path = surroundings(info).folder / checked
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        raise RefusedError(f"is not the path of a file, accepted is {_PATH}")
    return path


def secret(value: object, info: ValidationInfo) -> Secret:
    """Accept a secret that is given in exactly one way and can be read now."""
    if isinstance(value, Secret):
        return value
    ways = value if isinstance(value, Ways) else Ways("", {"": value})
    if len(ways.given) != 1:
        accepted = f"exactly one of {', '.join(ways.name + way for way in _WAYS)}"
        raise RefusedError(f"is one way too many, accepted is {accepted}", list(ways.given)[-1])
    ((key, content),) = ways.given.items()
    try:
        return _secret(key.removeprefix(ways.name), content, surroundings(info))
    except RefusedError as error:
        raise RefusedError(str(error), key) from None


def _secret(way: str, content: object, around: Surroundings) -> Secret:
    if isinstance(content, Secret):
        return content
    if not isinstance(content, str):
        hint = "; put it in quotes" if isinstance(content, bool | int | float) else ""
        # Not even true or false is repeated here: it may be what somebody chose.
        sort = "empty" if content is None else "not text"
        raise RefusedError(f"is {sort}, accepted is {_WAYS[way]}{hint}")
    return _READERS[way](content, around)


def _from_file(content: str, around: Surroundings) -> Secret:
    try:
        return FileSecret(around.folder / content)
    except RefusedError as error:
        raise RefusedError(f"names a file that {error}, accepted is {_PATH}") from None


def _from_variable(content: str, around: Surroundings) -> Secret:
    found = around.environ.get(content)
    try:
        return Secret(clean((found or "").encode(errors="replace")))
    except RefusedError:
        state = "is not set" if found is None else "is empty"
        raise RefusedError(f"names a variable that {state}, accepted is {_WAYS['_env']}") from None


def _from_value(content: str, around: Surroundings) -> Secret:
    if not content.strip():
        raise RefusedError(f"is empty, accepted is {_WAYS['']}")
    return Secret(content, around.file)


def _figure(value: float) -> str:
    """Return the number, unless it is so long that it would fill the screen."""
    try:
        shown = str(value)
    except ValueError:
        shown = ""
    return shown if 0 < len(shown) <= _LONGEST_FIGURE else "a number of many digits"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80]


_LONGEST_FIGURE = 20
_MAX_PATTERN = 1000
_REGEX = "a regular expression of Python's re"
_PATTERN = f"a regular expression of 1 to {_MAX_PATTERN} characters"
_PATH = "the path of a readable file, absolute or from the config file's folder"
_WAYS = {"": "text", "_env": "the name of an environment variable that holds the secret", "_file": _PATH}
_READERS: Mapping[str, Callable[[str, Surroundings], Secret]] = {
    "": _from_value,
    "_env": _from_variable,
    "_file": _from_file,
}

AS_DURATION = PlainSerializer(durations.written)
AS_NUMBER = PlainSerializer(lambda value: int(value) if value == int(value) else value)
AS_MASK = PlainSerializer(lambda _secret: MASK)
