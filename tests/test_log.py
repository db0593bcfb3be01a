"""Log lines as the field writes them, which no text of the API can forge."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import log


def record(message="Polled", level=logging.INFO, error=None, **extra):
    info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("exporter", level, "/x/account.py", 7, message, (), info)
    made.__dict__.update(extra)
    return made


def test_a_line_has_the_keys_of_promslog_and_what_the_caller_gave():
    line = log.Logfmt().format(record(account="prod", err="it broke"))
    assert line.split(" ", 1)[1] == 'level=info source=account.py:7 msg=Polled account=prod err="it broke"'
    assert line.startswith("time=20")
    assert json.loads(log.Json().format(record(account="prod")))["account"] == "prod"


@pytest.mark.parametrize(("level", "name"), [(10, "debug"), (20, "info"), (30, "warn"), (40, "error"), (50, "error")])
def test_levels_are_named_as_the_field_names_them(level, name):
    assert f"level={name} " in log.Logfmt().format(record(level=level))


@given(st.text(st.characters(codec=None)))
def test_no_text_can_forge_a_line_or_a_field(text):
    line = log.Logfmt().format(record(ticket=text))
    assert line.isascii()
    assert line.isprintable()
    assert line.count(" level=") == 1 or '"' in line
    value = line.partition(" ticket=")[2]
    assert (json.loads(value) if value.startswith('"') else value) == text
    assert json.loads(log.Json().format(record(ticket=text)))["ticket"] == text


def test_a_traceback_is_told_without_what_its_variables_held():
    def failing():
        secret = "canary-1234"
        raise ValueError(secret)

    try:
        failing()
    except ValueError as error:
        line = log.Logfmt().format(record(error=error))
    assert "failing" in line
    assert "canary-1234" not in line


def test_warnings_and_errors_are_counted(capsys):
    before = logging.getLogger().handlers, logging.getLogger().level
    counted = []
    try:
        log.setup("info", "logfmt", counted.append)
        logging.getLogger("x").info("fine")
        logging.getLogger("x").warning("hm")
        logging.getLogger("x").error("no")
    finally:
        logging.getLogger().handlers, logging.getLogger().level = before
    assert counted == ["warning", "error"]
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_libraries_that_would_log_headers_are_kept_quiet():
    before = logging.getLogger().handlers, logging.getLogger().level
    try:
        log.setup("debug", "json")
        assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
        assert not logging.getLogger("aiohttp").isEnabledFor(logging.DEBUG)
    finally:
        logging.getLogger().handlers, logging.getLogger().level = before
