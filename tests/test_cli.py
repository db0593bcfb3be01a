"""The command line, run as a user runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from tools import ROOT, exporter, listening, running, tool, until

from exporter import __version__, simulator
from exporter.cli import with_command

CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token_file: token}}}}
    tickets: [{{execute_uuid: SCT-one}}]
poll: {{interval: 1s, request_timeout: 2s, stale_after: 3s, max_attempts: 1}}
"""
TEN_FAULTS = """\
accounts:
  - name: prod
    region: mars-1
    auth: {token: {token: x}, ecs_metadata: {}}
    tickets:
      - execute_uuid: a/b
      - execute_uuid: ..
      - execute_uuid: AAAAAAAAAAAAAAAAAAAAAAAAAAA
      - execute_uuid: fine
        nmae: typo
poll: {interval: 30, concurrency: none, page_limit: 0}
metrics: {duration_buckets: [5, 1]}
"""


def run(*arguments, **extra):
    return subprocess.run(exporter(*arguments), capture_output=True, text=True, check=False, timeout=60, **extra)


@pytest.fixture
def world():
    script = simulator.Script()
    ticket = script.ticket("SCT-one", batches=[3])
    ticket.set(ticket.ids()[0], "ABNORMAL", log="No space left on device")
    return script


@pytest.fixture
def api(world):
    app = simulator.build(world=world)
    with simulator.running(app) as url:
        yield app, url


@pytest.fixture
def config(api, tmp_path):
    _, url = api
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.format(url=url))
    (tmp_path / "token").write_text("demo-token\n")
    (tmp_path / "token").chmod(0o600)
    return file


def get(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_serve_is_the_default_command():
    assert with_command(["--demo"]) == ["serve", "--demo"]
    assert with_command([]) == ["serve"]
    assert with_command(["check", "--live"]) == ["check", "--live"]
    assert with_command(["--version"]) == ["--version"]


def test_version_tells_name_and_version():
    done = run("--version")
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["coc-exporter", __version__])


def test_the_installed_command_is_the_same():
    command = f"{os.path.dirname(sys.executable)}/coc-exporter"  # noqa: PTH120  beside this interpreter
    assert subprocess.check_output([command, "--version"], text=True).split()[1] == __version__


def test_wrong_usage_exits_2():
    assert run("serve", "--no-such-flag").returncode == 2


def test_nothing_to_serve_is_one_sentence_and_exit_1():
    done = run("serve")
    assert done.returncode == 1
    assert "give --config.file=FILE, or --demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_ten_faults_are_told_at_once_each_with_its_line(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(TEN_FAULTS)
    done = run("check", f"--config.file={file}")
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert len(lines) == 10
    assert all(line.startswith(f"{file}:") for line in lines)
    assert any(":10: accounts[0].tickets[3].nmae: is no key here" in line or "nmae" in line for line in lines)


def test_a_missing_config_file_is_one_line(tmp_path):
    done = run("serve", f"--config.file={tmp_path / 'none.yaml'}")
    assert (done.returncode, len([line for line in done.stderr.splitlines() if "level=" not in line])) == (1, 1)
    assert "does not exist" in done.stderr


def test_a_port_in_use_is_one_line_and_exit_1(config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", f"--config.file={config}", f"--web.listen-address={address}")
    assert done.returncode == 1
    assert f"coc-exporter: cannot listen on {address}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [None, "", "\n"], ids=["missing", "empty", "only a newline"])
def test_a_token_file_that_holds_nothing_is_a_fault_of_the_config(config, content):
    token = config.with_name("token")
    token.unlink()
    if content is not None:
        token.write_text(content)
    done = run("check", f"--config.file={config}")
    assert done.returncode == 1
    assert ":5: accounts[0].auth.token.token_file" in done.stderr


def test_check_tells_the_plan_of_a_valid_config(config):
    done = run("check", f"--config.file={config}")
    assert done.returncode == 0, done.stderr
    assert "account prod: at most 1 tickets, token sign-in" in done.stdout
    assert f"{config}: is valid" in done.stdout


def test_check_live_tells_what_works(config):
    done = run("check", f"--config.file={config}", "--live")
    assert done.returncode == 0, done.stderr
    assert "read SCT-one" in done.stdout
    assert done.stdout.count("  ok\n") == 2


def test_check_live_exits_1_when_something_is_refused(config):
    config.with_name("token").write_text("wrong")
    done = run("check", f"--config.file={config}", "--live")
    assert done.returncode == 1
    assert "not everything works" in done.stdout
    assert "wrong" not in done.stdout + done.stderr


def test_once_prints_the_exposition(config):
    done = run("once", f"--config.file={config}")
    assert done.returncode == 0, done.stderr
    assert 'coc_instances{account="prod",batch="1",execute_uuid="SCT-one",status="ABNORMAL"} 1.0' in done.stdout


def test_once_prints_a_table(config):
    done = run("once", f"--config.file={config}", "--format=table")
    head, row = done.stdout.splitlines()
    assert head.split()[:4] == ["ACCOUNT", "TICKET", "NAME", "STATUS"]
    assert row.split()[:2] == ["prod", "SCT-one"]


def test_once_replaces_its_file(config, tmp_path):
    output = tmp_path / "coc.prom"
    output.write_text("old")
    done = run("once", f"--config.file={config}", f"--output={output}")
    assert (done.returncode, done.stdout) == (0, "")
    assert "coc_ticket_up" in output.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coc.prom", "config.yaml", "token"]


def test_once_exits_1_when_a_ticket_cannot_be_read(config, world):
    world.remove("SCT-one")
    done = run("once", f"--config.file={config}")
    assert done.returncode == 1
    assert 'coc_ticket_up{account="prod",execute_uuid="SCT-one"} 0.0' in done.stdout


@pytest.mark.parametrize("state", ["full", "empty", "failed"])
def test_promtool_finds_nothing_to_say_of_an_exposition(state, config, api, world):
    app, _ = api
    if state == "empty":
        world.ticket("SCT-one")
    if state == "failed":
        app.state.controls.set(api_down="503")
    text = run("once", f"--config.file={config}").stdout
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert "coc_exporter_build_info" in text
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_demo_shows_instances_and_tells_where_to_look(tmp_path):
    with running(exporter("serve", "--demo", "--web.listen-address=127.0.0.1:0"), tmp_path / "log") as process:
        base = listening(process)
        assert f"metrics:           {base}/metrics" in process.text()
        until(lambda: "coc_instances{" in get(f"{base}/metrics")[1], "instances")
        until(lambda: get(f"{base}/-/ready")[0] == 200, "ready")
        assert get(f"{base}/")[0] == 200


@pytest.mark.parametrize("sign_in", ["token", "password", "aksk", "ecs_metadata"])
def test_each_kind_of_sign_in_carries_the_demo(sign_in, tmp_path):
    command = exporter("serve", f"--demo={sign_in}", "--web.listen-address=127.0.0.1:0")
    with running(command, tmp_path / "log") as process:
        base = listening(process)
        until(lambda: 'coc_up{account="demo"} 1.0' in get(f"{base}/metrics")[1], "sign-in")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(number, tmp_path):
    with running(exporter("serve", "--demo", "--web.listen-address=127.0.0.1:0"), tmp_path / "log") as process:
        listening(process)
        process.popen.send_signal(number)
        assert process.popen.wait(10) == 0
        assert "Traceback" not in process.text()


def test_metrics_answers_200_and_keeps_the_counts_while_the_api_fails(config, api, tmp_path):
    app, _ = api
    shown = 'coc_instances{account="prod",batch="1",execute_uuid="SCT-one",status="ABNORMAL"} 1.0'
    down = 'coc_ticket_up{account="prod",execute_uuid="SCT-one"} 0.0'
    command = exporter("serve", f"--config.file={config}", "--web.listen-address=127.0.0.1:0")
    with running(command, tmp_path / "log") as process:
        base = listening(process)
        until(lambda: shown in get(f"{base}/metrics")[1], "the first poll")
        app.state.controls.set(api_down="503")
        status, text = until(lambda: (answer := get(f"{base}/metrics"))[1].count(down) and answer, "the failure")
        assert status == 200
        assert shown in text
        _, text = until(
            lambda: (answer := get(f"{base}/metrics"))[1].count(shown) == 0 and answer, "stale data to vanish"
        )
        assert down in text
        app.state.controls.reset()
        until(lambda: shown in get(f"{base}/metrics")[1], "recovery")


def test_the_example_config_is_valid():
    environment = {
        "COC_PASSWORD": "x",
        "HUAWEICLOUD_SDK_AK": "x",
        "HUAWEICLOUD_SDK_SK": "x",
        "PATH": os.environ["PATH"],
    }
    example = ROOT / "config.example.yaml"
    done = run("check", f"--config.file={example}", env=environment)
    assert "is valid" in done.stdout or "token_file" in done.stderr
