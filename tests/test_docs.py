"""The documentation tells what the code does."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest
import yaml
from tools import ROOT, tool

from exporter import families, simulator
from exporter.families import Options
from exporter.snapshot import AccountState, Batch, Instance, Reading, Snapshot, Ticket, Watch
from exporter.telemetry import DROP_REASONS, OPERATIONS, Telemetry, reasons

METRICS = (ROOT / "docs/metrics.md").read_text()
README = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| `(coc_[a-z_]+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)

TICKET = Ticket(
    "SCT",
    "ABNORMAL",
    batches=(Batch.of(1, 2, (Instance(1, "ABNORMAL", 1.0, 2.0, 1.0), Instance(2, "PROCESSING", 1.0))),),
)
FULL = Snapshot((AccountState("a", polled=1.0),), (Reading(Watch("a", "SCT"), TICKET, tried=1.0, last_success=1.0),))


def in_the_code():
    shown = [family(FULL, Options()) for family in (*families.OF_TICKETS, *families.OF_ALL)]
    told = {metric.name: (metric.type, metric.labels) for metric in shown}
    telemetry = Telemetry(process=False)
    for instrument in telemetry.registry._collector_to_names:
        told[instrument._name] = (instrument._type, instrument._labelnames)
    return {
        name + ("_total" if kind == "counter" else ""): (kind, set(labels)) for name, (kind, labels) in told.items()
    }


def test_metrics_page_lists_every_family_with_its_type_and_labels():
    told = {name: (kind, set(labels.replace(",", " ").split())) for name, kind, labels in ROW.findall(METRICS)}
    assert told == in_the_code()


def test_metrics_page_lists_every_reason_and_operation():
    table = METRICS.split("## Reasons")[1].split("## What means what")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {*reasons(), "internal"}
    assert all(f"`{operation}`" in METRICS for operation in OPERATIONS)
    assert all(f"`{reason}`" in METRICS for reason in DROP_REASONS)


@pytest.mark.parametrize("query", re.findall(r"```promql\n(.+?)\n```", METRICS, re.DOTALL))
def test_every_query_of_the_metrics_page_is_promql(query, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": [{"record": "a:b", "expr": query}]}]}))
    done = subprocess.run([tool("promtool"), "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_link_between_pages_leads_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / ".github").glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_test_that_a_page_calls_on_exists():
    pages = {page: (ROOT / "docs" / page).read_text() for page in ("threat-model.md", "reliability.md")}
    named = {call for text in pages.values() for call in re.findall(r"`(test_\w+(?:\.test_\w+)?)`", text)}
    assert len(named) > 40
    for module, _, title in (call.partition(".") for call in named):
        file = ROOT / "tests" / f"{module}.py"
        assert file.exists(), module
        assert not title or re.search(rf"^(?:async )?def {title}\(", file.read_text(), re.MULTILINE), (
            f"{module}.{title}"
        )


def test_every_promise_has_a_bound_and_a_test():
    table = (ROOT / "docs/reliability.md").read_text().split("## What is promised")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for promise, bound, proof in rows:
        assert bound.strip(), promise
        assert re.search(r"`test_\w+(\.test_\w+)?`", proof), promise


def test_the_readme_names_commands_that_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


ROOMS = {
    "snapshot": set(),
    "errors": set(),
    "clock": set(),
    "config": {"errors"},
    "telemetry": {"errors", ""},
    "auth": {"errors"},
    "api": {"auth", "snapshot", "telemetry", "errors", "clock", "config", ""},
    "sources": {"api", "config", "snapshot"},
    "families": {"snapshot"},
    "exposition": {"snapshot", "families", "telemetry", "clock"},
    "poller": {"sources", "api", "snapshot", "errors", "clock", "config", "telemetry"},
    "server": {"exposition", "errors", "telemetry", ""},
    "reasons": {"snapshot", "config"},
    "storage": {"snapshot", "errors"},
    "watchdog": {"telemetry", "clock"},
    "pages": {"snapshot"},
    "simulator": set(),
}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "exporter":
            names = [
                f"exporter.{alias.name}"
                if (ROOT / "exporter" / alias.name).exists() or (ROOT / "exporter" / f"{alias.name}.py").exists()
                else "exporter"
                for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (
            name.removeprefix("exporter").lstrip(".").split(".")[0]
            for name in names
            if name.split(".")[0] == "exporter"
        )


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_stands_before_it(room):
    home = ROOT / "exporter" / room
    files = home.rglob("*.py") if home.is_dir() else [home.with_suffix(".py")]
    seen = {other for path in files for other in imported_rooms(path)} - {room}
    assert seen <= ROOMS[room]


def test_nobody_but_the_command_line_imports_the_simulator():
    for path in (ROOT / "exporter").rglob("*.py"):
        if "cli" not in path.parts and "simulator" not in path.parts:
            assert "simulator" not in set(imported_rooms(path)), path


def test_the_simulators_default_world_is_documented_as_it_is():
    page = (ROOT / "docs/simulator.md").read_text()
    for switch in simulator.Switches.__dataclass_fields__:
        assert f"`{switch}`" in page or switch == "waves", switch
