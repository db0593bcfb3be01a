"""
Strict reading of a YAML file: every fault with its line, and no key that is not known.

Scalars are read as exporter-toolkit's parser reads them: a user called ``no`` or ``1234`` is text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Reader = Callable[[yaml.Node], Any]

_NULL = "tag:yaml.org,2002:null"
_TRUE = ("true", "yes", "on", "y")
_INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)
_FALSE = ("false", "no", "off", "n")


class Faults:
    """What is wrong with a file, collected as ``name:line: path: sentence``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.found: list[str] = []

    def add(self, sentence: str, path: str = "", node: yaml.Node | None = None) -> None:
        """Note a fault of the value at a path."""
        line = f":{node.start_mark.line + 1}" if node is not None else ""
        self.found.append(f"{self._name}{line}: {path}: {sentence}" if path else f"{self._name}{line}: {sentence}")


def root(content: str, faults: Faults) -> yaml.Node | None:
    """Return the only document of a file, None when it is empty or no YAML."""
    try:
        node: yaml.Node | None = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        # The error's own text quotes the file, and with it perhaps a key.
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        faults.add(f"this is no YAML{line}: {error.problem}")
    except (yaml.YAMLError, RecursionError):
        faults.add("this is no YAML")
    else:
        return None if node is None or node.tag == _NULL else node
    return None


def section(node: yaml.Node | None, path: str, readers: Mapping[str, Reader], faults: Faults) -> dict[str, Any]:
    """Return the values of a mapping with closed keys; what is null is left out."""
    values: dict[str, Any] = {}
    for key, value, place in _entries(node, path, faults):
        reader = readers.get(key)
        if reader is None:
            faults.add(f"unknown key, accepted are {', '.join(readers)}", place, value)
            continue
        try:
            values[key] = reader(value)
        except ValueError as error:
            faults.add(str(error), place, value)
    return values


def texts_by_name(node: yaml.Node | None, path: str, faults: Faults) -> dict[str, str]:
    """Return the values of a mapping with free keys."""
    values = {}
    for key, value, place in _entries(node, path, faults):
        try:
            values[key] = text(value)
        except ValueError as error:
            faults.add(str(error), place, value)
    return values


def _entries(node: yaml.Node | None, path: str, faults: Faults) -> Iterator[tuple[str, yaml.Node, str]]:
    if node is None:
        return
    if not isinstance(node, yaml.MappingNode):
        faults.add("this must be a mapping of keys to values", path, node)
        return
    seen = set()
    for name, value in node.value:
        key = name.value if isinstance(name, yaml.ScalarNode) else ""
        place = f"{path}.{key}" if path else key
        if key in seen:
            faults.add("this key stands here twice", place, name)
        seen.add(key)
        if value.tag != _NULL:
            yield key, value, place


def node_itself(node: yaml.Node) -> yaml.Node:
    """Return a value unread: it is a section of its own."""
    return node


def text(node: yaml.Node) -> str:
    """Return a value as text."""
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("this must be text")  # noqa: TRY004  section() turns ValueError into a fault
    return str(node.value)


def texts(node: yaml.Node) -> tuple[str, ...]:
    """Return a list of texts."""
    if not isinstance(node, yaml.SequenceNode):
        raise ValueError("this must be a list of texts")  # noqa: TRY004  section() turns ValueError into a fault
    return tuple(text(item) for item in node.value)


def boolean(node: yaml.Node) -> bool:
    """Return a value as true or false."""
    word = text(node).lower()
    if word not in _TRUE + _FALSE:
        raise ValueError("this must be true or false")
    return word in _TRUE


def integer(node: yaml.Node) -> int:
    """Return a value as a whole number."""
    digits = text(node)
    if not _INTEGER.fullmatch(digits):
        raise ValueError("this must be a whole number")
    return int(digits)
