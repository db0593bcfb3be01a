"""A reload takes the whole new config or keeps the old one, and what was counted stays counted."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request

import pytest
from tools import exporter, listening, running, until

from exporter import simulator

CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{password: {{domain: demo-domain, username: demo-user, password: demo-password, project: cn-north-4}}}}
    iam_endpoint: {url}
    tickets: [{tickets}]
poll: {{interval: {interval}, requests_per_second: 100}}
"""


@pytest.fixture
def world():
    script = simulator.Script()
    now = time.time()
    for uuid in ("SCT-one", "SCT-two"):
        ticket = script.ticket(uuid, batches=[2])
        ticket.set(ticket.ids()[0], "ABNORMAL", began=now - 20, at=now - 10, log="odd")
    return script


@pytest.fixture
def app(world):
    return simulator.build(world=world)


@pytest.fixture
def start(app, tmp_path):
    """Return a function that starts an exporter on a config; its URL, its process, and how to write the config."""
    with simulator.running(app) as url:
        file = tmp_path / "config.yaml"

        def write(*tickets, interval="1s"):
            listed = ", ".join(f"{{execute_uuid: {ticket}}}" for ticket in tickets)
            fresh = file.with_suffix(".new")
            fresh.write_text(CONFIG.format(url=url, tickets=listed, interval=interval))
            fresh.replace(file)

        def begin(*flags):
            command = exporter("serve", f"--config.file={file}", "--web.listen-address=127.0.0.1:0", *flags)
            return running(command, tmp_path / "log")

        yield write, begin, file


def get(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def value(base, line):
    found = [row for row in get(f"{base}/metrics").splitlines() if row.startswith(line)]
    return float(found[0].rsplit(" ", 1)[1]) if found else None


def up(ticket):
    return f'coc_ticket_up{{account="prod",execute_uuid="{ticket}"}}'


def test_a_hangup_adds_and_removes_tickets_and_says_so(start):
    write, begin, _ = start
    write("SCT-one")
    with begin() as process:
        base = listening(process)
        until(lambda: value(base, up("SCT-one")) == 1, "the first poll")
        write("SCT-two")
        process.popen.send_signal(signal.SIGHUP)
        until(lambda: value(base, up("SCT-two")) == 1, "the new ticket")
        assert value(base, up("SCT-one")) is None
        process.find(r'msg="Config loaded again" added=1 removed=1 kept=0')
        assert "added 1, removed 1 and kept 0 tickets" in get(f"{base}/")


def test_a_broken_config_changes_nothing_and_shows(start):
    write, begin, file = start
    write("SCT-one")
    with begin("--web.enable-lifecycle") as process:
        base = listening(process)
        until(lambda: value(base, up("SCT-one")) == 1, "the first poll")
        assert value(base, "coc_exporter_config_last_reload_successful") == 1
        file.write_text("accounts: []\n")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{base}/-/reload", method="POST"))
        with refused.value as answer:
            assert answer.code == 500
            assert "accounts" in answer.read().decode()
        until(lambda: value(base, "coc_exporter_config_last_reload_successful") == 0, "the failed reload")
        assert value(base, up("SCT-one")) == 1


def test_counters_survive_a_reload_although_the_api_has_forgotten(start, world):
    write, begin, _ = start
    write("SCT-one")
    failures = 'coc_instance_failures_total{account="prod",batch="1",execute_uuid="SCT-one",reason="other"}'
    with begin() as process:
        base = listening(process)
        until(lambda: value(base, failures) == 1, "the failure")
        ticket = world.find("SCT-one", time.time())
        ticket.retry(ticket.ids()[0])
        gone = 'coc_instances{account="prod",batch="1",execute_uuid="SCT-one",status="ABNORMAL"}'
        until(lambda: value(base, gone) == 0, "the retry")
        write("SCT-one", "SCT-two")
        process.popen.send_signal(signal.SIGHUP)
        until(lambda: value(base, up("SCT-two")) == 1, "the reload")
        assert value(base, failures) == 1


def test_an_account_that_did_not_change_does_not_sign_in_again(start, app):
    write, begin, _ = start
    write("SCT-one")
    with begin() as process:
        base = listening(process)
        until(lambda: value(base, up("SCT-one")) == 1, "the first poll")
        write("SCT-one", "SCT-two")
        process.popen.send_signal(signal.SIGHUP)
        until(lambda: value(base, up("SCT-two")) == 1, "the reload")
        assert app.state.requests["iam_token"] == 1
        write("SCT-one", interval="2s")
        process.popen.send_signal(signal.SIGHUP)
        until(lambda: app.state.requests["iam_token"] == 2, "the new connection")


def test_a_changed_file_is_loaded_by_itself_where_that_is_asked_for(start):
    write, begin, _ = start
    write("SCT-one")
    with begin("--config.enable-auto-reload") as process:
        base = listening(process)
        until(lambda: value(base, up("SCT-one")) == 1, "the first poll")
        write("SCT-two")
        until(lambda: value(base, up("SCT-two")) == 1, "the new ticket")


def test_an_unchanged_file_is_no_reason_to_begin_anew(start):
    write, begin, _ = start
    write("SCT-one")
    with begin() as process:
        base = listening(process)
        until(lambda: value(base, up("SCT-one")) == 1, "the first poll")
        process.popen.send_signal(signal.SIGHUP)
        process.find("added=0 removed=0 kept=1")
        assert value(base, up("SCT-one")) == 1


def test_stored_tickets_are_shown_after_a_restart_without_a_request(start, app, world, tmp_path):
    write, begin, _ = start
    ticket = world.find("SCT-one", time.time())
    ticket.finish()
    write("SCT-one")
    storage = f"--storage.path={tmp_path / 'coc.db'}"
    with begin(storage) as process:
        base = listening(process)
        until(lambda: value(base, up("SCT-one")) == 1, "the first poll")
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(10) == 0
    app.state.requests.clear()
    with begin(storage) as process:
        base = listening(process)
        until(lambda: value(base, up("SCT-one")) == 1, "what was stored")
        until(lambda: (value(base, "coc_exporter_polls_total") or 0) >= 2, "two polls")
        assert not app.state.requests
    assert os.path.exists(tmp_path / "coc.db")  # noqa: PTH110


def test_an_instance_that_turns_abnormal_is_one_line_of_the_log_without_its_text(start, world):
    write, begin, _ = start
    write("SCT-one")
    ticket = world.find("SCT-one", time.time())
    with begin("--log.format=json") as process:
        until(lambda: "Listening on" in process.text(), "the start")
        process.find("Instance became ABNORMAL")
        ticket.host(ticket.ids()[1], properties={"host_name": "web-\n\x1b[31m7"})
        ticket.set(ticket.ids()[1], "ABNORMAL", log="password=canary\nNo space left on device")
        process.find('"reason": "disk_full"')
        lines = [json.loads(line) for line in process.text().splitlines() if "became ABNORMAL" in line]
    told = {"account": "prod", "ticket": "SCT-one", "batch": 1, "reason": "disk_full", "host": "web-\n\x1b[31m7"}
    assert len(lines) == 2
    assert lines[1] | told == lines[1]
    assert "canary" not in process.text()
    assert "\x1b" not in process.text()
