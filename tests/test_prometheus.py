"""A real Prometheus scrapes the exporter, which polls a simulated API over real HTTP."""

from __future__ import annotations

import math
import time
import urllib.request
from collections import Counter

import pytest
from tools import exporter, listening, prometheus, running, until

from exporter import simulator

BUCKETS = (1, 5, 15, 30, 60, 120)
CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{tickets}]
poll: {{interval: 1s, stale_after: 20s, requests_per_second: 100}}
metrics: {{duration_buckets: [1, 5, 15, 30, 60, 120]}}
"""
SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: coc
    static_configs: [{{targets: ['{target}']}}]
"""


@pytest.fixture(scope="module")
def world():
    """Two tickets with all there is: finished, failed, running, waiting, cancelled, rolled back."""
    script = simulator.Script()
    now = time.time()
    first = script.ticket("SCT-first", batches=[6, 4], created=now - 600)
    ids = first.ids()
    for number, seconds in zip(ids[:5], (0.5, 3, 10, 20, 50), strict=True):
        first.set(number, "FINISHED", began=now - 300, at=now - 300 + seconds)
    first.set(ids[5], "ABNORMAL", began=now - 300, at=now - 260, log="cp: No space left on device")
    first.set(ids[6], "PROCESSING", at=now - 100)
    first.set(ids[7], "CANCELED", at=now - 50)
    first.set(ids[8], "ROLLBACKED", began=now - 90, at=now - 60)
    second = script.ticket("SCT-second", batches=[2], created=now - 60)
    second.set(second.ids()[0], "ABNORMAL", began=now - 50, at=now - 40, log="something odd")
    return script


@pytest.fixture(scope="module")
def stack(world, tmp_path_factory):
    """An exporter and a Prometheus that has scraped it."""
    folder = tmp_path_factory.mktemp("stack")
    with simulator.running(simulator.build(world=world)) as url:
        config = folder / "config.yaml"
        write_config(config, url, "SCT-first", "SCT-second")
        command = exporter(
            "serve", f"--config.file={config}", "--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle"
        )
        with running(command, folder / "exporter.log") as process:
            base = listening(process)
            with prometheus(folder, SCRAPE.format(target=base.removeprefix("http://"))) as ask:
                until(lambda: ask("sum(coc_instances)"), "the first scrape")
                yield config, url, base, ask


def write_config(config, url, *tickets):
    config.write_text(CONFIG.format(url=url, tickets=", ".join(f"{{execute_uuid: {ticket}}}" for ticket in tickets)))


def by(ask, label, query):
    return {dict(key)[label]: value for key, value in ask(query).items()}


def test_instances_by_status_are_the_simulators_truth(stack, world):
    *_, ask = stack
    truth = Counter()
    for uuid in ("SCT-first", "SCT-second"):
        ticket = world.find(uuid, time.time())
        truth.update(row.status for batch in ticket.batches for row in ticket.instances(batch.index))
    shown = by(ask, "status", "sum by (status) (coc_instances)")
    assert {status: number for status, number in shown.items() if number} == truth


def test_failures_by_reason_are_the_simulators_truth(stack):
    *_, ask = stack
    assert by(ask, "reason", "sum by (reason) (coc_instance_failures_total)") == {"disk_full": 1, "other": 1}


def test_a_quantile_of_durations_is_that_of_the_simulators_executions(stack):
    *_, ask = stack
    query = 'histogram_quantile(0.5, sum by (le) (coc_instance_execution_duration_seconds_bucket{status="FINISHED"}))'
    (median,) = ask(query).values()
    # Five executions of 0.5, 3, 10, 20 and 50 s: half of them, 2.5, lies midway in the bucket from 5 to 15 s.
    assert math.isclose(median, 10.0)


def test_the_target_is_up_and_the_account_too(stack):
    *_, ask = stack
    assert list(ask('up{job="coc"}').values()) == [1]
    assert by(ask, "account", "coc_up") == {"prod": 1}


def test_series_of_a_ticket_that_left_the_config_go_stale(stack):
    config, url, base, ask = stack
    assert ask('coc_instances{execute_uuid="SCT-second"}')
    write_config(config, url, "SCT-first")
    urllib.request.urlopen(urllib.request.Request(f"{base}/-/reload", method="POST")).close()
    # Staleness markers take effect with the next scrape; without them Prometheus would show the series for 5 minutes.
    until(lambda: not ask('coc_instances{execute_uuid="SCT-second"}'), "stale series", patience=20)
    assert ask('coc_instances{execute_uuid="SCT-first"}')
