"""What 401 and 403 mean, and that no server's text gets through."""

import json

import pytest

from exporter import errors
from exporter.auth import refusal, server_words

PREFIX = "Incorrect IAM authentication information: "
CANARY = "Zk9canary77"


@pytest.mark.parametrize(
    ("code", "message", "error", "advice"),
    [
        ("APIGW.0301", PREFIX + "verify aksk signature fail", errors.Unauthorized, "secret key is wrong"),
        (
            "APIGW.0301",
            PREFIX + "verify aksk signature fail,canonicalRequest:GET|/v1/token expires|x-security-token:" + CANARY,
            errors.Unauthorized,
            "secret key is wrong",
        ),
        (
            "APIGW.0301",
            PREFIX + f"ak {CANARY} not exist",
            errors.Unauthorized,
            "does not know this access key",
        ),
        (
            "APIGW.0301",
            PREFIX + "calc ak sk signature fail:signature expired",
            errors.ClockSkewed,
            "synchronise the clock",
        ),
        (
            "APIGW.0301",
            PREFIX + "AK access failed to reach the limit,forbidden",
            errors.KeyLocked,
            "five minutes",
        ),
        (
            "APIG.0301",
            PREFIX + "AK access failed to reach the limit,forbidden",
            errors.KeyLocked,
            "correct the keys",
        ),
        ("APIGW.0301", PREFIX + "decrypt token fail", errors.TokenRejected, "fresh token"),
        ("APIGW.0301", PREFIX + "x-auth-token not found", errors.Unauthorized, "proxy"),
        (
            "APIGW.0301",
            PREFIX + "token expires, expires_at: 2026-01-01T00:00:00.000000Z",
            errors.TokenRejected,
            "has expired",
        ),
        ("APIGW.0301", PREFIX + "Get secretKey failed", errors.Unauthorized, "security token"),
        ("APIGW.0301", PREFIX + "securityToken is expired", errors.TokenRejected, "temporary keys"),
        ("APIGW.0307", "The token must be updated", errors.TokenRejected, "another region"),
        ("APIG.0307", "", errors.TokenRejected, "another region"),
        ("common.01010001", "", errors.TokenRejected, "rejected the token"),
        ("EPS.0003", "", errors.Forbidden, "enterprise project"),
        ("APIGW.0301", "something new " + CANARY, errors.Unauthorized, "no documented reason"),
        ("APIGW.0399", PREFIX + "token expires", errors.Unauthorized, "no documented reason"),
        ("", "token expires", errors.TokenRejected, "has expired"),
        ("", "", errors.Unauthorized, "no documented reason"),
    ],
)
def test_each_401_has_its_error_and_its_advice(
    code: str, message: str, error: type[errors.ApiError], advice: str
) -> None:
    found = refusal(401, code, message)
    assert type(found) is error
    assert advice in str(found)
    assert "HTTP 401" in str(found)
    assert code in str(found)
    assert CANARY not in str(found)


@pytest.mark.parametrize(
    ("code", "message"), [("", "token expires"), ("EPS.0003", ""), ("COC.00010014", "no"), ("", "")]
)
def test_403_is_a_missing_permission(code: str, message: str) -> None:
    found = refusal(403, code, message)
    assert type(found) is errors.Forbidden
    assert "coc:job:list" in str(found)


def test_a_code_that_is_no_code_is_not_repeated() -> None:
    assert CANARY not in str(refusal(401, CANARY, ""))
    assert CANARY not in str(refusal(401, f"APIGW.{CANARY}", ""))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error_msg": "m", "error_code": "APIGW.0301", "request_id": "r"}, ("APIGW.0301", "m")),
        ({"errorCode": "A.1", "errorMsg": "m"}, ("A.1", "m")),
        ({"code": "A.1", "message": "m"}, ("A.1", "m")),
        ({"error": {"code": 401, "message": "m", "title": "Unauthorized"}}, ("", "m")),
        ({"error": {"code": "EPS.0003", "message": "m"}}, ("EPS.0003", "m")),
        ({"data": None, "provider_code": "049"}, ("", "")),
        ({"error_code": ["x"], "error_msg": {"y": 1}}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_words_are_found_in_every_shape_of_error(body: object, words: tuple[str, str]) -> None:
    assert server_words(json.dumps(body).encode()) == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"token expires", ("", "token expires")),
        (b"", ("", "")),
        (b"\xff\xfe", ("", "\ufffd\ufffd")),
        (b"[1]", ("", "[1]")),
        (b"[" * 100_000, ("", "[" * 4096)),
    ],
)
def test_a_body_that_is_no_error_object_is_its_own_text(body: bytes, words: tuple[str, str]) -> None:
    assert server_words(body) == words
