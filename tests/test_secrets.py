"""
No secret leaves but to where it belongs: through every failure, at debug level, in whatever spelling.

The API that is played here is hostile: it sends back every header and body that it was sent.
"""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, quote_plus

import bcrypt
import pytest
from conftest import FakeClock
from conftest import run as finish
from echo import MODES, WHOLE, echoing
from tools import exporter, listening, running, until

from exporter import config, log, simulator
from exporter.cli.wiring import Exporter
from exporter.exposition import Encoding, Format, Variant
from exporter.simulator import Credentials
from exporter.storage import Storage
from exporter.telemetry import Telemetry

TOKEN = "Canary1token+/=="
AK, SK, SECURITY = "CANARY2ACCESSKEY0000", "Canary3secretkey+/=&x", "Canary4security+/token=="
PASSWORD = "Canary5pass word+/&%"
PROXY = "Canary6proxy@/x"
GIVEN = (TOKEN, AK, SK, SECURITY, PASSWORD, PROXY)
CREDENTIALS = Credentials(token=TOKEN, access_key=AK, secret_key=SK, password=PASSWORD)
AUTHS = {
    "token": "{token: {token_file: token}}",
    "password": "{password: {domain: demo-domain, username: demo-user, password_file: password, project: cn-north-4}}",
    "aksk": "{aksk: {access_key_env: AK, secret_key_env: SK, security_token_file: security}}",
    "ecs_metadata": "{ecs_metadata: {endpoint: '%s'}}",
}
CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    iam_endpoint: {url}
    auth: {auth}
    tickets: [{{execute_uuid: SCT-1}}]
    discovery: {{}}
  - name: proxied
    endpoint: https://coc.invalid
    proxy_url: http://user:{proxy}@{host}
    auth: {{token: {{token: "{token}"}}}}
    tickets: [{{execute_uuid: SCT-1}}]
  - name: forwarded
    endpoint: http://127.0.0.1:1
    proxy_url: http://user:{proxy}@{host}
    auth: {{token: {{token: "{token}"}}}}
    tickets: [{{execute_uuid: SCT-1}}]
  - name: shut
    endpoint: https://coc.invalid
    proxy_url: http://user:{proxy}@127.0.0.1:9
    auth: {{token: {{token: "{token}"}}}}
    tickets: [{{execute_uuid: SCT-1}}]
poll: {{interval: 1s, request_timeout: 2s, stale_after: 10s, max_attempts: 1, requests_per_second: 200}}
"""
FAULTS = {
    "503": {"api_down": "503"},
    "a page of HTML": {"html": True},
    "nothing in it": {"empty_answers": True},
    "nothing listed": {"empty_site": True},
    "throttled": {"throttle": 1.0},
    "an error in every answer": {"errors": 1.0},
    "a locked key": {"locked_key": True},
    "revoked tokens": {"revoked_tokens": 1},
    "a clock that is off": {"clock_offset": 10_000},
    "no agency": {"metadata": "no_agency"},
    "no metadata": {"metadata": "absent"},
    "a marker that stays": {"stuck_marker": True},
    "pages of null": {"null_pages": True},
}


def spellings(secret):
    """Yield the ways in which a secret could be written; of base64, whatever stands before it."""
    raw = secret.encode()
    yield from {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    yield from {html.escape(secret), quote(quote(secret, safe=""), safe=""), repr(secret)[1:-1]}
    yield from {raw.hex(), raw.hex().upper(), raw.hex(" "), raw.hex(":")}
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * offset + raw).decode().rstrip("=")
            # What the neighbours left and right have a part in can look otherwise.
            inner = encoded[2 * offset : -2]
            yield from {inner, quote(inner, safe="")}


def leaks(places, secrets):
    """Return where which secret stands in which spelling."""
    return [
        (place, secret, spelling)
        for place, text in places.items()
        for secret in secrets
        for spelling in spellings(secret)
        if spelling in text
    ]


@pytest.fixture
def api():
    script = simulator.Script()
    ticket = script.ticket("SCT-1", batches=[2])
    ticket.set(ticket.ids()[0], "ABNORMAL", log="No space left on device")
    with echoing(script, script._clock, CREDENTIALS) as played:
        yield played


@pytest.fixture
def captured():
    """Return what every logger writes, from debug on."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    log.setup("debug", "logfmt")
    root.handlers[0].setStream(stream)
    yield stream
    root.handlers, root.level = handlers, level


@pytest.fixture
def folder(tmp_path):
    for name, value in {"token": TOKEN, "password": PASSWORD, "security": SECURITY}.items():
        (tmp_path / name).write_text(value)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def written(api, auth):
    auth = AUTHS[auth]
    auth = auth % api.url if "%s" in auth else auth
    return CONFIG.format(url=api.url, host=api.host, auth=auth, token=TOKEN, proxy=quote(PROXY, safe=""))


def get(url, method="GET", user=""):
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers)) as answer:
            return f"{answer.headers}\n{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.headers}\n{error.read().decode()}"


PATHS = (
    "/metrics",
    "/config",
    "/",
    "/tickets/prod/SCT-1",
    "/tickets/proxied/SCT-1",
    "/api/v1/tickets",
    "/api/v1/tickets/prod/SCT-1",
    "/api/v1/tickets/proxied/SCT-1",
    "/-/ready",
)


@pytest.mark.parametrize("auth", AUTHS)
def test_no_secret_leaves_a_real_process(auth, api, folder):
    file = folder / "config.yaml"
    file.write_text(written(api, auth))
    environment = {**os.environ, "AK": AK, "SK": SK}
    flags = ("--log.level=debug", "--web.enable-lifecycle", "--web.listen-address=127.0.0.1:0")
    command = exporter("serve", f"--config.file={file}", f"--storage.path={folder / 'coc.db'}", *flags)
    places = {}
    with running(command, folder / "log", env=environment) as process:
        base = listening(process)
        until(lambda: get(f"{base}/metrics").count("\ncoc_up{") == 4, "the first poll")
        for name in ("an error", "a header that is none", "a refusal"):
            api.mode = MODES[name]
            before = api.asked
            until(lambda: api.asked > before + 2 or "held" in get(f"{base}/"), name)  # noqa: B023
            places |= {f"{path} ({name})": get(f"{base}{path}") for path in PATHS}
        file.write_text(written(api, auth).replace("interval: 1s", f"interval: {PASSWORD}").replace("[{", f"[{SK}, {{"))
        places["failed reload"] = get(f"{base}/-/reload", "POST")
        places |= {f"{path} (reload)": get(f"{base}{path}") for path in PATHS}
        process.popen.send_signal(signal.SIGHUP)
        proc = Path(f"/proc/{process.popen.pid}")
        places["process title"] = (proc / "cmdline").read_text() + (proc / "comm").read_text()
        places["threads"] = "".join(task.read_text() for task in proc.glob("task/*/comm"))
    places["log"] = process.text()
    for stored in folder.glob("coc.db*"):
        places[stored.name] = stored.read_bytes().decode("latin-1")
    assert "level=warn" in places["log"]
    assert any(value.startswith("Basic ") for value in api.wire), "the proxy was not asked"
    assert leaks(places, {*GIVEN, *api.wire} - {PASSWORD, SK}) == []
    # These two stand in the broken config as what they are not: no rule can know them there.
    assert leaks({name: text for name, text in places.items() if "reload" not in name}, {PASSWORD, SK}) == []


@pytest.mark.parametrize("auth", AUTHS)
def test_no_secret_is_told_through_any_failure(auth, api, folder, captured):
    """In one process: the simulator's faults one by one and every echo, all loggers at debug."""
    clock = FakeClock()
    api.clock = clock.time
    places = {}

    async def main():
        text = written(api, auth)
        made = Exporter(
            config.parse(text, folder=folder, environ={"AK": AK, "SK": SK}),
            Telemetry(process=False),
            clock,
            storage=Storage(folder / "coc.db"),
        )
        for name in [*MODES, *FAULTS]:
            api.mode = MODES.get(name)
            api.controls.reset()
            api.controls.set(**FAULTS.get(name, {}))
            clock.advance(90_000)
            await made.poller.once()
            for kind in Format:
                places[f"{kind} {name}"] = b"".join(await made.board.body(Variant(kind, Encoding.IDENTITY))).decode()
            places[f"states {name}"] = repr(made.board.current) + repr(made.config) + config.dump(made.config)
        await made.aclose()

    finish(main())
    places["log"] = captured.getvalue()
    places["storage"] = (folder / "coc.db").read_bytes().decode("latin-1")
    assert "reason=" in places["log"]
    assert leaks(places, {*GIVEN, *api.wire}) == []


def test_the_search_finds_what_it_looks_for():
    hidden = {
        "plain": f"x{TOKEN}y",
        "url": quote(TOKEN, safe=""),
        "form": quote_plus(PASSWORD),
        "basic": base64.b64encode(f"user:{PASSWORD}".encode()).decode(),
        "json": json.dumps({"k": SK}),
    }
    assert {place for place, _, _ in leaks(hidden, GIVEN)} == set(hidden)


def test_a_traceback_carries_no_locals(api, folder, captured, monkeypatch):
    """A bug of ours, with a secret in a variable beside it and in the exception itself."""

    async def bug(_self, _uuid):
        secret = TOKEN
        raise RuntimeError(secret)

    monkeypatch.setattr("exporter.api.client.Api.statistics", bug)

    async def main():
        made = Exporter(config.parse(written(api, "token"), folder=folder), Telemetry(process=False), FakeClock())
        await made.poller.once()
        await made.aclose()

    finish(main())
    assert "in bug" in captured.getvalue()
    assert leaks({"log": captured.getvalue()}, GIVEN) == []


@pytest.mark.parametrize("mode", [None, *WHOLE.values()], ids=["true answers", *WHOLE])
def test_a_recording_holds_no_secret(api, folder, mode):
    api.mode = mode
    file = folder / "config.yaml"
    file.write_text(written(api, "aksk"))
    subprocess.run(
        [sys.executable, "-m", "exporter", "once", f"--config.file={file}", f"--record={folder / 'record'}"],
        env={**os.environ, "AK": AK, "SK": SK},
        capture_output=True,
        check=False,
        timeout=60,
    )
    places = {path.name: path.read_text(errors="replace") for path in (folder / "record").rglob("*") if path.is_file()}
    assert places
    assert leaks(places, {*GIVEN, *api.wire}) == []


ODD = {
    "a line break inside": "Canary7first\r\nX-Forged: Canary7second",
    "no latin letter": "Canary7\u4e2d\u6587\u0416secret",
    "a control character": "Canary7\x01secret\x7f",
    "very long": "Canary7" + "x" * 60_000,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("auth", ["token", "password", "aksk"])
def test_a_secret_that_cannot_be_sent_is_not_told_either(auth, odd, api, folder, captured):
    for name in ("token", "password", "security"):
        (folder / name).write_text(odd)
    environ = {"AK": odd, "SK": odd}
    places = {}

    async def main():
        made = Exporter(
            config.parse(written(api, auth), folder=folder, environ=environ), Telemetry(process=False), FakeClock()
        )
        await made.poller.once()
        places["state"] = repr(made.board.current)
        await made.aclose()

    finish(main())
    places["log"] = captured.getvalue()
    assert "reason=" in places["log"]
    assert leaks(places, {*GIVEN, odd, "Canary7"}) == []


def test_a_password_of_our_own_surface_is_not_told(folder):
    """Neither the right one, nor a wrong one, nor one that stands in the file where its hash should."""
    right, wrong, plain = "Canary8right", "Canary8wrong", "Canary8plain"
    hashed = bcrypt.hashpw(right.encode(), bcrypt.gensalt(4)).decode()
    web = folder / "web.yaml"
    web.write_text(f"basic_auth_users: {{ops: '{hashed}'}}\n")
    flags = ("--web.listen-address=127.0.0.1:0", f"--web.config.file={web}", "--log.level=debug")
    places = {}
    with running(exporter("serve", "--demo", *flags), folder / "log") as process:
        base = listening(process)
        for password in (right, wrong):
            places |= {f"{path} ({password})": get(f"{base}{path}", user=f"ops:{password}") for path in PATHS}
        web.write_text(f"basic_auth_users: {{ops: '{plain}'}}\ntls_server_config: {{cert: {plain}, key: {plain}}}\n")
        places |= {f"{path} ({plain})": get(f"{base}{path}", user=f"ops:{right}") for path in PATHS}
        process.find("Web config has faults")
        places["log"] = process.text()
    refused = subprocess.run(exporter("serve", "--demo", *flags), capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    places["refusal"] = refused.stdout + refused.stderr
    assert "must be a bcrypt hash" in places["refusal"]
    assert leaks(places, {right, wrong, plain, hashed}) == []


def test_a_file_of_secrets_that_everybody_may_read_is_warned_of_once(api, folder):
    """By the check, at the start, and not again by a reload; the config itself too, where a secret stands in it."""
    (folder / "token").chmod(0o644)
    file = folder / "config.yaml"
    file.write_text(written(api, "token"))
    file.chmod(0o644)
    told = [f"may read {path}; chmod 600 would stop that" for path in (folder / "token", file, file, file)]
    checked = subprocess.run(exporter("check", f"--config.file={file}"), capture_output=True, text=True, check=True)
    assert re.findall(r"may read .+(?=\.\n)", checked.stderr) == told
    command = exporter("serve", f"--config.file={file}", "--web.listen-address=127.0.0.1:0")
    with running(command, folder / "log") as process:
        listening(process)
        for number in (1, 2):
            process.popen.send_signal(signal.SIGHUP)
            until(lambda: process.text().count("Config loaded again") == number, "a reload")  # noqa: B023
        assert re.findall(r"level=warn .*(may read .+)\.\"", process.text()) == told


def test_a_file_of_secrets_that_only_we_may_read_is_fine(api, folder):
    file = folder / "config.yaml"
    file.write_text(written(api, "token"))
    file.chmod(0o600)
    assert config.load(file).warnings == ()
