"""The whole chain: simulated API, exporter, Prometheus with our rules, Alertmanager, and a webhook at its end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from rules import swift
from stack import alertmanager, changes
from tools import ROOT, Asking, Process, exporter, free_port, listening, prometheus, running, tool, until

from exporter import simulator

STALE_AFTER = 25.0
CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{{execute_uuid: SCT-night, name: nightly-openssl}}]
poll: {{interval: 1s, request_timeout: 1s, stale_after: {stale_after:.0f}s, requests_per_second: 100}}
"""


def swift_alertmanager(folder, webhook):
    """Write the stack's Alertmanager configuration with shorter waits and our receiver."""
    told = yaml.safe_load((ROOT / "docs/stack/alertmanager.yaml").read_text())
    told["route"] |= {"receiver": "webhook", "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
    told["receivers"] = [{"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}]
    file = folder / "alertmanager.yaml"
    file.write_text(yaml.safe_dump(told))
    return file


@contextmanager
def webhook():
    """Receive what Alertmanager sends; yields the URL and the list of alerts received."""
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.extend(body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    script = simulator.Script()
    script.ticket("SCT-night", batches=[4], instances="PROCESSING", success_rate=50.0)
    app = simulator.build(world=script)
    with ExitStack() as stack:
        url = stack.enter_context(simulator.running(app))
        hook, received = stack.enter_context(webhook())
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(url=url, stale_after=STALE_AFTER))
        process = stack.enter_context(
            running(
                exporter("serve", f"--config.file={config}", "--web.listen-address=127.0.0.1:0"),
                folder / "exporter.log",
            )
        )
        target = listening(process).removeprefix("http://")
        address = f"127.0.0.1:{free_port()}"
        data = folder / "alertmanager-data"
        command = alertmanager(data, swift_alertmanager(folder, hook), address)
        stack.enter_context(running(command, folder / "alertmanager.log"))
        rules = swift.compressed(folder / "rules")
        config = swift.PROMETHEUS.format(rules=rules, alertmanagers=f"'{address}'", target=target)
        ask = stack.enter_context(prometheus(folder, config))
        until(lambda: ask("coc_instances"), "the first scrape")
        yield app, script, received, ask


def alerts(received, name, status):
    return [alert for alert in received if alert["labels"]["alertname"] == name and alert["status"] == status]


def test_an_abnormal_instance_is_told_with_ticket_host_and_reason_and_its_retry_resolves_it(chain):
    _, script, received, _ = chain
    ticket = script.find("SCT-night", time.time())
    number = ticket.ids()[0]
    ticket.host(number, properties={"host_name": "web-0001"})
    ticket.set(number, "ABNORMAL", log="cp: No space left on device")
    (alert,) = until(lambda: alerts(received, "CocInstancesAbnormal", "firing"), "the alert")[:1]
    assert alert["labels"] | {"account": "prod", "execute_uuid": "SCT-night", "severity": "warning"} == alert["labels"]
    description = alert["annotations"]["description"]
    assert "nightly-openssl (SCT-night, account prod)" in description
    assert "web-0001 (disk_full)" in description
    assert re.search(r"docs/runbooks/CocInstancesAbnormal\.md$", alert["annotations"]["runbook_url"])
    ticket.retry(number)
    ticket.set(number, "FINISHED")
    until(lambda: alerts(received, "CocInstancesAbnormal", "resolved"), "the resolve")


def test_a_stopped_api_is_told_and_does_not_resolve_what_was_abnormal(chain):
    app, script, received, ask = chain
    ticket = script.find("SCT-night", time.time())
    ticket.set(ticket.ids()[1], "ABNORMAL", log="odd")
    until(lambda: ask('ALERTS{alertname="CocInstancesAbnormal",alertstate="firing"}'), "the alert")
    resolved = len(alerts(received, "CocInstancesAbnormal", "resolved"))
    stopped = time.monotonic()
    app.state.controls.set(api_down="503")
    until(lambda: alerts(received, "CocAccountBlind", "firing"), "the blind account")
    assert time.monotonic() - stopped < STALE_AFTER
    assert ask('ALERTS{alertname="CocInstancesAbnormal",alertstate="firing"}')
    assert len(alerts(received, "CocInstancesAbnormal", "resolved")) == resolved
    app.state.controls.reset()
    until(lambda: alerts(received, "CocAccountBlind", "resolved"), "the API to be seen again")


def test_the_stack_starts_tells_its_addresses_and_stops_when_told(tmp_path):
    ports = [str(free_port()) for _ in range(3)]
    process = Process([sys.executable, ROOT / "tests/stack.py", *ports], tmp_path / "stack.log")
    try:
        process.find(r"make it misbehave:  http://127\.0\.0\.1:\d+/")
        ask = Asking(f"http://127.0.0.1:{ports[1]}")
        until(lambda: ask(f'up{{instance="localhost:{ports[0]}"}} == 1'), "the exporter is scraped")
        managers = ask.get("alertmanagers")["activeAlertmanagers"]
        assert [manager["url"] for manager in managers] == [f"http://localhost:{ports[2]}/api/v2/alerts"]
    finally:
        ended = process.stop()
    assert ended == 0, process.text()


def test_the_stack_tells_what_becomes_of_alerts():
    waiting, firing = {"A x=1": ("pending", "d")}, {"A x=1": ("firing", "d"), "B": ("pending", "e")}
    assert list(changes({}, waiting)) == ["PENDING  A x=1"]
    assert list(changes(waiting, firing)) == ["FIRING   A x=1: d", "PENDING  B"]
    assert list(changes(firing, firing)) == []
    assert list(changes(firing, {})) == ["RESOLVED A x=1", "OVER     B"]


def test_the_stack_inhibits_what_the_chart_inhibits():
    snippet = yaml.safe_load((ROOT / "helm/coc-exporter/files/alertmanager-inhibit.yaml").read_text())
    shown = yaml.safe_load((ROOT / "docs/stack/alertmanager.yaml").read_text())
    assert shown["inhibit_rules"] == snippet["inhibit_rules"]


@pytest.mark.parametrize(
    "arguments", [("promtool", "check", "config", "prometheus.yaml"), ("amtool", "check-config", "alertmanager.yaml")]
)
def test_the_files_of_the_stack_are_good(arguments):
    program, *rest, file = arguments
    command = [tool(program), *rest, ROOT / "docs/stack" / file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
