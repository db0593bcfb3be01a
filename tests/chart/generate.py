"""
Write the chart's ``values.schema.json`` and the table in its ``README.md`` from the comments in its ``values.yaml``.

    python tests/chart/generate.py            write both
    python tests/chart/generate.py --check    write nothing; say what would change, and end with 1

Above a key, lines that begin with ``# --`` (and the comment lines after them) describe it, and a line that begins with
``# @schema`` is a JSON schema in YAML that is laid over what the default tells. A mapping with keys is closed; an empty
one is open unless its schema says otherwise. ``config: true`` takes the keys from the exporter's own config.
"""

from __future__ import annotations

import argparse
import json
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from exporter.config.model import Config, SecretSection, Section

CHART = Path(__file__).parents[2] / "helm/coc-exporter"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"


@dataclass
class Entry:
    """A key of values.yaml, with what is said of it."""

    path: str
    default: typing.Any
    text: str = ""
    schema: dict = field(default_factory=dict)
    children: dict[str, Entry] = field(default_factory=dict)


def entries(text: str) -> dict[str, Entry]:
    """Return the keys of values.yaml."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return _entries(root, "", text.splitlines(), yaml.safe_load(text))


def _entries(node: yaml.MappingNode, prefix: str, lines: list[str], values: dict) -> dict[str, Entry]:
    found = {}
    for key, value in node.value:
        entry = Entry(f"{prefix}{key.value}", values[key.value])
        entry.text, entry.schema = _comment(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            entry.children = _entries(value, f"{entry.path}.", lines, values[key.value])
        found[key.value] = entry
    return found


def _comment(lines: list[str], line: int) -> tuple[str, dict]:
    """Return the description and the schema that stand above a line."""
    words, schema = [], {}
    start = line
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    for comment in (lines[number].strip().removeprefix("#").strip() for number in range(start, line)):
        if comment.startswith("@schema"):
            schema = yaml.safe_load(comment.removeprefix("@schema"))
        elif comment.startswith("--"):
            words = [comment.removeprefix("--").strip()]
        elif words:
            words.append(comment)
    return " ".join(words), schema


_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def schema(found: dict[str, Entry]) -> dict:
    """Return the JSON schema of values.yaml."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of coc-exporter",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _schema(entry) for name, entry in found.items()},
    }


def _schema(entry: Entry) -> dict:
    if entry.schema.get("config"):
        return {"description": entry.text} | _section(Config)
    told: dict = {}
    if entry.text:
        told["description"] = entry.text
    if entry.default is not None and not ({"type", "enum"} & set(entry.schema)):
        told["type"] = _TYPES[type(entry.default)]
    if entry.children:
        told["additionalProperties"] = False
        told["properties"] = {name: _schema(child) for name, child in entry.children.items()}
    return told | entry.schema


def _section(model: type[Section]) -> dict:
    """Return the schema of a section of the exporter's config: its keys and no other; values are the exporter's."""
    secrets = model.secrets if issubclass(model, SecretSection) else ()
    properties: dict[str, dict] = {}
    for name, info in model.model_fields.items():
        if name in secrets:
            # A number or a word such as "yes" would be no secret: the exporter wants text in quotes.
            properties |= {f"{name}{way}": {"type": "string"} for way in ("", "_env", "_file")}
        else:
            properties[name] = _field(info.annotation)
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _field(annotation: object) -> dict:
    inner = _models(annotation)
    if not inner:
        return {"type": "array"} if typing.get_origin(annotation) is tuple else {}
    (model,) = inner
    told = _section(model)
    if typing.get_origin(annotation) is tuple:
        return {"type": "array", "items": told}
    # An empty section, such as "ecs_metadata:", is as good as "{}".
    return told | {"type": ["object", "null"]} if type(None) in typing.get_args(annotation) else told


def _models(annotation: object) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]


def table(found: dict[str, Entry]) -> str:
    """Return the table of values, a row for each key that is described."""
    rows = ["| key | default | description |", "|---|---|---|"]
    rows += [f"| `{entry.path}` | {_default(entry)} | {_cell(entry.text)} |" for entry in walk(found) if entry.text]
    return "\n".join(rows)


def walk(found: dict[str, Entry]) -> typing.Iterator[Entry]:
    """Yield every key with those below it, in their order."""
    for entry in found.values():
        described = any(child.text for child in walk(entry.children))
        if not described or entry.schema.get("config"):
            yield entry
        yield from walk(entry.children)


def _default(entry: Entry) -> str:
    if entry.schema.get("config"):
        return "see below"
    return f"`{_cell(json.dumps(entry.default))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def undescribed(found: dict[str, Entry]) -> list[str]:
    """Return the keys that nobody describes, neither themselves nor the mapping they stand in."""
    return [
        entry.path for entry in found.values() if not entry.text and (not entry.children or undescribed(entry.children))
    ]


def generated() -> dict[Path, str]:
    """Return what the files should hold."""
    found = entries((CHART / "values.yaml").read_text())
    readme = CHART / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    return {
        CHART / "values.schema.json": json.dumps(schema(found), indent=2) + "\n",
        readme: f"{before}{BEGIN}\n{table(found)}\n{END}{rest.split(END)[1]}",
    }


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 when something would change")
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.write_text(generated()[path])
        sys.stdout.write(f"{path.relative_to(CHART.parents[1])} {'is out of date' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
