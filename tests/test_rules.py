"""The shipped rules: what they say, that they fire when they should, and that Alertmanager sends what matters."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import tools
import yaml
from rules import promql

TESTS = tools.ROOT / "tests/rules"
RUNBOOKS = tools.ROOT / "docs/runbooks"
INHIBIT = tools.ROOT / "helm/coc-exporter/files/alertmanager-inhibit.yaml"
RUNBOOK_BASE = "https://github.com/coc-exporter/coc-exporter/blob/main/docs/runbooks/"
GROUPS = promql.groups()
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDS = {rule["record"]: rule for group in GROUPS for rule in group["rules"] if "record" in rule}

POLL_INTERVAL = 30
CASES = ("not yet, firing, resolving", "missing series", "exporter restart", "leaving")
HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation")

CUMULATIVE = {"counter", "histogram"}
COUNTERS_WITHOUT_RATE = {
    "ticket:coc_instance_failures:sum": "its growth is told by the difference to its minimum",
    "ticket:coc_instance_execution_duration_seconds:p50": "a ticket's histogram begins with the ticket",
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with promql.prometheus(tmp_path_factory.mktemp("parser")) as server:
        yield server


@pytest.fixture(params=ALERTS)
def alert(request):
    return ALERTS[request.param]


def run(*arguments):
    """Run a program; show what it said if it failed."""
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_promtool_finds_nothing_to_say():
    run(tools.tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *promql.RULES)


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.test.yaml")), ids=lambda path: path.name.split(".")[0])
def test_the_rules_do_what_their_tests_say(path):
    run(tools.tool("promtool"), "test", "rules", path)


def test_each_alert_is_tested_in_each_situation(alert):
    path = TESTS / f"{alert['alert']}.test.yaml"
    suite = yaml.safe_load(path.read_text())
    names = [test["name"] for test in suite["tests"]]
    assert [case for case in CASES if not any(case in name for name in names)] == []


def test_firing_is_tested_at_the_very_evaluation(alert):
    """The moment before says nothing yet, the next one says it, and all of it comes to an end."""
    suite = yaml.safe_load((TESTS / f"{alert['alert']}.test.yaml").read_text())
    steps = suite["tests"][0]["alert_rule_test"]
    quiet, loud, *_, last = steps
    assert [bool(step["exp_alerts"]) for step in (quiet, loud, last)] == [False, True, False]
    assert promql.seconds(loud["eval_time"]) - promql.seconds(quiet["eval_time"]) == POLL_INTERVAL
    told = loud["exp_alerts"][0]
    assert told["exp_annotations"].keys() == alert["annotations"].keys()


def test_every_test_speaks_of_an_alert_that_exists():
    names = {path.name.removesuffix(".test.yaml") for path in TESTS.glob("*.test.yaml")}
    assert names == {*ALERTS, "recording"}


def test_names(alert):
    assert re.fullmatch(r"Coc([A-Z][a-z]+)+", alert["alert"])
    assert len(alert["alert"]) <= 40


def test_groups():
    for group in GROUPS:
        assert len(group["name"]) <= 40
        assert len(group["rules"]) <= 20
        assert promql.seconds(group.get("interval", "30s")) <= 300


def test_labels_are_a_severity_alone_and_constant(alert):
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}


def test_the_summary_is_a_constant_sentence(alert):
    summary = alert["annotations"]["summary"]
    assert re.fullmatch(r"[A-Z][^{}]*\.", summary)


def test_the_description_names_what_it_is_about(alert):
    description = alert["annotations"]["description"]
    assert "account" in description
    assert description.endswith((".", "{{ end }}."))
    if alert["alert"] == "CocExporterAbsent":
        return  # there is neither a ticket nor a value
    assert re.search(r"\$value \| humanize|value \| humanize", description)
    if "execute_uuid" in alert["expr"] or "coc_ticket" in alert["expr"]:
        assert "{{ $labels.execute_uuid }}, account {{ $labels.account }}" in description


def test_hosts_are_named_where_instances_failed(alert):
    failed = {
        "CocInstancesAbnormal",
        "CocAbnormalShareHigh",
        "CocSuccessRateMissed",
        "CocTicketAbnormal",
        "CocFailuresAccelerating",
    }
    assert ("coc_abnormal_instance_info" in alert["annotations"]["description"]) == (alert["alert"] in failed)


def test_the_runbook_exists_and_tells_all(alert):
    name = alert["alert"]
    assert alert["annotations"]["runbook_url"] == f"{RUNBOOK_BASE}{name}.md"
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert re.findall(r"^#+ .*$", text, re.MULTILINE) == [f"# {name}", *(f"## {heading}" for heading in HEADINGS)]
    assert "```promql" in text
    assert "exporter's page" in text


def test_no_runbook_without_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)


def test_the_list_of_alerts_is_complete():
    text = (tools.ROOT / "docs/alerts.md").read_text()
    rows = dict(re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| (\w+) \|", text, re.MULTILINE))
    assert rows == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}


def test_every_query_of_a_runbook_uses_what_exists(prometheus):
    for path in RUNBOOKS.glob("*.md"):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL):
            for query in re.split(r"\n(?=\S)", block.strip()):
                assert promql.unknown(prometheus, query) == set(), path.name


def test_waiting_is_reasoned():
    """``for`` and ``keep_firing_for`` have a comment above them, or ``for`` tells why nothing is kept firing."""
    text = next(path for path in promql.RULES if path.stem == "coc-alerts").read_text()
    for block in re.split(r"\n(?= +- alert:)", text)[1:]:
        assert re.search(r"# .*\n +for: ", block), block
        if "keep_firing_for" in block:
            assert re.search(r"# .*\n +keep_firing_for: ", block), block
        else:
            assert re.search(r"(kept|keep) firing|resolves at once", block), block


def test_for_covers_two_polls(alert):
    assert promql.seconds(alert["for"]) >= 2 * POLL_INTERVAL
    assert promql.seconds(alert.get("keep_firing_for", "5m")) >= 300


def test_every_alert_compares(alert, prometheus):
    operators = {node.get("op") for node in promql.nodes(prometheus.parse(alert["expr"]))}
    assert operators & {"==", ">", "<", ">=", "<="}


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_every_metric_and_label_exists(rule, prometheus):
    assert promql.unknown(prometheus, rule["expr"]) == set()


def test_what_annotations_ask_for_exists(alert, prometheus):
    for text in re.findall(r'printf "((?:[^"\\]|\\.)*)"', alert["annotations"]["description"]):
        query = json.loads(f'"{text}"').replace("%q", '"x"')
        assert promql.unknown(prometheus, query) == set()


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_ranges_functions_and_matchers(rule, prometheus):
    tree = prometheus.parse(rule["expr"])
    assert not {node.get("op") for node in promql.nodes(tree)} & {"topk", "bottomk"}
    for selector in promql.selectors(tree):
        if selector["type"] == "matrixSelector":
            assert selector["range"] >= 4 * POLL_INTERVAL * 1000
        for matcher in selector["matchers"]:
            if matcher["type"] in {"=~", "!~"}:
                assert "|" in matcher["value"], "a regex where a plain value would do"
                assert not re.search(r"[\^$]", matcher["value"])


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_counters_are_rated(rule, prometheus):
    known = promql.exposed()
    tree = prometheus.parse(rule["expr"])
    rated = [
        selector
        for node in promql.nodes(tree)
        if node["type"] == "call" and node["func"]["name"] in {"rate", "increase"}
        for selector in promql.selectors(node)
    ]
    plain = [
        selector["name"]
        for selector in promql.selectors(tree)
        if selector not in rated and known.get(selector["name"], promql.Family("", frozenset())).kind in CUMULATIVE
    ]
    assert not plain or rule.get("record") in COUNTERS_WITHOUT_RATE


# What pint looks for and no other check here does. It cannot be installed where these tests run.


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_divisors_are_never_zero(rule, prometheus):
    for node in promql.nodes(prometheus.parse(rule["expr"])):
        if node.get("op") == "/":
            divisor = promql.bare(node["rhs"])
            assert divisor["op"] == ">", rule["expr"]
            assert promql.bare(divisor["rhs"])["val"] == "0"


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_rates_are_taken_of_counters_before_anything_is_added_up(rule, prometheus):
    known = promql.exposed()
    for node in promql.nodes(prometheus.parse(rule["expr"])):
        if node["type"] == "call" and node["func"]["name"] in {"rate", "increase", "irate"}:
            (argument,) = node["args"]
            assert argument["type"] == "matrixSelector", "of a subquery"
            assert known[argument["name"]].kind in CUMULATIVE


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_what_is_aggregated_keeps_its_job(rule, prometheus):
    """Two exporters of different jobs may watch accounts of the same name."""
    for node in promql.nodes(prometheus.parse(rule["expr"])):
        if node["type"] == "aggregation" and node["op"] != "count_values":
            assert ("job" in node["grouping"]) != node["without"], rule["expr"]
        if node["type"] == "binaryExpr" and node["matching"] and node["matching"]["on"]:
            assert "job" in node["matching"]["labels"], rule["expr"]


def test_no_rule_is_told_twice():
    names = [rule.get("alert") or rule["record"] for group in GROUPS for rule in group["rules"]]
    assert len(names) == len(set(names))
    assert len({group["name"] for group in GROUPS}) == len(GROUPS)


def test_annotations_use_labels_that_the_alert_has(alert):
    suite = yaml.safe_load((TESTS / f"{alert['alert']}.test.yaml").read_text())
    told = suite["tests"][0]["alert_rule_test"][1]["exp_alerts"][0]["exp_labels"]
    assert set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["description"])) <= told.keys()


def test_thresholds_are_marked_so_that_they_can_be_changed():
    marked = {name for name, rule in ALERTS.items() if "# threshold" in rule["expr"]}
    assert marked == {
        "CocInstancesAbnormal",
        "CocAbnormalShareHigh",
        "CocFailuresAccelerating",
        "CocDataStale",
        "CocPollsStopped",
        "CocTokenNearExpiry",
        "CocThrottled",
    }
    for name in marked:
        assert len(re.findall(r"(?<=[ (])[\d.]+ # threshold$", ALERTS[name]["expr"], re.MULTILINE)) == 1
        assert not re.search(r"more than [\d.]+ ?%", ALERTS[name]["annotations"]["description"])


def test_recording_rules_are_named_by_level_metric_and_operation():
    for name in RECORDS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*:coc_[a-z0-9_]+:[a-z0-9_]+", name)
        assert "_total" not in name


def test_every_recording_rule_is_of_use():
    written = "".join(path.read_text() for path in promql.RULES)
    drawn = "".join(path.read_text() for path in (tools.ROOT / "helm/coc-exporter/files/dashboards").glob("*.json"))
    assert [name for name in RECORDS if written.count(name) < 2 and name not in drawn] == []


# Alertmanager


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alertmanager")
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    config |= yaml.safe_load(INHIBIT.read_text())
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{tools.free_port()}"
    program = [
        tools.tool("alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with tools.running(program, folder / "log") as process:
        process.find("Listening on")
        with httpx.Client(base_url=f"http://{address}") as client:
            tools.until(lambda: client.get("/-/ready").status_code == 200, "Alertmanager is ready")
            yield client


PROBE = "SCT-PROBE"
PROBES = ("CocTicketUnreadable", "CocDataStale")


def inhibited(client, *alerts):
    """Fire the alerts, each a name and its labels, and return the names of those that are not sent."""
    now = datetime.now(UTC)
    began, ends = (now - timedelta(minutes=5)).isoformat(), (now + timedelta(minutes=5)).isoformat()
    sent = [
        {"labels": {"alertname": name} | told, "startsAt": began, "endsAt": ends}
        for name, told in (
            *alerts,
            *((name, {"job": "probe", "account": "probe", "execute_uuid": PROBE}) for name in PROBES),
        )
    ]
    client.post("/api/v2/alerts", json=sent).raise_for_status()
    shown = tools.until(lambda: _settled(client), "Alertmanager has weighed all alerts")
    return {
        alert["labels"]["alertname"]
        for alert in shown
        if alert["status"]["inhibitedBy"] and alert["labels"].get("execute_uuid") != PROBE
    }


def _settled(client):
    """Return the alerts once the probe is inhibited: what was sent before it has been weighed by then."""
    shown = client.get("/api/v2/alerts").json()
    probes = [alert for alert in shown if alert["labels"].get("execute_uuid") == PROBE]
    return shown if any(alert["status"]["inhibitedBy"] for alert in probes) else None


def resolve_all(client):
    ended = datetime.now(UTC).isoformat()
    alerts = client.get("/api/v2/alerts").json()
    told = [{"labels": alert["labels"], "startsAt": alert["startsAt"], "endsAt": ended} for alert in alerts]
    client.post("/api/v2/alerts", json=told).raise_for_status()
    tools.until(lambda: not client.get("/api/v2/alerts").json(), "all alerts are resolved")


ACCOUNT = {"job": "coc", "account": "prod"}
TICKET = ACCOUNT | {"execute_uuid": "SCT1"}
OTHER_TICKET = ACCOUNT | {"execute_uuid": "SCT2"}
OTHER_ACCOUNT = {"job": "coc", "account": "test", "execute_uuid": "SCT1"}
PROCESS = {"job": "coc", "instance": "a:1"}

INHIBITIONS = {
    "no exporter at all silences the rest": (
        [("CocExporterAbsent", {}), ("CocAccountBlind", ACCOUNT), ("CocTicketStuck", TICKET)],
        {"CocAccountBlind", "CocTicketStuck"},
    ),
    "a blind account silences its tickets": (
        [("CocAccountBlind", ACCOUNT), ("CocInstancesAbnormal", TICKET), ("CocDataStale", TICKET)],
        {"CocInstancesAbnormal", "CocDataStale"},
    ),
    "a blind account says nothing of another's tickets": (
        [("CocAccountBlind", ACCOUNT), ("CocInstancesAbnormal", OTHER_ACCOUNT)],
        set(),
    ),
    "rejected credentials explain a blind account, which still silences its tickets": (
        [("CocCredentialsRejected", ACCOUNT | PROCESS), ("CocAccountBlind", ACCOUNT), ("CocTicketUnreadable", TICKET)],
        {"CocAccountBlind", "CocTicketUnreadable"},
    ),
    "a shard that is down explains old data, not failures": (
        [
            ("CocExporterDown", PROCESS),
            ("CocShardMissing", {"job": "coc"}),
            ("CocDataStale", TICKET),
            ("CocInstancesAbnormal", TICKET),
        ],
        {"CocShardMissing", "CocDataStale"},
    ),
    "an empty account explains the tickets that it showed before": (
        [("CocAccountEmpty", ACCOUNT), ("CocTicketUnreadable", TICKET), ("CocInstancesAbnormal", OTHER_ACCOUNT)],
        {"CocTicketUnreadable"},
    ),
    "an unreadable ticket is old": (
        [("CocTicketUnreadable", TICKET), ("CocDataStale", TICKET)],
        {"CocDataStale"},
    ),
    "a stuck ticket silences its instances": (
        [("CocTicketStuck", TICKET), ("CocInstancesAbnormal", TICKET), ("CocAbnormalShareHigh", TICKET)],
        {"CocInstancesAbnormal", "CocAbnormalShareHigh"},
    ),
    "a stuck ticket says nothing of another": (
        [("CocTicketStuck", TICKET), ("CocInstancesAbnormal", OTHER_TICKET)],
        set(),
    ),
    "accelerating failures are never silenced by a stuck ticket": (
        [("CocTicketStuck", TICKET), ("CocFailuresAccelerating", TICKET)],
        set(),
    ),
    "a missed success rate silences the single instance": (
        [("CocSuccessRateMissed", TICKET | {"batch": "1"}), ("CocInstancesAbnormal", TICKET)],
        {"CocInstancesAbnormal"},
    ),
}


@pytest.mark.parametrize("case", INHIBITIONS)
def test_inhibition(case, alertmanager):
    alerts, expected = INHIBITIONS[case]
    try:
        assert inhibited(alertmanager, *alerts) == expected
    finally:
        resolve_all(alertmanager)


def test_amtool_accepts_the_snippet(tmp_path):
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    config |= yaml.safe_load(INHIBIT.read_text())
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    run(tools.tool("amtool"), "check-config", tmp_path / "alertmanager.yml")


def test_inhibition_names_alerts_that_exist():
    named = set(re.findall(r"\bCoc[A-Z]\w+", INHIBIT.read_text()))
    assert named <= set(ALERTS)
