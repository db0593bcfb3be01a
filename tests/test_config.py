"""The config as it is used: what a good file gives, what is shown of it, and how its parts meet."""

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from exporter.config import (
    Account,
    Auth,
    Config,
    ConfigError,
    Fault,
    Metrics,
    Poll,
    Secret,
    Tls,
    TokenSignIn,
    Web,
    dump,
    durations,
    explain,
    load,
    parse,
    urls,
)

HEAD = "accounts:\n  - name: prod\n    region: cn-north-4\n    auth: {ecs_metadata: {}}\n    discovery: {}\n"


def account(lines: str, auth: str = "ecs_metadata: {}") -> str:
    return f"accounts:\n  - name: prod\n    auth: {{{auth}}}\n    discovery: {{}}\n    {lines}\n"


def faults(text: str, **extra: Any) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, environ={}, **extra)
    return caught.value.faults


def test_little_is_needed_and_the_rest_has_defaults() -> None:
    config = parse(HEAD, environ={})
    assert config.accounts[0].api_url == "https://coc.myhuaweicloud.com"
    assert config.accounts[0].iam_url == "https://iam.cn-north-4.myhuaweicloud.com"
    assert config.accounts[0].auth.kind == "ecs_metadata"
    assert config.accounts[0].tickets == ()
    assert (config.poll, config.metrics, config.web) == (Poll(), Metrics(), Web())
    assert config.failure_reasons == ()
    assert config.warnings == ()


def test_everything_is_read_as_it_is_written() -> None:
    config = parse(
        """
        accounts:
          - name: prod
            endpoint: https://COC.example.com:8443/
            auth: {ecs_metadata: }
            tickets:
              - {execute_uuid: SCT_1-a, name: 2026-01-02, labels: {team: web, on: call}, batches: [2, 1]}
            discovery: {created_within: 1d12h, status: [ABNORMAL], name_regex: "^nightly-"}
        poll: {interval: 1m30s, stale_after: 1h, keep_finished: 0, requests_per_second: 0.5}
        metrics: {duration_buckets: [0.5, 10]}
        failure_reasons: [{reason: disk_full, pattern: No space}]
        """,
        environ={},
    )
    [prod] = config.accounts
    [ticket] = prod.tickets
    assert prod.api_url == "https://COC.example.com:8443"
    assert prod.iam_url == ""
    assert (ticket.name, ticket.labels, ticket.batches) == ("2026-01-02", {"team": "web", "on": "call"}, (2, 1))
    assert prod.discovery is not None
    assert (prod.discovery.created_within, prod.discovery.max_tickets) == (129_600.0, 500)
    assert (config.poll.interval, config.poll.stale_after, config.poll.keep_finished) == (90.0, 3600.0, 0.0)
    assert config.metrics.duration_buckets == (0.5, 10.0)
    assert config.failure_reasons[0].reason == "disk_full"


def test_the_endpoint_goes_before_the_region() -> None:
    text = account("region: eu-west-101\n    endpoint: http://localhost:1\n    iam_endpoint: http://127.0.0.1:2")
    [prod] = parse(text, environ={}).accounts
    assert (prod.api_url, prod.iam_url) == ("http://localhost:1", "http://127.0.0.1:2")


def test_sections_can_be_shared_by_alias_and_merge() -> None:
    config = parse(
        """
        accounts:
          - &first {name: a, region: cn-north-4, auth: {ecs_metadata: {}}, discovery: {max_tickets: 7}}
          - {<<: *first, name: b}
          - {name: c, <<: [{region: eu-west-101}, *first]}
        """,
        environ={},
    )
    assert [account.name for account in config.accounts] == ["a", "b", "c"]
    assert [account.region for account in config.accounts] == ["cn-north-4", "cn-north-4", "eu-west-101"]


def test_a_config_is_frozen() -> None:
    config = parse(HEAD, environ={})
    with pytest.raises(ValidationError):
        setattr(config.poll, "interval", 1.0)  # noqa: B010  a plain assignment is refused by mypy already


def test_two_loads_of_the_same_text_are_equal(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("CANARY")
    for secret in ("token: CANARY", "token_env: T", "token_file: token"):
        text = account("region: cn-north-4", f"token: {{{secret}}}")
        assert parse(text, folder=tmp_path, environ={"T": "x"}) == parse(text, folder=tmp_path, environ={"T": "x"})


def test_a_changed_variable_makes_another_config() -> None:
    text = account("region: cn-north-4", "token: {token_env: T}")
    assert parse(text, environ={"T": "x"}) != parse(text, environ={"T": "y"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("500ms", 0.5),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("1d", 86_400.0),
        ("1w", 604_800.0),
        ("1y", 31_536_000.0),
        ("1d2h3m4s5ms", 93_784.005),
        ("", None),
        ("1", None),
        ("1.5h", None),
        ("-1s", None),
        ("30m1h", None),
        ("1h 30m", None),
        ("1S", None),
        ("٣s", None),
    ],
)
def test_durations_are_those_of_prometheus(text: str, seconds: float | None) -> None:
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize("text", ["0s", "500ms", "1m30s", "5m", "1h", "1d", "30d", "1d2h3m4s5ms"])
def test_a_duration_is_written_as_it_was_read(text: str) -> None:
    assert durations.written(durations.seconds(text) or 0.0) == text


def test_a_failure_pattern_is_judged_by_who_matches_it() -> None:
    text = HEAD + 'failure_reasons:\n  - {reason: a, pattern: "x"}\n  - {reason: b, pattern: "(?=x)"}\n'
    [fault] = faults(text, check_pattern=lambda pattern: "has look-around" if "?=" in pattern else None)
    assert fault == Fault(8, "failure_reasons[1].pattern", "has look-around")


def test_too_many_failure_reasons_are_refused() -> None:
    rules = "".join(f"  - {{reason: r{index}, pattern: x}}\n" for index in range(51))
    [fault] = faults(HEAD + "failure_reasons:\n" + rules)
    assert fault == Fault(6, "failure_reasons", "has too many items, accepted are at most 50")


@pytest.mark.parametrize("url", ["http://localhost", "http://127.9.9.9:1", "http://[::1]", "https://[2001:db8::1]:1"])
def test_addresses_that_credentials_may_be_sent_to(url: str) -> None:
    assert urls.endpoint(url) == url


@pytest.mark.parametrize("url", ["http://localhost.example.com", "http://127.0.0.1.example.com", "http://2130706433"])
def test_no_name_only_looks_like_this_host(url: str) -> None:
    assert "unencrypted" in faults(account(f"endpoint: {url}"))[0].message


def test_files_start_at_the_folder_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("pem")
    (tmp_path / "config.yaml").write_text(account("region: cn-north-4\n    tls: {ca_file: ca.pem}"))
    assert load(tmp_path / "config.yaml", {}).accounts[0].tls.ca_file == tmp_path / "ca.pem"


def test_windows_and_bom_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert load(path, {}).accounts[0].name == "prod"


def test_what_is_no_readable_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"# fine\n# \xe4\n")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (16 * 1024 * 1024 + 1))
    told = {
        "missing.yaml": "missing.yaml: does not exist; --config.file names the file to read",
        ".": ".: is no file; --config.file names the file to read",
        "latin.yaml": "latin.yaml:2: is not UTF-8",
        "huge.yaml": "huge.yaml: is larger than 16 MiB",
        "a\0b": "a\0b: does not exist; --config.file names the file to read",
    }
    for name, sentence in told.items():
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name, {})
        assert str(caught.value).replace(f"{tmp_path}/", "").replace(str(tmp_path), ".") == sentence


def test_a_path_that_cannot_be_looked_up_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load(Path("x" * 5000), {})


def test_the_dump_parses_again_and_says_the_same() -> None:
    text = account("region: cn-north-4\n    proxy_url: http://u:CANARY@proxy:3128", "token: {token: CANARY}") + (
        "failure_reasons: [{reason: a, pattern: '^\\s+$'}]\npoll: {interval: 1500ms}\n"
    )
    config = parse(text, environ={})
    again = parse(dump(config), environ={})
    assert dump(again) == dump(config)
    assert again.poll == config.poll
    assert again.failure_reasons == config.failure_reasons


def test_the_dump_masks_secrets_and_shows_defaults() -> None:
    text = account("region: cn-north-4\n    proxy_url: http://u:CANARY@proxy:3128", "token: {token: CANARY}")
    shown = yaml.safe_load(dump(parse(text, environ={})))
    assert shown["accounts"][0]["auth"] == {"token": {"token": "<secret>"}}
    assert shown["accounts"][0]["proxy_url"] == "http://<secret>@proxy:3128"
    assert shown["poll"]["keep_finished"] == "1d"
    assert shown["metrics"]["duration_buckets"][:3] == [1, 5, 15]
    assert shown["web"] == {"show_logs": True}


def test_unwise_settings_are_warned_of(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("CANARY")
    text = account("region: cn-north-4\n    tls: {insecure_skip_verify: true}", "token: {token_file: token}")
    config = parse(text, folder=tmp_path, environ={})
    token.chmod(0o644)
    assert config.warnings == (
        f"accounts[0].auth.token.token_file: every user of this host may read {token}; chmod 600 would stop that.",
        "accounts[0].tls.insecure_skip_verify: anyone on the way to the API can read and alter what is sent.",
    )
    token.chmod(0o600)
    assert len(config.warnings) == 1


def test_logging_a_config_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    text = account("region: cn-north-4\n    proxy_url: http://u:CANARY@proxy:3128", "token: {token: CANARY}")
    config = parse(text, environ={})
    logging.getLogger("test").warning("%s %r %s", config, config, config.model_dump_json())
    assert "CANARY" not in caplog.text


def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Return the model and every section below it."""
    below = {explain._section(field.annotation) for field in model.model_fields.values()} - {None}
    return {model}.union(*(sections(section) for section in below if section is not None))


def test_every_section_refuses_unknown_keys_and_is_frozen() -> None:
    for section in sections(Config):
        assert section.model_config["extra"] == "forbid"
        assert section.model_config["frozen"] is True
        assert section.model_config["hide_input_in_errors"] is True


def test_rare_input_is_answered_too() -> None:
    long_path = "x" * 5000
    assert faults(HEAD + f"poll: {{concurrency: 0x{'f' * 5000}}}")[0].message.startswith("is a number of many digits")
    assert (
        "not the path of a file" in faults(account(f"region: cn-north-4\n    tls: {{ca_file: {long_path}}}"))[0].message
    )
    assert faults(HEAD + "name: \x01")[0] == Fault(6, "", "is not YAML: a control character is not allowed")
    assert faults("name: \ud800")[0] == Fault(0, "", "is not YAML: a character is no valid Unicode")


def test_sections_can_be_built_by_hand(tmp_path: Path) -> None:
    auth = Auth(token=TokenSignIn(token=Secret("CANARY")))
    prod = Account(name="a", region="cn-north-4", auth=auth, tls=Tls(ca_file=tmp_path))
    assert Config(accounts=(prod,)).accounts[0].auth.kind == "token"
    assert "CANARY" not in repr(prod)
