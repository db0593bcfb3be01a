"""
Foreign text made fit to be shown: names, messages and logs.

Nothing is interpreted: terminal sequences are removed, what would be invisible or would reorder its surroundings is
made visible, and what no encoding can hold is replaced. Escaping for HTML is the template engine's.
"""

from __future__ import annotations

import re

LOG_BYTES = 4096
"""Of a log no more than this is ever shown."""

NAME_LENGTH = 300
BRIEF_LENGTH = 72

_LOOKED_AT = 8 * LOG_BYTES

_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles and links
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # device strings
    r"|\x1b[ -/]*[0-~]"
)
_NEWLINE = re.compile(r"\r+\n?|[\u2028\u2029\x85\x0b\x0c]")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069\ufeff]")
_UNSOUND = re.compile(r"[\ud800-\udfff\ufffe\uffff]")
_EXIT = re.compile(
    r"(?i)\W*(?:script )?exit(?:ed)?(?: with)?(?: an?)?(?: non-zero)?(?: exit)?(?: code| status)?[ :=]+\d+\W*"
)
_BREAKS = re.compile(r"[\n\t]")


def line(text: str, limit: int = NAME_LENGTH) -> str:
    """Return foreign text as one line of at most ``limit`` characters."""
    shown = _BREAKS.sub(_named, _visible(_TERMINAL.sub("", text[: 4 * limit])).strip())
    return shown if len(shown) <= limit else shown[: limit - 1] + "\u2026"


def brief(shown: str) -> str:
    """Return a name short enough for a row among others."""
    return shown if len(shown) <= BRIEF_LENGTH else shown[: BRIEF_LENGTH - 1] + "\u2026"


def log_tail(log: str) -> str:
    """Return the end of a log, at most ``LOG_BYTES`` of UTF-8; its first line may be a part of one."""
    end = _NEWLINE.sub("\n", _TERMINAL.sub("", log[-_LOOKED_AT:]))
    return _visible(end).encode()[-LOG_BYTES:].decode(errors="ignore").strip("\n")


def last_line(log: str, limit: int = 160) -> str:
    """Return the last line of a log that says more than an exit code, if any does."""
    lines = [text for text in log_tail(log).splitlines() if text.strip()]
    telling = [text for text in lines if not _EXIT.fullmatch(text)] or lines
    return line(telling[-1], limit) if telling else ""


def _visible(text: str) -> str:
    return _UNSEEN.sub(_named, _UNSOUND.sub("\ufffd", text))


def _named(match: re.Match[str]) -> str:
    return f"<U+{ord(match[0]):04X}>"
