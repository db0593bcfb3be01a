"""Whatever the text, the answer is a Config or a ConfigError, and no secret is in it."""

import contextlib
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Config, ConfigError, dump, load, parse
from exporter.config.explain import known_keys

UNHURRIED = settings(deadline=None)
MANY = settings(deadline=None, max_examples=300)

CANARY = "CANARY7f3aCANARY"
ENVIRON = {"CANARY": CANARY}

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("1h"), st.just("CANARY")
)
KEYS = sorted(
    {key for loc in ((), ("accounts", 0), ("poll",), ("metrics",), ("accounts", 0, "auth")) for key in known_keys(loc)}
    | {key for kind in known_keys(("accounts", 0, "auth")) for key in known_keys(("accounts", 0, "auth", kind))}
    | {"execute_uuid", "labels", "batches", "[key]", "max_tickets", "name_regex"}
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=5),
    max_leaves=20,
)
# Places where an operator may put a secret, rightly or wrongly.
SPOTS = (
    '{{token: {{token: "{0}"}}}}',
    "{{token: {{token: {0}}}}}",
    "{{token: {{token: [{0}]}}}}",
    "{{token: {{token: {{{0}: {0}}}}}}}",
    "{{token: {{{0}}}}}",
    "{{token: {0}}}",
    "{{{0}}}",
    "{0}",
    "{{token: {{token_file: {0}}}}}",
    "{{token: {{token_env: {0}}}}}",
    "{{token: {{token_evn: {0}}}}}",
    "{{token: {{token: *{0}}}}}",
    "{{token: {{token: !{0} x}}}}",
    "{{token: {{token: !!{0} x}}}}",
    "{{token: {{token: %{0}}}}}",
    '{{token: {{token: "{0}}}}}',
    "{{token: {{token: x, token: {0}}}}}",
    "{{token: {{token: {0}, token_env: CANARY}}}}",
    "{{token: {{token_env: CANARY}}}}",
    "{{password: {{domain: d, username: u, password: {0}}}}}",
    "{{password: {{domain: [{0}], username: u, password: {0}, project: p}}}}",
    "{{aksk: {{access_key: {0}, secret_key: {0}, security_token: {0}}}}}",
    "{{aksk: {{access_key: {0}, secret_keys: {0}}}}}",
)


def tried(text: str, **extra: Any) -> Config | ConfigError:
    try:
        return parse(text, environ=ENVIRON, **extra)
    except ConfigError as error:
        return error


@UNHURRIED
@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    tried(text)


@UNHURRIED
@given(st.text(alphabet="abx:-[]{}#&*!|>'\"%@`,?<= \n\t01.\\~"))
def test_any_text_of_yaml_s_own_characters_is_answered(text: str) -> None:
    tried(text)


@UNHURRIED
@given(st.binary(max_size=200))
def test_any_file_is_answered(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ConfigError):
        path = Path(folder) / "config.yaml"
        path.write_bytes(raw)
        load(path, ENVIRON)


@MANY
@given(VALUES)
def test_any_document_is_answered_in_lines(value: object) -> None:
    outcome = tried(yaml.safe_dump(value))
    if isinstance(outcome, ConfigError):
        assert outcome.faults
        assert str(outcome).splitlines() == [fault.text("config.yaml") for fault in outcome.faults]
        assert all(len(line) < 600 for line in str(outcome).splitlines())


@MANY
@given(st.sampled_from(SPOTS), st.sampled_from(["region: cn-north-4", "region: 5", "tickets: [x]", "auth: x"]))
def test_no_misplaced_secret_is_ever_shown(spot: str, other: str) -> None:
    outcome = tried(f"accounts:\n  - name: a\n    auth: {spot.format(CANARY)}\n    discovery: {{}}\n    {other}\n")
    assert CANARY not in everything_shown(outcome)


@pytest.mark.parametrize("number", ["47114711", "4711.4711", "0x47114711", "2047-11-47", "471147114711" * 400])
def test_a_secret_that_looks_like_a_number_is_not_shown(number: str) -> None:
    text = f"accounts: [{{name: a, region: cn-north-4, auth: {{token: {{token: {number}}}}}, discovery: {{}}}}]"
    outcome = tried(text)
    assert "47" not in everything_shown(outcome)
    assert str(int("47114711", 16)) not in everything_shown(outcome)


@UNHURRIED
@given(st.text(alphabet="abcxyz0189!$&*:@/%#?[]{}'\"\\ \t", min_size=4, max_size=12).filter(str.strip))
def test_a_secret_of_any_characters_is_kept_and_masked(secret: str) -> None:
    quoted = yaml.safe_dump(f"CANARY{secret}", default_style='"', width=1000).strip()
    outcome = tried(
        f"accounts: [{{name: a, region: cn-north-4, auth: {{token: {{token: {quoted}}}}}, discovery: {{}}}}]"
    )
    assert isinstance(outcome, Config)
    token = outcome.accounts[0].auth.token
    assert token is not None
    assert token.token.read() == f"CANARY{secret}"
    assert "CANARY" not in everything_shown(outcome)


def everything_shown(outcome: Config | ConfigError) -> str:
    if isinstance(outcome, ConfigError):
        trace = traceback.format_exception(outcome)
        return "".join([str(outcome), repr(outcome), repr(outcome.faults), trace[-1]])
    return "".join([repr(outcome), str(outcome), dump(outcome), outcome.model_dump_json(), repr(outcome.model_dump())])
