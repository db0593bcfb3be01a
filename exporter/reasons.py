"""
From a log to the reason of a failure.

Patterns come from the user, logs from the script's author: a backtracking engine could be made to hang on either.
RE2 matches in time linear in the log, whatever the pattern.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.snapshot import OTHER_REASON

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import re2

DEFAULTS = (
    ("disk_full", r"(?i)no space left on device|disk quota exceeded|disk full"),
    ("out_of_memory", r"(?i)out of memory|cannot allocate memory|oom-kill|killed process \d+"),
    ("package_lock", r"(?i)could not get lock|unable to acquire the dpkg|holding the yum lock|waiting for cache lock"),
    ("package_not_found", r"(?i)unable to locate package|no package \S+ available|no match for argument"),
    ("command_not_found", r"(?im)command not found|: not found$"),
    ("permission_denied", r"(?i)permission denied|operation not permitted|must be root|access denied"),
    ("network_unreachable", r"(?i)network is unreachable|no route to host|connection refused|could not resolve host"),
    ("name_resolution", r"(?i)temporary failure in name resolution|name or service not known"),
    ("timeout", r"(?i)timed[ -]?out|timeout|deadline exceeded"),
    ("file_not_found", r"(?i)no such file or directory"),
    ("non_zero_exit", r"(?i)exit(ed)?( with)?( code| status)?[ :=]+[1-9]\d*"),
)
"""Common failures of scripts on Linux; a user's own patterns precede them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason and the pattern that tells of it."""

    reason: str
    pattern: str


class Reasons:
    """Name the reason of a failure: that of the first rule whose pattern is found."""

    def __init__(self, own: Iterable[Rule] = ()) -> None:
        self.rules = (*own, *(Rule(reason, pattern) for reason, pattern in DEFAULTS))
        self._compiled: list[tuple[str, re2._Regexp]] | None = None

    def of(self, log: str) -> str:
        """Return the reason, ``other`` when no pattern is found."""
        text = log.encode(errors="replace")
        for reason, pattern in self._patterns():
            if pattern.search(text):
                return reason
        return OTHER_REASON

    def _patterns(self) -> list[tuple[str, re2._Regexp]]:
        if self._compiled is None:
            self._compiled = [(rule.reason, _compile(rule.pattern)) for rule in self.rules]
        return self._compiled


def fault(pattern: str) -> str | None:
    """Return why a pattern cannot be used, None when it can."""
    import re2  # noqa: PLC0415  only where patterns are used

    try:
        _compile(pattern)
    except re2.error as error:
        return f"is no RE2 pattern: {_words(error)}"
    return None


def shadowed(rules: Sequence[Rule]) -> list[tuple[Rule, Rule]]:
    """Return the rules that can never name a reason, each with the earlier rule that takes all it could find."""
    found = []
    for position, rule in enumerate(rules):
        before = next((earlier for earlier in rules[:position] if _covers(earlier.pattern, rule.pattern)), None)
        if before is not None:
            found.append((rule, before))
    return found


def _covers(earlier: str, later: str) -> bool:
    # In general undecidable in practice; what is told is the common mistakes: the same pattern, or a literal that
    # holds what an earlier pattern finds anywhere.
    return earlier == later or (_is_literal(later) and _compile(earlier).search(later.encode()) is not None)


def _is_literal(pattern: str) -> bool:
    import re2  # noqa: PLC0415  with the first pattern

    return bool(re2.escape(pattern).replace("\\", "") == pattern and not set(pattern) & set(".^$*+?{}[]|()\\"))


def _words(error: Exception) -> str:
    told = error.args[0] if error.args else ""
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)


def _compile(pattern: str) -> re2._Regexp:
    import re2  # noqa: PLC0415  with the first pattern

    options = re2.Options()
    options.log_errors = False
    options.never_nl = False
    return re2.compile(pattern.encode(), options=options)
