"""The shipped dashboards: made by the committed program, drawn by the rules of dashboard-linter, and never empty."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time

import httpx
import pytest
import tools
from rules import promql

FOLDER = tools.ROOT / "helm/coc-exporter/files/dashboards"
GENERATOR = tools.ROOT / "tests/dashboards/generate.py"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(uid, panel, id=f"{uid}: {panel['title']}")
    for uid, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
TARGETS = [
    pytest.param(uid, panel, target, id=f"{uid}: {panel['title']}, {target['refId']}")
    for uid, panel in (param.values for param in PANELS)
    for target in panel["targets"]
]

# The rules of dashboard-linter that are not kept, each with its reason.
COUNTERS_WITHOUT_RATE = {
    "coc_instance_failures_total": "a reason appears with its first failure, which rate() does not see",
    "coc_instance_execution_duration_seconds_bucket": "a ticket's histogram begins with the ticket",
    "coc_instance_execution_duration_seconds": "likewise",
}
WITHOUT_INSTANCE = ":"
"""Recorded series of a ticket are one wherever the ticket is read: their names have colons, and no instance."""

EMPTY_IN_THE_DEMO = {
    "Token lasts for, A": "the demo signs its requests with a permanent key",
    "Failed readings by reason, A": "a request that failed is sent again, and then succeeds",
    "Clock and pauses, B": "the demo's API is up, so nothing is paused",
    "Refused records and undocumented fields, B": "drift counts from the first undocumented field on",
    "Median duration, and before, B": "the tickets of a script are weighed every five minutes",
    "Failure share, and before, B": "likewise",
}

STATUSES = {
    "READY": "#999999",
    "PROCESSING": "#0072B2",
    "ABNORMAL": "#D55E00",
    "CANCELED": "#CC79A7",
    "FINISHED": "#009E73",
    "ROLLBACKED": "#E69F00",
    "PAUSED": "#F0E442",
}


@pytest.fixture(params=BOARDS)
def board(request):
    return BOARDS[request.param]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with promql.prometheus(tmp_path_factory.mktemp("parser")) as server:
        yield server


def filled(expression):
    """Return an expression with every variable replaced, as Grafana does before it asks."""
    values = {"__rate_interval": "30s", "window_hours": "4"}
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1], ".+"), expression)


def variables(board):
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def test_there_are_three():
    titles = {uid: board["title"] for uid, board in BOARDS.items()}
    assert titles == {"coc-overview": "COC overview", "coc-ticket": "COC ticket", "coc-exporter": "COC exporter"}


def test_the_committed_files_are_what_the_program_writes(tmp_path):
    if importlib.util.find_spec("grafana_foundation_sdk") is None:
        tools.missing("grafana-foundation-sdk is not installed")
    for folder in ("first", "second"):
        # Another seed: nothing may depend on the order of a set.
        environment = os.environ | {"PYTHONHASHSEED": str(len(folder))}
        subprocess.run([sys.executable, GENERATOR, tmp_path / folder], check=True, env=environment)
        written = {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        assert written == {path.name: path.read_bytes() for path in FOLDER.iterdir()}


def test_identity_and_manners(board):
    assert board["uid"] in BOARDS
    assert board.get("id") is None
    assert "__inputs" not in board
    assert board["editable"] is False
    assert board["graphTooltip"] == 1, "the cursor is shared"
    assert "coc-exporter-mixin" in board["tags"]
    assert board["schemaVersion"] <= 38, "what Grafana 10 writes"
    assert promql.seconds(board["refresh"]) >= 30, "no more often than polls"
    assert board["description"]


def test_links_keep_variables_and_time(board):
    for link in board["links"]:
        assert link["includeVars"]
        assert link["keepTime"]


def test_one_data_source(board):
    sources = [variable for variable in variables(board).values() if variable["type"] == "datasource"]
    assert [(source["name"], source["label"], source["query"]) for source in sources] == [
        ("datasource", "Data Source", "prometheus")
    ]
    assert variables(board)["datasource"] == board["templating"]["list"][0]


def test_variables(board):
    expected = ["datasource", "job", "instance", "account"]
    assert list(variables(board))[:4] == expected
    assert ("execute_uuid" in variables(board)) == (board["uid"] != "coc-exporter")
    for name in ("job", "instance"):
        variable = variables(board)[name]
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["label"] == name.capitalize()


def test_queries_of_variables(board, prometheus):
    for variable in variables(board).values():
        if variable["type"] != "query":
            continue
        assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert variable["refresh"] == 2, "on time range change"
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)|query_result\((.*)\)", variable["query"])
        assert promql.unknown(prometheus, filled(asked[1] or asked[3])) == set()


def test_tickets_are_chosen_by_name():
    """Grafana shows the group ``text`` and uses the group ``value``."""
    for uid in ("coc-overview", "coc-ticket"):
        variable = variables(BOARDS[uid])["execute_uuid"]
        pattern = variable["regex"].removeprefix("/").removesuffix("/g").replace("?<", "?P<")
        row = '{execute_uuid="SCT1", name="nightly", shown="nightly SCT1"} 1 1767225600000'
        found = [match.groupdict() for match in re.finditer(pattern, row)]
        assert {name: text for groups in found for name, text in groups.items() if text} == {
            "text": "nightly SCT1",
            "value": "SCT1",
        }


def test_annotations_are_off_and_ask_for_what_exists(board, prometheus):
    listed = board["annotations"]["list"]
    assert "Alerts" in [annotation["name"] for annotation in listed]
    assert "Exporter starts" in [annotation["name"] for annotation in listed]
    for annotation in listed:
        assert annotation["enable"] is False
        assert promql.unknown(prometheus, filled(annotation["expr"])) == set()


@pytest.mark.parametrize(("uid", "panel"), PANELS)
def test_panels_have_all_they_need(uid, panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert uid in BOARDS


@pytest.mark.parametrize(("uid", "panel", "target"), TARGETS)
def test_targets(uid, panel, target, prometheus):
    assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert promql.unknown(prometheus, filled(target["expr"])) == set()
    for selector in promql.selectors(prometheus.parse(filled(target["expr"]))):
        matched = {matcher["name"] for matcher in selector["matchers"]}
        needed = {"job"} if WITHOUT_INSTANCE in selector["name"] else {"job", "instance"}
        assert needed <= matched, f"{uid}: {panel['title']}"


@pytest.mark.parametrize(("uid", "panel", "target"), TARGETS)
def test_counters_are_rated_over_the_interval(uid, panel, target, prometheus):
    expr = target["expr"]
    assert expr.count("[") == expr.count("[$__rate_interval]"), f"{uid}: {panel['title']}"
    tree = prometheus.parse(filled(expr))
    rated = [
        selector["name"]
        for node in promql.nodes(tree)
        if node["type"] == "call" and node["func"]["name"] in {"rate", "increase"}
        for selector in promql.selectors(node)
    ]
    known = promql.exposed()
    for selector in promql.selectors(tree):
        name = selector["name"]
        if name in known and known[name].kind in {"counter", "histogram"} and name not in rated:
            assert name in COUNTERS_WITHOUT_RATE
    assert all(known[name].kind in {"counter", "histogram"} for name in rated)


def test_statuses_have_fixed_colours():
    drawn = [panel for _, panel in (param.values for param in PANELS) if "{{status}}" in json.dumps(panel["targets"])]
    assert len(drawn) == 4
    for panel in drawn:
        fixed = {
            override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
            for override in panel["fieldConfig"]["overrides"]
        }
        assert fixed == STATUSES


def test_no_more_than_five_panels_side_by_side(board):
    rows = {}
    for panel in board["panels"]:
        if panel["type"] not in {"row", "stat"}:
            rows.setdefault(panel["gridPos"]["y"], []).append(panel["title"])
    assert max(len(row) for row in rows.values()) <= 5


def test_panels_do_not_overlap(board):
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_thresholds_are_those_of_the_alerts():
    alerts = {rule["alert"]: rule["expr"] for group in promql.groups() for rule in group["rules"] if "alert" in rule}
    limits = {
        ("coc-overview", "Age of data"): ("CocDataStale", 30),
        ("coc-overview", "Oldest data"): ("CocDataStale", 30),
        ("coc-ticket", "Failure share, and before"): ("CocAbnormalShareHigh", 1),
        ("coc-exporter", "Throttled share"): ("CocThrottled", 1),
        ("coc-exporter", "Token lasts for"): ("CocTokenNearExpiry", 1),
        ("coc-exporter", "Since the last poll"): ("CocPollsStopped", 30),
    }
    panels = {(uid, panel["title"]): panel for uid, panel in (param.values for param in PANELS)}
    for place, (alert, factor) in limits.items():
        steps = panels[place]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[1]["value"] == float(re.search(r"([\d.]+) # threshold", alerts[alert])[1]) * factor, place


def test_every_alert_that_a_panel_names_exists():
    alerts = {rule.get("alert") for group in promql.groups() for rule in group["rules"]}
    for _, panel in (param.values for param in PANELS):
        assert set(re.findall(r"\bCoc[A-Z]\w+", panel["description"])) <= alerts


def test_durations_are_heatmaps_with_exemplars():
    maps = [panel for _, panel in (param.values for param in PANELS) if panel["type"] == "heatmap"]
    assert len(maps) == 2
    for panel in maps:
        assert all(target["exemplar"] for target in panel["targets"])
        assert panel["options"]["yAxis"]["unit"] == "s"


def test_tickets_that_are_not_over_come_first():
    table = next(panel for _, panel in (param.values for param in PANELS) if panel["title"] == "State of all tickets")
    kinds = {step["id"]: step["options"] for step in table["transformations"]}
    assert list(kinds) == ["merge", "sortBy", "organize"]
    assert kinds["sortBy"]["sort"] == [{"field": "Value #I", "desc": False}]
    assert kinds["organize"]["excludeByName"]["Value #I"]
    place = next(target["expr"] for target in table["targets"] if target["refId"] == "I")
    assert re.search(r"1e6 \* .*ticket:coc_ticket_ended:max.* - on .*ABNORMAL", place)


def test_the_sdk_reads_back_what_it_wrote(board):
    """Every field of the files is one that Grafana's own types have; those of annotations are written by hand."""
    model = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    plain = json.loads(json.dumps({name: value for name, value in board.items() if name != "annotations"}))
    again = json.loads(encoder.JSONEncoder().encode(model.Dashboard.from_json(plain)))
    assert list(lost(plain, again)) == []
    plain["panels"][1]["fieldConfig"]["defaults"]["notOfGrafana"] = 1
    assert list(lost(plain, json.loads(encoder.JSONEncoder().encode(model.Dashboard.from_json(plain))))) != []


def lost(before, after, path=""):
    """Yield the places at which ``after`` lacks what ``before`` has; defaults that came in are no loss."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after.get(name), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, value in enumerate(before):
            yield from lost(value, after[place], f"{path}[{place}]")
    elif before != after:
        yield path


def test_hosts_lead_to_the_exporters_page_and_to_the_console():
    table = next(panel for _, panel in (param.values for param in PANELS) if panel["title"] == "Hosts that failed")
    urls = re.findall(r'"url": "([^"]*)"', json.dumps(table["fieldConfig"]))
    assert "${exporter_url}/tickets/${__data.fields.account}/${__data.fields.execute_uuid}" in urls
    assert "${console_url}" in urls


def test_the_list_of_dashboards_is_complete():
    text = (tools.ROOT / "docs/dashboards.md").read_text()
    words = re.sub(r"\s+", " ", text)
    for board in BOARDS.values():
        assert f"## {board['title']}\n" in text
        for panel in board["panels"]:
            assert panel["type"] == "row" or panel["title"] in words, panel["title"]


# A real Prometheus that scrapes the demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A Prometheus that scrapes the demo and has calculated every rule a few times."""
    folder = tmp_path_factory.mktemp("demo")
    program = tools.exporter("serve", "--demo", "--web.listen-address=127.0.0.1:0")
    with tools.running(program, folder / "demo.log") as process:
        address = tools.listening(process).removeprefix("http://")
        # Every fifth request fails, so that there are retries to be seen.
        played = process.find(r"COC API, played: +(http://[\d.:]+)")[1]
        httpx.post(f"{played}/-/switches/errors/0.2", follow_redirects=True).raise_for_status()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in promql.RULES],
            "scrape_configs": [{"job_name": "coc-exporter", "static_configs": [{"targets": [address]}]}],
        }
        with promql.prometheus(folder, config) as server:
            # Rates need some samples, and a rule that reads another one has its turn after it.
            began = time.monotonic()
            tools.until(lambda: server.ask("coc_up == 1") and time.monotonic() - began > 12, "the demo was scraped")
            yield server


def test_every_expression_of_every_panel_returns_data(demo):
    for _, panel, target in (param.values for param in TARGETS):
        name = f"{panel['title']}, {target['refId']}"
        if name not in EMPTY_IN_THE_DEMO:
            expr = filled(target["expr"])
            # The demo lives: what is empty in one moment may not be in the next.
            tools.until(lambda expr=expr: demo.ask(expr), name, patience=20)


RECORDED_LATER = {
    "ticket_script:coc_instance_execution_duration_seconds:p50": "every five minutes",
    "ticket_script:coc_instances_abnormal_per_ended:ratio": "every five minutes",
    "script:coc_instance_execution_duration_seconds:p50_7d": "every five minutes",
    "script:coc_instances_abnormal_per_ended:ratio_7d": "every five minutes",
    "ticket:coc_instance_execution_duration_seconds:p50_script7d": "from those",
    "ticket:coc_instances_abnormal_per_ended:ratio_script7d": "from those",
}


def test_every_recording_rule_records(demo):
    names = [rule["record"] for group in promql.groups() for rule in group["rules"] if "record" in rule]
    for name in names:
        if name not in RECORDED_LATER:
            tools.until(lambda name=name: demo.ask(f'{{__name__="{name}"}}'), name, patience=20)


def test_every_rule_is_healthy(demo):
    groups = demo.client.get("/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule.get("lastError")] == []
