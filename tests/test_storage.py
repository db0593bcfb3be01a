"""A restart costs nothing: what was stored is shown, whole, whatever ended the process."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import UsageError
from exporter.snapshot import (
    Batch,
    Execution,
    Failure,
    Fault,
    Host,
    Instance,
    Reading,
    Snapshot,
    Statistics,
    StatusCount,
    Ticket,
    Watch,
)
from exporter.storage import Storage

TICKET = Ticket(
    "SCT",
    "FINISHED",
    created=1.5,
    statistics=Statistics(1, (StatusCount("FINISHED", 1, frozenset({1})),)),
    batches=(Batch.of(1, 1, (Instance(7, "FINISHED", 1.0, 2.0, 1.0, Host("r", "web-1")),)),),
    past_failures=(Failure(7, None, 1, "disk_full", "web-1"),),
    past_executions=(Execution(7, 1.5, "ABNORMAL", 0.5),),
    late=frozenset({(7, 1.5)}),
)
READING = Reading(Watch("prod", "SCT", "n", {"team": "web"}), TICKET, None, 3.0, 3.0, 3.0)


def snapshot(*readings):
    return Snapshot(readings=readings)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "coc.db"


def reopened(path):
    storage = Storage(path)
    try:
        return storage.readings()
    finally:
        storage.close()


def saved(path, *readings, pauses=None):
    storage = Storage(path)
    storage.save(snapshot(*readings), pauses or {})
    storage.close()


def test_a_reading_comes_back_as_it_was(path):
    failed = Reading(Watch("prod", "SCT-2", listed=False), None, Fault("tls", "no", 1.0), tried=1.0)
    saved(path, READING, failed)
    assert reopened(path) == {("prod", "SCT"): READING, ("prod", "SCT-2"): failed}


@given(text=st.text(), times=st.lists(st.floats(0, 1e12), min_size=3, max_size=3))
def test_any_text_and_time_comes_back(text, times, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "coc.db"
    host = Host(text.encode(errors="replace").decode())
    instance = Instance(1, "ABNORMAL", *times, host, log_tail=host.resource_id)
    reading = replace(READING, ticket=replace(TICKET, batches=(Batch.of(1, 1, (instance,)),)))
    saved(path, reading)
    assert reopened(path)["prod", "SCT"] == reading


def test_a_ticket_that_is_no_longer_watched_is_forgotten(path):
    saved(path, READING)
    storage = Storage(path)
    storage.readings()
    storage.save(snapshot(), {})
    storage.close()
    assert reopened(path) == {}


def test_a_pause_comes_back(path):
    saved(path, READING, pauses={"prod": 99.5})
    storage = Storage(path)
    assert storage.pauses() == {"prod": 99.5}
    storage.close()


def test_only_what_changed_is_written(path):
    storage = Storage(path)
    storage.save(snapshot(READING), {})
    before = storage._database.total_changes
    storage.save(snapshot(READING), {})
    assert storage._database.total_changes == before
    storage.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_file_is_set_aside_and_said_so(path, content, caplog):
    path.write_bytes(content)
    saved(path, READING)
    assert reopened(path) == {("prod", "SCT"): READING}
    assert path.with_name("coc.db.unusable").read_bytes() == content
    assert "set aside" in caplog.text


def test_a_file_of_a_newer_version_is_set_aside_unchanged(path, caplog):
    saved(path, READING)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    assert reopened(path) == {}
    newer = sqlite3.connect(path.with_name("coc.db.unusable"))
    assert newer.execute("SELECT count(*) FROM readings").fetchone() == (1,)
    newer.close()
    assert "version 99" in str(caplog.records[0].__dict__["err"])


def test_a_stored_ticket_that_cannot_be_understood_is_left_out(path, caplog):
    saved(path, READING, replace(READING, watch=Watch("prod", "SCT-2")))
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE readings SET reading = x'c1' WHERE execute_uuid = 'SCT'")
    database.close()
    assert set(reopened(path)) == {("prod", "SCT-2")}
    assert "read anew" in caplog.text


def test_a_folder_that_does_not_exist_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be used for --storage\.path"):
        Storage(tmp_path / "none" / "coc.db")


def test_a_file_that_another_exporter_holds_is_left_alone(path):
    holder = Storage(path)
    with pytest.raises(UsageError, match=r"database is locked: .* does another exporter hold it"):
        Storage(path)
    holder.save(snapshot(READING), {})
    holder.close()
    assert reopened(path) == {("prod", "SCT"): READING}
    assert [each.name for each in path.parent.iterdir()] == ["coc.db"]


def test_a_full_disk_is_logged_once_and_polling_goes_on(path, caplog):
    storage = Storage(path)
    # The same error that a full disk gives.
    storage._database.execute(f"PRAGMA max_page_count = {storage._database.execute('PRAGMA page_count').fetchone()[0]}")
    big = replace(READING, ticket=replace(TICKET, creator="x" * 200_000))
    storage.save(snapshot(big), {})
    storage.save(snapshot(big), {})
    assert [record.message.split(":")[0] for record in caplog.records] == ["Nothing can be stored"]
    storage._database.execute("PRAGMA max_page_count = 1000000")
    storage.save(snapshot(big), {})
    assert storage._saved
    storage.close()
    assert reopened(path) == {("prod", "SCT"): big}


def test_killed_at_200_random_moments_nothing_is_lost_doubled_or_torn(path):
    """A child writes ever growing counts of ten tickets and is killed; each time all ten are of one poll."""
    dice = random.Random(7)  # noqa: S311  the moments of a test
    Storage(path).close()
    held = 0
    for _ in range(200):
        child = os.fork()
        if child == 0:
            _write_until_killed(path, held)
        time.sleep(dice.uniform(0.002, 0.03))  # the random moment itself, not a wait for anything
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        counts = {len(reading.ticket.past_failures) for reading in reopened(path).values()}
        assert len(counts) <= 1
        now = max(counts, default=0)
        assert now >= held
        held = now
    assert held > 0


def _write_until_killed(path, count):
    storage = Storage(path)
    storage.readings()
    while True:
        count += 1
        past = tuple(Failure(number, None, 1, "other") for number in range(count))
        ticket = replace(TICKET, past_failures=past)
        readings = [Reading(Watch("prod", f"SCT-{number}"), ticket) for number in range(10)]
        storage.save(snapshot(*readings), {})
