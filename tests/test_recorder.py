"""A recording is a test case without a secret in it."""

from __future__ import annotations

import asyncio
import json
import subprocess

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools import exporter

from exporter import simulator
from exporter.cli.recorder import Recorder

CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    iam_endpoint: {url}
    project_id: 0123456789abcdef0123456789abcdef
    auth: {{password: {{domain: demo-domain, username: demo-user, password: demo-password, project: cn-north-4}}}}
    discovery: {{}}
poll: {{requests_per_second: 200}}
"""
CANARIES = (
    "canary-host",
    "10.99.1.2",
    "canary-log",
    "canary-creator",
    "canary-name",
    "canary-attribute",
    "canary-resource",
)


@pytest.fixture
def recording(tmp_path):
    """Record a world full of canaries; return its folder, its config file, and the exposition of that poll."""
    script = simulator.Script()
    ticket = script.ticket("SCT-one", batches=[60], creator="canary-creator", name="canary-name", instances="FINISHED")
    number = ticket.ids()[0]
    ticket.host(
        number,
        resource_id="canary-resource",
        custom_attributes=[{"key": "canary-attribute", "value": "canary-attribute"}],
        properties={"host_name": "canary-host", "fixed_ip": "10.99.1.2"},
    )
    ticket.set(number, "ABNORMAL", log="canary-log: No space left on device")
    config = tmp_path / "config.yaml"
    with simulator.running(simulator.build(world=script)) as url:
        config.write_text(CONFIG.format(url=url))
        text = once(config, f"--record={tmp_path / 'record'}")
    return tmp_path / "record", config, text


def once(config, *flags):
    command = exporter("once", f"--config.file={config}", *flags)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_no_name_address_log_or_credential_is_recorded(recording):
    folder, *_ = recording
    text = "".join(path.read_text() for path in folder.iterdir())
    assert not [canary for canary in (*CANARIES, "demo-password", "demo-user", "demo-domain") if canary in text]
    assert not [path for path in folder.iterdir() if "iam" in path.name]


def test_a_replayed_recording_shows_the_same_counts(recording):
    folder, config, text = recording
    with simulator.running(simulator.replay(folder)) as url:
        config.write_text(
            CONFIG.format(url=url).split("    iam_endpoint")[0] + "    auth: {token: {token: x}}\n    discovery: {}\n"
        )
        again = once(config)

    def counts(exposition):
        return sorted(
            line for line in exposition.splitlines() if line.startswith(("coc_instances{", "coc_batch", "coc_ticket_s"))
        )

    assert counts(again) == counts(text)
    assert 'status="ABNORMAL"} 1.0' in again


def test_equal_texts_stay_equal_and_different_ones_different(recording):
    folder, *_ = recording
    (page, *_) = sorted(folder.glob("*batch_page.json"))
    hosts = [
        each["target_instance"]["resource_id"]
        for each in json.loads(page.read_text())["body"]["data"]["execute_instances"]
    ]
    assert len(set(hosts)) == len(hosts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("xyz", min_size=1).map(lambda text: f"CANARY{text}"),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["message", "new_field", "host_name", "data"]), inner)
    ),
)


@given(value=JSON)
def test_no_text_of_any_field_is_recorded_unless_it_is_known_to_be_harmless(value, tmp_path_factory):
    redacted = Recorder(tmp_path_factory.mktemp("any")).redacted("body", value)
    assert "CANARY" not in json.dumps(redacted)


def test_a_body_that_is_no_json_is_recorded_as_nothing(tmp_path):
    request = httpx.Request("GET", "http://x/v1/a?creator=canary&limit=5", extensions={"operation": "ticket"})
    asyncio.run(Recorder(tmp_path)(httpx.Response(502, content=b"<html>canary", request=request)))
    record = json.loads((tmp_path / "00001-ticket.json").read_text())
    assert record["body"] is None
    assert "canary" not in record["query"]
    assert "limit=5" in record["query"]
