"""YAML text to plain values, with the line of each, so that a fault found later can say where it stands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from exporter.config.faults import Loc

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
# A date is text to us, whatever YAML thinks.
_TEXT = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "value"))
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_MERGE = "tag:yaml.org,2002:merge"
_MAX_DEPTH = 20
_MAX_NODES = 500_000


class NotYamlError(Exception):
    """The text cannot be read as one YAML document; ``line`` counts from 1, 0 when unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Document:
    """The values, their lines, what is wrong with the text itself, and which values could not be read."""

    data: object = None
    lines: dict[Loc, int] = field(default_factory=dict)
    complaints: list[tuple[Loc, int, str]] = field(default_factory=list)
    unread: set[Loc] = field(default_factory=set)

    def line(self, loc: Loc) -> int:
        """Return the line of the value, or of the nearest one around it."""
        while loc not in self.lines and loc:
            loc = loc[:-1]
        return self.lines.get(loc, 1)


def read(text: str) -> Document:
    """Read one YAML document; raise NotYamlError when there is none."""
    try:
        root = yaml.compose(text, Loader=_Loader)
        reader = _Reader()
        if root is not None:
            reader.document.data = reader.value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYamlError(_problem(error.problem), mark.line + 1 if mark else 0) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 0
        raise NotYamlError("a control character is not allowed", line) from None
    except UnicodeError:
        raise NotYamlError("a character is no valid Unicode") from None
    except (yaml.YAMLError, RecursionError):
        raise NotYamlError("it is nested too deeply") from None
    return reader.document


def _problem(problem: str | None) -> str:
    # What the parser quotes may be a secret that was not put in quotes.
    words = re.sub(r"['\"].{2,}['\"]", "", problem or "it cannot be parsed")
    return _CLEARER.get(problem or "", " ".join(words.split()))


_CLEARER = {
    "but found another document": "it holds more than one document",
    "found character that cannot start any token": (
        "nothing begins with this character; tabs do not indent, and text that begins with @, % or ` needs quotes"
    ),
}


class _Reader:
    def __init__(self) -> None:
        self.document = Document()
        self._constructor = yaml.constructor.SafeConstructor()
        self._nodes = 0

    def value(self, node: yaml.Node, loc: Loc) -> object:
        self.document.lines.setdefault(loc, node.start_mark.line + 1)
        self._count()
        if len(loc) > _MAX_DEPTH:
            raise NotYamlError("it is nested too deeply", node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, loc)

    def _count(self) -> None:
        # A few lines of aliases to aliases unfold to billions of values.
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise NotYamlError(f"it unfolds to more than {_MAX_NODES:,} values")

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, object]:
        chosen: dict[str, tuple[int, yaml.Node]] = {}
        for key, line, value in self._inherited(node):
            chosen.setdefault(key, (line, value))
        own: dict[str, int] = {}
        for key, line, value in self._own(node, loc):
            if key in own:
                self._complain((*loc, key), line, f"is given twice, first in line {own[key]}")
                continue
            own[key] = line
            chosen[key] = (line, value)
        return {key: self._entry(value, (*loc, key), line) for key, (line, value) in chosen.items()}

    def _entry(self, node: yaml.Node, loc: Loc, line: int) -> object:
        self.document.lines[loc] = line
        return self.value(node, loc)

    def _own(self, node: yaml.MappingNode, loc: Loc) -> Iterator[tuple[str, int, yaml.Node]]:
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._complain(loc, line, "has a key that is no text, accepted are plain words as keys")
            elif key.tag != _MERGE:
                yield key.value, line, value

    def _inherited(self, node: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node]]:
        """Yield the entries of mappings that are merged in by ``<<``."""
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from self._merged(merged)

    def _merged(self, node: yaml.Node) -> Iterator[tuple[str, int, yaml.Node]]:
        self._count()
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            self._complain((), line, "<< merges what is no mapping, accepted is an alias of a mapping")
            return
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                yield key.value, key.start_mark.line + 1, value
        yield from self._inherited(node)

    def _scalar(self, node: yaml.Node, loc: Loc) -> object:
        if isinstance(node, yaml.ScalarNode) and node.tag in _TEXT:
            return str(node.value)
        try:
            if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN:
                return self._constructor.construct_object(node)
            wrong = "has a YAML tag, accepted are plain values; text that begins with ! needs quotes"
        except (ValueError, OverflowError, KeyError, IndexError):
            wrong = "cannot be read as a number or truth value; text needs quotes"
        self._complain(loc, node.start_mark.line + 1, wrong)
        self.document.unread.add(loc)
        return None

    def _complain(self, loc: Loc, line: int, message: str) -> None:
        self.document.complaints.append((loc, line, message))
