"""Each way a sign-in can go wrong, against an API that checks it for real: its reason, and what the user reads."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from exporter import config, simulator
from exporter.cli.demo import config_text
from exporter.cli.wiring import Exporter
from exporter.clock import SystemClock
from exporter.simulator.credentials import temporary_key
from exporter.telemetry import Telemetry

ACCESS, SECRET = "DEMOACCESSKEY0000001", "demo-secret-key-000000000000000000000001"


@pytest.fixture(scope="module")
def app():
    script = simulator.Script()
    script.ticket("SCT-one", batches=[2])
    return simulator.build(world=script)


@pytest.fixture(scope="module")
def url(app):
    with simulator.running(app) as base:
        yield base


@pytest.fixture
def switches(app):
    yield app.state.controls
    app.state.controls.reset()


def told(text):
    """Poll once with a config; return the exporter's account state and the reasons counted."""

    async def poll():
        exporter = Exporter(config.parse(text, environ={}), Telemetry(process=False), SystemClock())
        try:
            await exporter.poller.once()
            return exporter.board.current.accounts[0]
        finally:
            await exporter.aclose()

    return asyncio.run(poll())


def aksk(url, access=ACCESS, secret=SECRET, extra=""):
    return f"""
accounts: [{{name: prod, endpoint: {url}, discovery: {{}},
  auth: {{aksk: {{access_key: "{access}", secret_key: "{secret}"{extra}}}}}}}]
poll: {{max_attempts: 1, request_timeout: 2s}}
"""


def expired(url):
    key = temporary_key(simulator.Credentials(), int(time.time()) - 60)
    return aksk(url, key.access, key.secret, f", security_token: {key.security_token}")


def password(url, domain="demo-domain", word="demo-password", project="cn-north-4"):
    return f"""
accounts: [{{name: prod, endpoint: {url}, iam_endpoint: {url}, discovery: {{}},
  auth: {{password: {{domain: {domain}, username: demo-user, password: {word}, project: {project}}}}}}}]
poll: {{max_attempts: 1, request_timeout: 2s}}
"""


@pytest.mark.parametrize("kind", ["token", "password", "aksk", "ecs_metadata"])
def test_each_kind_signs_in(kind, url):
    assert told(config_text(url, kind)).fault is None


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        pytest.param(lambda url: aksk(url, access="AKUNKNOWN"), "unauthorized", "access key", id="wrong AK"),
        pytest.param(lambda url: aksk(url, secret="wrong"), "unauthorized", "secret key", id="wrong SK"),
        # The gateway has one text for both, so the message names both.
        pytest.param(expired, "clock_skew", "temporary key", id="expired security token"),
        pytest.param(lambda url: password(url, word="wrong"), "unauthorized", "password", id="wrong password"),
        pytest.param(lambda url: password(url, domain="nobody"), "unauthorized", "domain", id="unknown domain"),
        pytest.param(
            lambda url: password(url, project="ap-southeast-3"),
            "token_rejected",
            "region",
            id="project of another region",
        ),
    ],
)
def test_refused_credentials_are_named_and_tell_what_to_do(make, reason, words, url):
    fault = told(make(url)).fault
    assert fault is not None
    assert fault.reason == reason
    assert words in fault.message.lower()


def test_a_clock_twenty_minutes_off_is_named(url, switches):
    switches.set(clock_offset=1200)
    fault = told(aksk(url)).fault
    assert fault.reason == "clock_skew"
    assert "clock" in fault.message


def test_a_locked_key_is_named_with_its_pause(url, switches):
    switches.set(locked_key=True)
    fault = told(aksk(url)).fault
    assert fault.reason == "key_locked"


def test_a_token_revoked_in_the_middle_of_a_poll_is_renewed_once(url, app, switches):
    async def polls():
        exporter = Exporter(config.parse(password(url), environ={}), Telemetry(process=False), SystemClock())
        try:
            await exporter.poller.once()
            app.state.requests.clear()
            switches.set(revoked_tokens=1)
            await exporter.poller.once()
            return exporter.board.current.accounts[0].fault, app.state.requests["iam_token"]
        finally:
            await exporter.aclose()

    assert asyncio.run(polls()) == (None, 1)


def test_a_metadata_service_that_is_not_there_is_named(url):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    text = f"""
accounts: [{{name: prod, endpoint: {url}, discovery: {{}}, auth: {{ecs_metadata: {{endpoint: '{address}'}}}}}}]
poll: {{max_attempts: 1}}
"""
    fault = told(text).fault
    assert fault.reason == "connect"
    assert "Huawei Cloud ECS" in fault.message


def test_a_host_without_an_agency_is_named(url, switches):
    switches.set(metadata="no_agency")
    text = (
        f"accounts: [{{name: prod, endpoint: {url}, discovery: {{}}, auth: {{ecs_metadata: {{endpoint: '{url}'}}}}}}]"
    )
    fault = told(text).fault
    assert fault.reason == "unauthorized"
    assert "agency" in fault.message


def test_a_plain_metadata_service_will_do(url, switches):
    switches.set(metadata="plain")
    text = (
        f"accounts: [{{name: prod, endpoint: {url}, discovery: {{}}, auth: {{ecs_metadata: {{endpoint: '{url}'}}}}}}]"
    )
    assert told(text).fault is None


def test_a_proxy_that_is_down_is_named(url):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
    text = f"""
accounts:
  - {{name: prod, endpoint: {url}, proxy_url: '{proxy}', discovery: {{}}, auth: {{token: {{token: demo-token}}}}}}
poll: {{max_attempts: 1}}
"""
    fault = told(text).fault
    assert fault.reason == "connect"
    assert "proxy" in fault.message


def test_an_empty_site_is_told_as_the_hint_it_may_be(url, switches):
    switches.set(empty_site=True)
    fault = told(config_text(url, "token")).fault
    assert fault.reason == "empty"
    assert "region or endpoint" in fault.message


def test_a_listing_that_repeats_a_page_ends(url, switches):
    switches.set(stuck_marker=True, page_cap=1)
    began = time.monotonic()
    assert told(config_text(url, "token")).fault is None
    assert time.monotonic() - began < 30
