"""What was measured, as a table for people and JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_MiB = 1024 * 1024


@dataclass
class Row:
    """
    One figure beside its goal.

    ``goal`` is a bound with its direction, ``at most`` or ``at least``; None where there is nothing to reach.
    """

    what: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Tell whether the goal is met."""
        if self.goal is None:
            return ""
        met = self.value >= self.goal if self.at_least else self.value <= self.goal
        return "met" if met else "MISSED"

    @property
    def bound(self) -> str:
        """Tell the goal."""
        return "" if self.goal is None else f"{'>=' if self.at_least else '<='} {shown(self.goal)}"


@dataclass
class Section:
    """The rows of one comparison, and whatever else it measured."""

    title: str
    rows: list[Row] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)


def shown(value: float) -> str:
    """Return a number with three figures that matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def mebibytes(size: float) -> float:
    """Return bytes as MiB."""
    return size / _MiB


def table(section: Section) -> str:
    """Return the section as a Markdown table."""
    lines = [f"### {section.title}", "", "| what | value | goal | |", "|---|---:|---:|---|"]
    for row in section.rows:
        said = " ".join(part for part in (row.verdict, f"({row.note})" if row.note else "") if part)
        lines.append(f"| {row.what} | {shown(row.value)} {row.unit} | {row.bound} | {said} |")
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """Describe where this was measured."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in facts if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": round(mebibytes(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1m": os.getloadavg()[0],
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


_PACKAGES = (
    "aiohttp",
    "httpx",
    "httptools",
    "msgspec",
    "prometheus-client",
    "starlette",
    "uvicorn",
    "huaweicloudsdkcoc",
)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def written(sections: list[Section], file: Path) -> None:
    """Write everything as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    told = [asdict(section) | {"verdicts": [row.verdict for row in section.rows]} for section in sections]
    file.write_text(json.dumps({"machine": machine(), "sections": told}, indent=1) + "\n")
