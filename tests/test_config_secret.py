"""Secrets: read when they are asked for, and never shown."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest

from exporter.config import ConfigError, Secret, parse
from exporter.config.secret import FileSecret
from exporter.errors import SecretUnreadable

CANARY = "CANARY-7f3a"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{CANARY}\n")
    return path


def replace(path: Path, text: str) -> None:
    """Put another file in its place, as rotation does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.mark.parametrize("in_file", [False, True])
def test_a_secret_masks_itself(file: Path, in_file: bool) -> None:
    secret = FileSecret(file) if in_file else Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret, json.dumps(secret, default=str)]  # noqa: UP031  each way is the test
    assert all("<secret>" in text and CANARY not in text for text in shown)
    assert secret.read() == CANARY


def test_a_secret_does_not_travel_in_a_pickle() -> None:
    assert CANARY.encode() not in pickle.dumps(Secret(CANARY))
    assert pickle.loads(pickle.dumps(Secret(CANARY))).read() == "<secret>"  # noqa: S301  our own bytes


def test_a_copy_is_the_same_secret(file: Path) -> None:
    secret = FileSecret(file)
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


def test_secrets_are_equal_by_value_and_by_file(file: Path) -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert FileSecret(file) == FileSecret(file)
    assert len({Secret("a"), Secret("a"), FileSecret(file), FileSecret(file)}) == 2
    assert Secret(CANARY) != FileSecret(file)


def test_a_replaced_file_is_read_again(file: Path) -> None:
    secret = FileSecret(file)
    replace(file, "another\r\n")
    assert secret.read() == "another"


def test_a_file_written_over_is_read_again(file: Path) -> None:
    secret = FileSecret(file)
    file.write_text("CANARY-0000\n")
    os.utime(file, ns=(1, 1))
    assert secret.read() == "CANARY-0000"


def test_an_unchanged_file_is_not_read_again(file: Path) -> None:
    secret = FileSecret(file)
    before = file.stat()
    file.write_text("X" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert secret.read() == CANARY


def test_a_file_that_goes_and_comes_back(file: Path) -> None:
    secret = FileSecret(file)
    file.unlink()
    with pytest.raises(SecretUnreadable) as caught:
        secret.read()
    assert str(caught.value) == f"The secret file {file} does not exist. Put the secret back; the next poll reads it."
    file.write_text("back")
    assert secret.read() == "back"


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"\n", "is empty"), (b"\xff" + CANARY.encode(), "is not UTF-8"), (b"x" * 70_000, "is larger than 64 KiB")],
)
def test_a_file_that_turns_bad_is_told(file: Path, content: bytes, why: str) -> None:
    secret = FileSecret(file)
    file.write_bytes(content)
    with pytest.raises(SecretUnreadable, match=why) as caught:
        secret.read()
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_pipe_does_not_hang_the_poll(file: Path) -> None:
    secret = FileSecret(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SecretUnreadable, match="is no plain file"):
        secret.read()


def test_a_file_without_permission_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    secret = FileSecret(file)
    replace(file, "another")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SecretUnreadable, match="may not be read by this user"):
        secret.read()


def test_a_vanished_file_is_not_readable_by_the_world(file: Path) -> None:
    secret = FileSecret(file)
    file.unlink()
    assert secret.world_readable is None


def test_each_secret_has_three_ways(file: Path) -> None:
    keys = "access_key: AK, secret_key_env: SK, security_token_file: token"
    text = f"accounts: [{{name: a, region: cn-north-4, auth: {{aksk: {{{keys}}}}}, discovery: {{}}}}]"
    aksk = parse(text, folder=file.parent, environ={"SK": "sk\n"}).accounts[0].auth.aksk
    assert aksk is not None
    assert aksk.security_token is not None
    assert [aksk.access_key.read(), aksk.secret_key.read(), aksk.security_token.read()] == ["AK", "sk", CANARY]


def test_an_error_carries_no_trace_of_what_it_refused() -> None:
    text = f"accounts: [{{name: a, auth: {{token: {{token: [{CANARY}]}}}}}}]"
    with pytest.raises(ConfigError) as caught:
        parse(text, environ={})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
