"""
What the API means by 401 and 403, as a table. Pure.

Nearly every failure of sign-in comes as ``APIGW.0301`` and differs by its text alone, so the text is matched.
Some gateways say ``APIG``: only the digits count. The text is read and never repeated, for it may hold the
canonical request or a token.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from exporter.errors import ClockSkewed, Forbidden, KeyLocked, TokenRejected, Unauthorized

_FORBIDDEN = 403
_MAX_TEXT = 4096
_CODE = re.compile(r"[A-Za-z]{1,16}\.\d{4,12}")
_GATEWAY = re.compile(r"APIGW?\.(\d{4})")
_CODE_KEYS = (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message"))


@dataclass(frozen=True, slots=True)
class Row:
    """One way to be refused: the codes it comes under (none: any), what its text says, and what to tell."""

    codes: tuple[str, ...]
    text: str
    error: type[Unauthorized | Forbidden]
    sentence: str


_AUTH = ("0301", "")
"""The gateway's code for all failures of sign-in; the empty one is a body without any code."""

TABLE = (
    Row(
        _AUTH,
        r"access failed to reach the limit",
        KeyLocked,
        "the API has locked the access key for five minutes after repeated failures; "
        "correct the keys, and look for other programs that still use old ones",
    ),
    Row(
        _AUTH,
        r"signature expired",
        ClockSkewed,
        "the API finds the signature too old: this host's clock is more than 15 minutes off, or the "
        "temporary key has expired; synchronise the clock (NTP), or renew the key",
    ),
    Row(
        _AUTH,
        r"verify aksk signature fail",
        Unauthorized,
        "the signature does not fit the access key: the secret key is wrong, or a proxy alters requests; "
        "check that secret key and access key belong together",
    ),
    Row(
        _AUTH,
        r"\bak\b.*\bnot exist",
        Unauthorized,
        "the API does not know this access key: it is mistyped, deleted or of another site; check the key",
    ),
    Row(
        _AUTH,
        r"get secretkey failed",
        Unauthorized,
        "the API finds no secret for this access key: it is disabled, deleted, or temporary and sent without "
        "its security token; check the key, and give the security token if it is temporary",
    ),
    # Documented nowhere, yet the security token has its own header and so may have its own complaint.
    Row(
        _AUTH,
        r"security.?token",
        TokenRejected,
        "the API rejected the security token: it has expired or does not belong to the access key; "
        "give a fresh set of temporary keys",
    ),
    Row(
        _AUTH,
        r"x-auth-token not found",
        Unauthorized,
        "no credentials reached the API: a proxy may have removed the header; let X-Auth-Token and Authorization pass",
    ),
    Row(
        _AUTH,
        r"decrypt token fail",
        TokenRejected,
        "the API cannot read the token: it is cut short or of another site; give a fresh token of this site",
    ),
    Row(_AUTH, r"token expires", TokenRejected, "the token has expired; give a fresh one"),
    Row(
        ("0307",),
        r"",
        TokenRejected,
        "the token must be renewed: it has expired, or it was issued for another region or project; "
        "give a fresh token of the account's own region",
    ),
    Row(
        ("common.01010001",),
        r"",
        TokenRejected,
        "the service rejected the token; give a fresh one of the account's own region",
    ),
    Row(
        ("EPS",),
        r"",
        Forbidden,
        "a policy of the enterprise project refuses this; grant coc:job:list and coc:job:get there",
    ),
)

_NO_PERMISSION = (
    "the credentials lack a permission; grant coc:job:list and coc:job:get to the user or agency, "
    "and check the project id"
)
_UNKNOWN = (
    "the API refused the credentials and gave no documented reason; check that they belong to this site and "
    "region and are still enabled"
)


def refusal(status: int, error_code: str, message: str) -> Unauthorized | Forbidden:
    """Return the error for an answer 401 or 403."""
    text = re.split("canonicalRequest", message[:_MAX_TEXT], maxsplit=1, flags=re.IGNORECASE)[0]
    row = _row(status, error_code, text)
    error, sentence = (row.error, row.sentence) if row else _otherwise(status)
    # A code of another shape might be a text, and texts are not repeated.
    origin = f"HTTP {status}, {error_code}" if _CODE.fullmatch(error_code) else f"HTTP {status}"
    return error(f"{sentence} ({origin})")


def _row(status: int, error_code: str, text: str) -> Row | None:
    key = _key(error_code)
    if status == _FORBIDDEN and not key:
        return None
    matches = (row for row in TABLE if key in row.codes and re.search(row.text, text, re.IGNORECASE | re.DOTALL))
    return next(matches, None)


def _key(error_code: str) -> str:
    gateway = _GATEWAY.fullmatch(error_code)
    if gateway:
        return gateway[1]
    return "EPS" if error_code.startswith("EPS.") else error_code


def _otherwise(status: int) -> tuple[type[Unauthorized | Forbidden], str]:
    return (Forbidden, _NO_PERMISSION) if status == _FORBIDDEN else (Unauthorized, _UNKNOWN)


def server_words(body: bytes) -> tuple[str, str]:
    """
    Return code and message of an error's body, in whichever of the service's shapes it comes.

    For matching only: the message may hold what nobody should see.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return "", body[:_MAX_TEXT].decode("utf-8", "replace")
    nested = (inner for inner in value.values() if isinstance(inner, dict))
    found = (_words(shape) for shape in (value, *nested))
    return next((words for words in found if any(words)), ("", ""))


def _words(shape: dict[str, object]) -> tuple[str, str]:
    for code_key, message_key in _CODE_KEYS:
        code, message = shape.get(code_key), shape.get(message_key)
        if code or message:
            # IAM's code is a number that repeats the status.
            return code if isinstance(code, str) else "", message if isinstance(message, str) else ""
    return "", ""
