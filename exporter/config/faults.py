"""What is wrong with a config file, and where."""

import re
from dataclasses import dataclass

from exporter.errors import ExporterError

Loc = tuple[str | int, ...]
"""The way to a value of the document: keys of mappings, indexes of lists."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; ``line`` counts from 1 and is 0 when the fault is the file's as a whole."""

    line: int
    path: str
    message: str

    def text(self, name: str) -> str:
        """Return the fault as a line of its own, for the file of this name."""
        place = f"{name}:{self.line}" if self.line else name
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(ExporterError):
    """All faults of a config file, in the order of its lines."""

    names_its_place = True

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        self.name = name
        self.faults = tuple(sorted(faults, key=_order))
        super().__init__("\n".join(fault.text(name) for fault in self.faults))


def _order(fault: Fault) -> tuple[int, list[tuple[int, str]], str]:
    # accounts[2] stands before accounts[10].
    parts = [(int(part) if part.isdecimal() else 0, part) for part in re.split("([0-9]{1,9})", fault.path)]
    return fault.line, parts, fault.message


class RefusedError(ValueError):
    """
    A value that is not accepted; its text is shown to the user, so it never holds the value of a text.

    ``key`` is the key in the file, where that is not the name of the field.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


def kind(value: object) -> str:
    """Say what a value is without saying the value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return next((word for types, word in _KINDS if isinstance(value, types)), "something else")


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "empty"),
    ((int, float), "a number"),
    (str, "text"),
    (dict, "a mapping"),
    ((list, tuple), "a list"),
)
