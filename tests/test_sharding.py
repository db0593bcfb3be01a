"""Every ticket belongs to exactly one shard, and few move when shards are added."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from functools import partial

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tools import ROOT, exporter, listening, prometheus, running, until

from exporter import simulator
from exporter.sharding import Shard

UUIDS = st.text("ABCDEFabcdef0123456789_-", min_size=1, max_size=26)
MANY = [f"SCT20260102110405{number:09x}" for number in range(4000)]


@given(uuid=UUIDS, total=st.integers(1, 20))
def test_exactly_one_shard_owns_a_ticket(uuid, total):
    assert sum(Shard(ordinal, total).owns(uuid) for ordinal in range(total)) == 1


@given(uuid=UUIDS, total=st.integers(1, 20))
def test_a_ticket_moves_to_the_new_shard_or_not_at_all(uuid, total):
    before = [Shard(ordinal, total).owns(uuid) for ordinal in range(total)]
    after = [Shard(ordinal, total + 1).owns(uuid) for ordinal in range(total + 1)]
    assert after[-1] or after[:-1] == before


def test_from_three_to_four_shards_at_most_30_percent_of_the_tickets_move():
    moved = sum(any(Shard(n, 3).owns(uuid) and not Shard(n, 4).owns(uuid) for n in range(3)) for uuid in MANY)
    assert 0.2 < moved / len(MANY) <= 0.3


@pytest.mark.parametrize("total", [2, 3, 8])
def test_shards_have_about_as_many_tickets_each(total):
    sizes = [sum(Shard(ordinal, total).owns(uuid) for uuid in MANY) for ordinal in range(total)]
    assert max(sizes) < 1.2 * len(MANY) / total


CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    discovery: {{max_tickets: 100}}
    tickets: [{{execute_uuid: SCT-07}}]
poll: {{interval: 1s, requests_per_second: 60}}
"""
SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{files}/rules/*.yaml"]
scrape_configs:
  - {{job_name: whole, static_configs: [{{targets: {whole}}}]}}
  - {{job_name: shards, static_configs: [{{targets: {shards}}}]}}
"""
FILES = ROOT / "helm/coc-exporter/files"
TICKETS = 30


@pytest.fixture(scope="module")
def world():
    """Tickets that ended, that run, and that failed; nothing moves while they are compared."""
    script = simulator.Script()
    now = time.time()
    for number in range(TICKETS):
        status = ("FINISHED", "PROCESSING", "ABNORMAL")[number % 3]
        ticket = script.ticket(f"SCT-{number:02}", batches=[2, 1], instances="FINISHED", created=now - 900)
        first, second, _ = ticket.ids()
        ticket.set(first, "FINISHED", began=now - 600, at=now - 590 + number)
        if status != "FINISHED":
            ticket.set(second, status, began=now - 60, log="No space left on device")
        ticket.status(status)
    return script


@pytest.fixture(scope="module")
def fleet(world, tmp_path_factory):
    """Three shards and one exporter that reads all, each a process of its own; their URLs, the whole one's last."""
    folder = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        url = stack.enter_context(simulator.running(simulator.build(world=world)))
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(url=url))
        bases = []
        for ordinal in (0, 1, 2, None):
            of_shard = () if ordinal is None else (f"--shard={ordinal}", "--total-shards=3")
            command = exporter("serve", f"--config.file={config}", "--web.listen-address=127.0.0.1:0", *of_shard)
            bases.append(listening(stack.enter_context(running(command, folder / f"log-{ordinal}"))))
        for base in bases:
            until(partial(_ready, base), "a whole poll")
        yield bases


def _ready(base):
    try:
        with urllib.request.urlopen(f"{base}/-/ready"):
            return True
    except urllib.error.HTTPError:
        return False


def _shown(base):
    with urllib.request.urlopen(f"{base}/metrics") as answer:
        return answer.read().decode().splitlines()


def _of_tickets(lines):
    """Return the samples of tickets, but for when each was last read."""
    told = {line for line in lines if line.startswith("coc_") and "execute_uuid=" in line}
    return {line for line in told if not line.startswith("coc_ticket_last_success_")}


def test_three_processes_share_the_tickets_and_their_sum_is_the_whole_truth(fleet):
    *shards, whole = (_of_tickets(_shown(base)) for base in fleet)
    assert sum(line.startswith("coc_ticket_up{") for line in whole) == TICKETS
    assert all(shards)
    # None is in two of them, and together they are all: sample by sample.
    assert sum(map(len, shards)) == len(whole)
    assert set.union(*shards) == whole


def test_shards_say_which_they_are_and_divide_the_rate(fleet):
    for ordinal, base in enumerate(fleet[:3]):
        shown = _shown(base)
        assert f"coc_exporter_shard_ordinal {ordinal}.0" in shown
        assert "coc_exporter_total_shards 3.0" in shown
        assert 'coc_exporter_api_request_rate_limit{account="prod"} 20.0' in shown
    assert 'coc_exporter_api_request_rate_limit{account="prod"} 60.0' in _shown(fleet[3])


def _records():
    """Return what rules record of tickets at each evaluation; what is weighed over days is not there yet."""
    groups = yaml.safe_load((FILES / "rules/coc-recording.yaml").read_text())["groups"]
    names = {rule["record"] for group in groups if "interval" not in group for rule in group["rules"]}
    return {name for name in names if not name.endswith("_script7d")}


@pytest.fixture(scope="module")
def ask(fleet, tmp_path_factory):
    """
    Return a function that asks a real Prometheus, whose rules are ours; of a sample's labels, targets are left out.

    All is asked of one moment, and of one into which nothing is written any more.
    """
    *shards, whole = (base.removeprefix("http://") for base in fleet)
    config = SCRAPE.format(files=FILES, whole=[whole], shards=shards)
    with prometheus(tmp_path_factory.mktemp("prometheus"), config) as server:
        moment = 0.0

        def asked(query):
            rows = server.get("query", query=query, time=f"{moment}").get("result", [])
            return {frozenset(row["metric"].items() - _target(row["metric"])): row["value"][1] for row in rows}

        recorded = 'count by (job, __name__) ({{job="{}",__name__=~".+:.+:.+"}})'

        def complete():
            nonlocal moment
            moment = time.time() - 5
            told = [asked(recorded.format(job)) for job in ("whole", "shards")]
            # Of a single scrape there is no rate yet.
            scraped = [int(times) for times in asked("count(sum_over_time(up[30s]) >= 2)").values()]
            everything = {dict(key)["__name__"] for key in told[0]} == _records()
            return told[0] == told[1] and everything and scraped == [len(fleet)]

        until(complete, "everything is recorded of both")
        yield asked


def _target(metric):
    return {(name, metric[name]) for name in ("job", "instance") if name in metric}


def test_rules_record_the_same_of_shards_as_of_one_exporter(ask):
    told = [ask(f'{{job="{job}",__name__=~".+:.+:.+"}}') for job in ("whole", "shards")]
    assert len(told[0]) >= TICKETS * 5
    assert told[0] == told[1]


PANELS = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']}, {target['refId']}")
    for name in ("coc-overview", "coc-ticket")
    for panel in json.loads((FILES / f"dashboards/{name}.json").read_text())["panels"]
    for target in panel.get("targets", ())
    # When a ticket was last read is each exporter's own.
    if "last_success" not in target["expr"]
]


@pytest.mark.parametrize("expression", PANELS)
def test_dashboards_show_the_same_of_shards_as_of_one_exporter(ask, expression):
    values = {"__rate_interval": "30s", "window_hours": "4"}

    def shown(job):
        return ask(re.sub(r"\$(\w+)", lambda found: ({"job": job} | values).get(found[1], ".+"), expression))

    assert shown("whole") == shown("shards")
