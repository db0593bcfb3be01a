"""
Write the dashboards that the chart ships: ``python tests/dashboards/generate.py [FOLDER]``.

The JSON is committed; the same program and the same library write the same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import overview
import process
import ticket
from grafana_foundation_sdk.cog.encoder import JSONEncoder

if TYPE_CHECKING:
    from types import ModuleType

SHIPPED = Path(__file__).parents[2] / "helm/coc-exporter/files/dashboards"
DASHBOARDS = (overview, ticket, process)


def content(source: ModuleType) -> str:
    """Return a dashboard as Grafana reads it."""
    made: dict[str, Any] = json.loads(JSONEncoder().encode(source.build().build()))
    made["annotations"] = {"list": source.annotations()}
    return json.dumps(made, indent=2, sort_keys=True) + "\n"


def main(arguments: list[str]) -> None:
    """Write every dashboard into the folder."""
    folder = Path(arguments[0]) if arguments else SHIPPED
    folder.mkdir(parents=True, exist_ok=True)
    for source in DASHBOARDS:
        (folder / f"{source.UID}.json").write_text(content(source), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
