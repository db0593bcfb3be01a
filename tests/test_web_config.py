"""The web config file: exporter-toolkit's good and bad files mirrored, users, headers, rate and rereading."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from test_server_kit import Authority, running, site
from tools import ROOT, tool

from exporter.server import WebConfigError, WebConfigFile, basic_auth
from exporter.server.basic_auth import Passwords, credentials, stand_in
from exporter.server.rate_limit import Rate, TokenBucket, duration
from exporter.server.web_config import parse

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = Path(__file__).parent / "cases" / "web_config"
PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority, a server's certificate and a client's."""
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority.made(folder)
    authority.issue("server")
    authority.issue("client", client=True)
    key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    (folder / "encrypted.key").write_bytes(pem)
    return folder


def placed(case: Path, folder: Path) -> Path:
    """Write a case beside the certificates, with what it holds a place for."""
    content = case.read_text().replace("@HASH@", HASH)
    for name in re.findall(r"@([a-z.]+)@", content):
        content = content.replace(f"@{name}@", (folder / name).read_text().replace("\n", "\n    ").join(["    ", ""]))
    path = folder / case.name
    path.write_text(content)
    return path


@pytest.mark.parametrize("case", sorted(CASES.glob("*.good.yml")), ids=lambda case: case.name)
def test_good(case: Path, pki: Path) -> None:
    WebConfigFile(placed(case, pki))


@pytest.mark.parametrize("case", sorted(CASES.glob("*.bad.yml")), ids=lambda case: case.name)
def test_bad(case: Path, pki: Path) -> None:
    path = placed(case, pki)
    with pytest.raises(WebConfigError) as caught:
        WebConfigFile(path)
    expected = case.with_suffix(".txt").read_text().replace("@DIR@", str(pki)).splitlines()
    patterns = [re.escape(f"{path}{line}").replace("@ANY@", ".*") for line in expected]
    found = str(caught.value).splitlines()
    assert len(found) == len(patterns)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, found, strict=True)), found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WebConfigError, match="cannot be read: No such file"):
        WebConfigFile(tmp_path / "web.yml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(WebConfigError, match="not UTF-8"):
        WebConfigFile(tmp_path / "web.yml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text("#" * 1024 * 1025)
    with pytest.raises(WebConfigError, match="larger than 1 MiB"):
        WebConfigFile(tmp_path / "web.yml")


def test_no_secret_is_shown(pki: Path) -> None:
    """Neither a fault nor a repr quotes a key or a hash."""
    config = WebConfigFile(placed(CASES / "tls_inline.good.yml", pki)).current
    users = parse(f"basic_auth_users: {{alice: {HASH}}}", "web.yml", pki)
    assert "PRIVATE" not in repr(config)
    assert HASH not in repr(users)
    with pytest.raises(WebConfigError) as caught:
        parse("tls_server_config: {key: 'canary\n  canary", "web.yml", pki)
    assert "canary" not in str(caught.value)


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda some: some.decode("latin-1")))
def test_any_text_is_a_config_or_a_fault(content: str) -> None:
    with suppress(WebConfigError):
        parse(content, "web.yml", Path())


KEYS = st.sampled_from(["tls_server_config", "cert", "client_auth_type", "headers", "burst", "alice", "interval", "?"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(TREES)
def test_any_yaml_is_a_config_or_a_fault(tree: object) -> None:
    with suppress(WebConfigError):
        parse(yaml.safe_dump(tree), "web.yml", Path())


@pytest.mark.parametrize("content", ["[" * 400, "&a [*a]", "a: &a {b: *a}", "\x00"])
def test_yaml_that_means_harm(content: str) -> None:
    with pytest.raises(WebConfigError):
        parse(content, "web.yml", Path())


EXAMPLE = (ROOT / "docs" / "web.md").read_text().partition("```yaml\n")[2].partition("```")[0]


def test_promtool_agrees_on_what_is_good(pki: Path) -> None:
    shutil.copy(pki / "ca.crt", pki / "clients-ca.crt")
    (pki / "documented.yml").write_text(EXAMPLE)
    files = [placed(case, pki) for case in sorted(CASES.glob("*.good.yml"))]
    done = subprocess.run(
        [tool("promtool"), "check", "web-config", *files, pki / "documented.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" SUCCESS") == len(files) + 1


def test_the_documented_example_is_good(pki: Path) -> None:
    config = parse(EXAMPLE, "web.yml", pki)
    assert config.tls is not None
    assert config.users
    assert config.rate == Rate(0.01, 100)


# Basic auth


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def web_file(folder: Path, content: str) -> WebConfigFile:
    path = folder / "web.yml"
    path.write_text(content)
    return WebConfigFile(path)


USERS = f"basic_auth_users:\n  alice: {HASH}\n"
PATHS = ("/", "/metrics", "/config", "/-/healthy", "/-/ready", "/-/reload", "/nowhere", "/api/v1/openapi.json")


def test_every_path_asks_for_credentials(tmp_path: Path) -> None:
    web = web_file(tmp_path, USERS)
    with running(web_config=web) as server, server.client() as client:
        for path in PATHS:
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Basic")
        assert client.get("/metrics", headers=basic("alice", PASSWORD)).status_code == 200
        assert client.get("/nowhere", headers=basic("alice", PASSWORD)).status_code == 404


WRONG = {
    "a wrong password": basic("alice", "wrong"),
    "an unknown name": basic("mallory", PASSWORD),
    "no name": basic("", PASSWORD),
    "a password over 72 bytes": basic("alice", PASSWORD + "x" * 72),
    "a zero byte": basic("alice", "a\0b"),
    "no colon": {"Authorization": "Basic " + base64.b64encode(b"alice").decode()},
    "no base64": {"Authorization": "Basic !!!"},
    "another scheme": {"Authorization": "Bearer abc"},
    "nothing": {"Authorization": ""},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_wrong_credentials_are_401(tmp_path: Path, headers: dict[str, str]) -> None:
    with running(web_config=web_file(tmp_path, USERS)) as server, server.client() as client:
        assert client.get("/metrics", headers=headers).status_code == 401


def test_two_authorization_headers_are_401(tmp_path: Path) -> None:
    header = f"Authorization: {basic('alice', PASSWORD)['Authorization']}\r\n"
    with running(web_config=web_file(tmp_path, USERS)) as server:
        request = f"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}{header}\r\n"
        assert server.tell(request.encode()).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("version", ["$2a$", "$2b$", "$2y$"])
def test_hashes_of_every_writer(tmp_path: Path, version: str) -> None:
    web = web_file(tmp_path, USERS.replace("$2b$", version))
    with running(web_config=web) as server, server.client() as client:
        assert client.get("/metrics", headers=basic("alice", PASSWORD)).status_code == 200


def test_a_hash_is_computed_once_and_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, running_now, most = [], [0], [0]
    matches: Callable[[bytes, bytes], bool] = basic_auth._matches

    def counted(password: bytes, hashed: bytes) -> bool:
        assert threading.current_thread() is not threading.main_thread()
        running_now[0] += 1
        most[0] = max(most[0], running_now[0])
        calls.append(hashed)
        verdict = matches(password, hashed)
        running_now[0] -= 1
        return verdict

    monkeypatch.setattr(basic_auth, "_matches", counted)
    with running(web_config=web_file(tmp_path, USERS)) as server, server.client() as client:
        for _ in range(3):
            assert client.get("/metrics", headers=basic("alice", PASSWORD)).status_code == 200
        threads = [threading.Thread(target=server.tell, args=(request(f"no {n}"),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(calls) == 9
    assert most == [1]


def request(password: str) -> bytes:
    header = basic("mallory", password)["Authorization"]
    return f"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {header}\r\n\r\n".encode()


def test_what_bcrypt_refuses_is_wrong() -> None:
    assert not basic_auth._matches(b"x" * 100, HASH.encode())
    assert not basic_auth._matches(PASSWORD.encode(), b"no hash")


async def _at_once(number: int) -> list[bool]:
    passwords = Passwords()
    header = basic("alice", PASSWORD)["Authorization"].encode()
    return await asyncio.gather(*(passwords.accept({b"alice": HASH.encode()}, header) for _ in range(number)))


def test_scrapers_that_come_at_once_share_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def matches(_password: bytes, hashed: bytes) -> bool:
        calls.append(hashed)
        return True

    monkeypatch.setattr(basic_auth, "_matches", matches)
    assert asyncio.run(_at_once(20)) == [True] * 20
    assert calls == [HASH.encode()]


def test_an_unknown_name_costs_as_much_as_the_dearest() -> None:
    users = {b"a": HASH.encode(), b"b": b"$2b$11$" + HASH.encode()[7:]}
    assert stand_in(users).startswith(b"$2b$11$")
    assert basic_auth.HASH.fullmatch(stand_in(users).decode())
    assert not bcrypt.checkpw(b"anything", stand_in({b"a": HASH.encode()}))


async def _remembered(number: int) -> int:
    passwords = Passwords()
    for index in range(number):
        encoded = base64.b64encode(f"u{index}:p".encode())
        assert not await passwords.accept({b"alice": HASH.encode()}, b"Basic " + encoded)
    return sum(map(len, passwords._verdicts.values()))


def test_only_a_hundred_verdicts_are_remembered() -> None:
    assert asyncio.run(_remembered(110)) == 100


async def _guessed(number: int) -> list[bool]:
    passwords = Passwords()
    users = {b"alice": HASH.encode()}
    right = basic("alice", PASSWORD)["Authorization"].encode()
    verdicts = [await passwords.accept(users, right)]
    for index in range(number):
        await passwords.accept(users, basic("alice", str(index))["Authorization"].encode())
    return [*verdicts, await passwords.accept(users, right)]


def test_guessing_does_not_make_a_scraper_pay_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def matches(password: bytes, _hashed: bytes) -> bool:
        calls.append(password)
        return password == PASSWORD.encode()

    monkeypatch.setattr(basic_auth, "_matches", matches)
    assert asyncio.run(_guessed(150)) == [True, True]
    assert calls.count(PASSWORD.encode()) == 1


@given(st.binary(max_size=60))
def test_any_header_is_credentials_or_none(header: bytes) -> None:
    for value in (header, b"Basic " + header, b"basic  " + base64.b64encode(header)):
        name, password = credentials(value)
        assert name is None or isinstance(password, bytes)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["file"] for record in caplog.records if "every user" in record.message.lower()]


def test_files_of_secrets_that_everybody_may_read_are_warned_of_once(
    tmp_path: Path, pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    web = tmp_path / "web.yml"
    key = tmp_path / "server.key"
    key.write_bytes((pki / "server.key").read_bytes())
    web.write_text(f"tls_server_config: {{cert_file: {pki}/server.crt, key_file: server.key}}\n{USERS}")
    for path in (web, key):
        path.chmod(0o600)
    file = WebConfigFile(web)
    assert warned(caplog) == []
    for path in (web, key):
        path.chmod(0o644)
    for number in range(3):
        web.write_text(web.read_text() + f"# changed {number}\n")
        file.fresh()
    assert sorted(warned(caplog)) == [str(key), str(web)]


# Headers, rate limit, rereading


def test_the_operators_headers_go_on_everything(tmp_path: Path) -> None:
    web = web_file(tmp_path, (CASES / "headers.good.yml").read_text() + USERS)
    with running(web_config=web) as server, server.client() as client:
        for answer in (client.get("/"), client.get("/", headers=basic("alice", PASSWORD))):
            assert answer.headers["content-security-policy"] == "default-src 'self'"
            assert answer.headers.get_list("x-frame-options") == ["deny"]
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"


def test_the_rate_limit_answers_429(tmp_path: Path) -> None:
    web = web_file(tmp_path, "rate_limit: {interval: 1h, burst: 2}")
    with running(web_config=web) as server, server.client() as client:
        assert [client.get("/-/healthy").status_code for _ in range(4)] == [200, 200, 429, 429]


def test_tokens_come_back_with_time() -> None:
    bucket, rate = TokenBucket(), Rate(2.0, 2)
    assert [bucket.allows(rate, 0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.allows(rate, moment) for moment in (1.0, 2.0, 2.0, 100.0, 100.0, 100.0)] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    assert bucket.allows(Rate(1.0, 1), 100.0)
    assert all(bucket.allows(Rate(), 100.0) for _ in range(9))


DURATIONS = {"0": 0, "1s": 1, "1m30s": 90, "100ms": 0.1, "1.5h": 5400, "10us": 1e-5, "0s": 0}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1d", "-1s", "1s ", "1 s", "0x1s", "1e3s", "٣s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration with its unit"):
        duration(text)


def replaced(path: Path, content: str) -> None:
    """Put new content in a file's place, as an editor or a mounted secret does."""
    new = path.with_suffix(".new")
    new.write_text(content)
    os.replace(new, path)  # noqa: PTH105  the same on a path


def test_users_change_without_restart(tmp_path: Path) -> None:
    web = web_file(tmp_path, "")
    with running(web_config=web) as server, server.client() as client:
        assert client.get("/metrics").status_code == 200
        replaced(tmp_path / "web.yml", USERS)
        assert client.get("/metrics").status_code == 401
        replaced(tmp_path / "web.yml", USERS.replace("alice", "bob"))
        assert client.get("/metrics", headers=basic("alice", PASSWORD)).status_code == 401
        assert client.get("/metrics", headers=basic("bob", PASSWORD)).status_code == 200


def test_a_broken_file_changes_nothing_and_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    web = web_file(tmp_path, USERS)
    for content in ("basic_auth_users: {alice: open}", "tls_server_config: {cert: a, key: b}"):
        caplog.clear()
        replaced(tmp_path / "web.yml", content)
        for _ in range(3):
            assert web.fresh().users
        assert len(caplog.records) == 1
        assert caplog.records[0].levelname == "ERROR"
    (tmp_path / "web.yml").unlink()
    assert web.fresh().users


def test_tls_is_turned_on_by_a_restart_only(pki: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    web = web_file(tmp_path, "")
    content = (CASES / "tls.good.yml").read_text().replace("server.", f"{pki}/server.")
    replaced(tmp_path / "web.yml", content)
    assert web.fresh().tls is None
    assert "TLS is turned on or off by a restart only" in str(caplog.records[0].__dict__["err"])


def test_nothing_is_begun_without_credentials(tmp_path: Path) -> None:
    called = []

    def config_text() -> str:
        called.append(1)
        return ""

    shown = site(config_text=config_text)
    with running(shown, web_config=web_file(tmp_path, USERS)) as server, server.client() as client:
        client.get("/config")
        assert called == []
        client.get("/config", headers=basic("alice", PASSWORD))
    assert called == [1]
