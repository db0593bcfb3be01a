"""PromQL as a real Prometheus parses it, held against what our code exposes."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import tools
import yaml

from exporter import families
from exporter.snapshot import Snapshot
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

RULES = sorted((tools.ROOT / "helm/coc-exporter/files/rules").glob("*.yaml"))

TARGET_LABELS = {"job", "instance", "pod"}
"""What Prometheus adds to each sample; a pod only where there are pods."""

_FOREIGN = {
    "up": TARGET_LABELS,
    "ALERTS": TARGET_LABELS | {"alertname", "alertstate", "severity", "account", "execute_uuid", "batch"},
}
_HISTOGRAM_PARTS = {"_bucket": {"le"}, "_count": set(), "_sum": set(), "": set()}


@dataclass(frozen=True)
class Family:
    """A family as our code exposes it: its type and the labels of its samples."""

    kind: str
    labels: frozenset[str]


@cache
def exposed() -> dict[str, Family]:
    """Return every sample name that the exporter can expose."""
    telemetry = Telemetry(process=True)
    made = [family(Snapshot(), families.Options()) for family in (*families.OF_TICKETS, *families.OF_ALL)]
    known: dict[str, Family] = {}
    for family in made:
        known |= _samples(family.name, family.type, family.labels)
    for collector in telemetry.registry._collector_to_names:
        if hasattr(collector, "_labelnames"):
            known |= _samples(collector._name, collector._type, collector._labelnames)
        else:
            for family in collector.collect():
                labels = {label for sample in family.samples for label in sample.labels}
                known |= _samples(family.name, family.type, labels)
    return known


def _samples(name: str, kind: str, labels: Iterable[str]) -> Iterator[tuple[str, Family]]:
    parts = _HISTOGRAM_PARTS if kind == "histogram" else {"_total" if kind == "counter" else "": set()}
    return ((name + part, Family(kind, frozenset({*labels, *own, *TARGET_LABELS}))) for part, own in parts.items())


class Prometheus:
    """A Prometheus that runs, for its parser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url)
        self._trees: dict[str, dict[str, Any]] = {}

    def parse(self, expression: str) -> dict[str, Any]:
        """Return the syntax tree of an expression."""
        if expression not in self._trees:
            answer = self.client.post("/api/v1/parse_query", data={"query": expression}).json()
            assert answer["status"] == "success", f"{answer['error']}\n{expression}"
            self._trees[expression] = answer["data"]
        return self._trees[expression]

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now."""
        answer = self.client.post("/api/v1/query", data={"query": expression}).json()
        assert answer["status"] == "success", f"{answer['error']}\n{expression}"
        return answer["data"]["result"]


@contextmanager
def prometheus(folder: Path, config: dict[str, Any] | None = None) -> Iterator[Prometheus]:
    """Run a Prometheus; without a config it scrapes nothing."""
    with tools.prometheus(folder, yaml.safe_dump(config or {})) as asking:
        tools.until(lambda: asking.get("status/buildinfo"), "Prometheus answers")
        server = Prometheus(asking.url)
        with server.client:
            yield server


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a syntax tree."""
    if isinstance(tree, dict):
        if "type" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


def bare(tree: dict[str, Any]) -> dict[str, Any]:
    """Return what stands between the parentheses."""
    return bare(tree["expr"]) if tree["type"] == "parenExpr" else tree


def selectors(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every selector of series."""
    return (node for node in nodes(tree) if node["type"] in {"vectorSelector", "matrixSelector"})


def metrics(tree: dict[str, Any]) -> set[str]:
    """Return the metric names that an expression selects."""
    named = {selector["name"] for selector in selectors(tree)}
    matched = {
        matcher["value"] for selector in selectors(tree) for matcher in selector["matchers"] if _is_name(matcher)
    }
    return {name for name in named | matched if name}


def _is_name(matcher: dict[str, str]) -> bool:
    return matcher["name"] == "__name__" and matcher["type"] == "="


def labels(tree: dict[str, Any]) -> set[str]:
    """Return the labels that an expression matches, groups or joins by; not those it drops."""
    found: set[str] = set()
    for node in nodes(tree):
        if node["type"] == "aggregation" and not node["without"]:
            found.update(node["grouping"])
        if node["type"] == "binaryExpr" and node["matching"]:
            matching = node["matching"]
            found.update(matching["include"])
            found.update(matching["labels"] if matching["on"] else ())
    found.update(matcher["name"] for selector in selectors(tree) for matcher in selector["matchers"])
    return found - {"__name__"}


def groups() -> list[dict[str, Any]]:
    """Return every group of rules."""
    return [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]


@cache
def recorded(server: Prometheus) -> dict[str, set[str]]:
    """Return the names of recording rules, with the labels that the series behind them can have."""
    known = exposed()
    made: dict[str, set[str]] = {}
    every = [rule for group in groups() for rule in group["rules"]]
    sources = {rule["record"]: metrics(server.parse(rule["expr"])) for rule in every if "record" in rule}

    def behind(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        if name in known:
            return set(known[name].labels)
        if name in seen:
            return set()
        return set().union(*(behind(source, seen | {name}) for source in sources[name]))

    for name in sources:
        made[name] = behind(name)
    return made


def unknown(server: Prometheus, expression: str) -> set[str]:
    """Return the metrics and labels of an expression that nothing exposes."""
    tree = server.parse(expression)
    allowed = {name: family.labels for name, family in exposed().items()} | recorded(server) | _FOREIGN
    used = metrics(tree)
    strange = {name for name in used if name not in allowed}
    spoken = set().union(*(allowed[name] for name in used - strange))
    return strange | (labels(tree) - spoken - _made_here(tree))


def _made_here(tree: dict[str, Any]) -> set[str]:
    """Return the labels that count_values and label_replace bring in."""
    counted = {node["param"]["val"] for node in nodes(tree) if node.get("op") == "count_values"}
    return counted | {
        node["args"][1]["val"]
        for node in nodes(tree)
        if node["type"] == "call" and node["func"]["name"] in {"label_replace", "label_join"}
    }


def seconds(duration: str) -> int:
    """Return the seconds of a Prometheus duration."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(int(number) * unit[name] for number, name in re.findall(r"(\d+)([smhd])", duration))
