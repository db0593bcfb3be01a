"""From a log to a reason, in time linear in the log, whatever the pattern."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.reasons import DEFAULTS, Reasons, Rule, fault, shadowed

LOGS = [
    ("cp: error writing '/var/x': No space left on device", "disk_full"),
    ("Disk quota exceeded", "disk_full"),
    ("bash: fork: Cannot allocate memory", "out_of_memory"),
    ("Out of memory: Killed process 4711 (java)", "out_of_memory"),
    ("E: Could not get lock /var/lib/dpkg/lock-frontend", "package_lock"),
    ("Another app is currently holding the yum lock; waiting for it to exit...", "package_lock"),
    ("E: Unable to locate package htpo", "package_not_found"),
    ("Error: No match for argument: htpo", "package_not_found"),
    ("/opt/run.sh: line 3: kubectl: command not found", "command_not_found"),
    ("sh: 1: kubectl: not found\nsomething else", "command_not_found"),
    ("touch: cannot touch '/etc/x': Permission denied", "permission_denied"),
    ("connect: Network is unreachable", "network_unreachable"),
    ("curl: (7) Failed to connect: Connection refused", "network_unreachable"),
    ("Temporary failure in name resolution", "name_resolution"),
    ("curl: (28) Operation timed out after 30001 ms", "timeout"),
    ("cat: /etc/x: No such file or directory", "file_not_found"),
    ("script finished with exit code 3", "non_zero_exit"),
    ("exited with status: 127", "non_zero_exit"),
    ("script finished with exit code 0", "other"),
    ("", "other"),
    ("all is well", "other"),
]


@pytest.mark.parametrize(("log", "reason"), LOGS)
def test_common_failures_have_a_name(log, reason):
    assert Reasons().of(log) == reason


def test_every_default_is_a_pattern_and_none_hides_another():
    assert [fault(pattern) for _, pattern in DEFAULTS] == [None] * len(DEFAULTS)
    assert shadowed([Rule(*default) for default in DEFAULTS]) == []


def test_a_users_own_rules_come_first_in_their_order():
    own = Reasons([Rule("first", "space"), Rule("second", "No space")])
    assert own.of("No space left on device") == "first"
    assert own.of("Permission denied") == "permission_denied"


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){5}", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_pattern_hangs_on_a_megabyte(pattern):
    reasons = Reasons([Rule("evil", pattern)])
    reasons.of("")
    began = time.process_time()
    assert reasons.of("a" * 1_000_000 + "!") in {"evil", "other"}
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "log", ["x" * 1_000_000, "\x00\x01\x1b[31mred\x1b[0m", "\ud800 lone", "<script>alert(1)</script>", "日" * 10_000]
)
def test_any_log_is_read(log):
    assert Reasons().of(log) == "other"
    assert Reasons().of(f"{log}\nNo space left on device") == "disk_full"


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_has_a_reason(log):
    assert Reasons().of(log) in {"other", *(reason for reason, _ in DEFAULTS)}


@pytest.mark.parametrize("pattern", ["(", "a{2000}", r"(?<=x)y", r"(a)\1", "[", "*"])
def test_a_pattern_that_re2_does_not_take_is_told_in_a_sentence(pattern):
    assert fault(pattern).startswith("is no RE2 pattern: ")


@pytest.mark.parametrize(
    ("rules", "hidden"),
    [
        ([("a", "x+"), ("b", "x+")], ["b"]),
        ([("a", "space"), ("b", "No space left")], ["b"]),
        ([("a", "No space left"), ("b", "space")], []),
        ([("a", "(?i)SPACE"), ("b", "no space")], ["b"]),
        ([("a", "space"), ("b", "no spaces?")], []),
    ],
)
def test_a_rule_that_can_never_name_a_reason_is_found(rules, hidden):
    assert [rule.reason for rule, _ in shadowed([Rule(*rule) for rule in rules])] == hidden
