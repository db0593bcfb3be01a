"""
What survives a restart: the tickets as last read, their counted past, and pauses, in one SQLite file.

Written once per poll, in one transaction, only what changed. A file that is no database of ours is set aside and the
exporter runs on: everything but the past of retried instances can be read from the API again. One that only cannot be
had now (it is held by another exporter, its folder is read-only) is left alone.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from exporter.errors import UsageError
from exporter.snapshot import Reading, Snapshot, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_logger = logging.getLogger(__name__)

_VERSION = 2
_HELD_FOR = 1.0
_SCHEMA = """
CREATE TABLE readings (account TEXT, execute_uuid TEXT, reading BLOB NOT NULL, PRIMARY KEY (account, execute_uuid));
CREATE TABLE tickets (account TEXT, execute_uuid TEXT, ticket BLOB NOT NULL, PRIMARY KEY (account, execute_uuid));
CREATE TABLE pauses (account TEXT PRIMARY KEY, until REAL NOT NULL);
"""

_EVERYTHING = """
SELECT account, execute_uuid, reading, ticket FROM readings LEFT JOIN tickets USING (account, execute_uuid)
"""


class _Table(NamedTuple):
    """What is said to SQLite to put a row, and to drop one."""

    put: str
    drop: str


_READINGS = _Table(
    "INSERT OR REPLACE INTO readings VALUES (?, ?, ?)", "DELETE FROM readings WHERE account = ? AND execute_uuid = ?"
)
_TICKETS = _Table(
    "INSERT OR REPLACE INTO tickets VALUES (?, ?, ?)", "DELETE FROM tickets WHERE account = ? AND execute_uuid = ?"
)

Key = tuple[str, str]
T = TypeVar("T")


class Storage:
    """Keep readings in ``path``; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._saved: dict[Key, Reading] = {}
        self._failing = False
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode_reading = msgspec.msgpack.Decoder(Reading).decode
        self._decode_ticket = msgspec.msgpack.Decoder(Ticket).decode
        self._database = _opened(path)

    def readings(self) -> dict[Key, Reading]:
        """Return every reading of the file; one that cannot be understood is left out."""
        with self._lock:
            self._saved = dict(self._decoded(self._database.execute(_EVERYTHING)))
            return dict(self._saved)

    def pauses(self) -> dict[str, float]:
        """Return until when each account was held back, in Unix seconds."""
        with self._lock:
            return dict(self._database.execute("SELECT account, until FROM pauses").fetchall())

    def save(self, snapshot: Snapshot, pauses: Mapping[str, float]) -> None:
        """Write what changed since the last time, whole or not at all; a failure is logged, not raised."""
        with self._lock:
            now = {(reading.watch.account, reading.watch.execute_uuid): reading for reading in snapshot.readings}
            try:
                with self._database:
                    # A ticket is long and changes rarely, when it was read is short and changes with each poll.
                    self._write(_READINGS, self._saved, now, self._encoded_reading)
                    self._write(_TICKETS, _tickets(self._saved), _tickets(now), self._encode)
                    self._database.execute("DELETE FROM pauses")
                    self._database.executemany("INSERT INTO pauses VALUES (?, ?)", pauses.items())
            except sqlite3.Error as error:
                self._note_failure(error)
                return
            self._saved = now
            self._failing = False

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _write(
        self, table: _Table, before: Mapping[Key, T], now: Mapping[Key, T], encode: Callable[[T], bytes]
    ) -> None:
        renewed = ((*key, encode(held)) for key, held in now.items() if before.get(key) is not held)
        self._database.executemany(table.put, renewed)
        self._database.executemany(table.drop, before.keys() - now.keys())

    def _encoded_reading(self, reading: Reading) -> bytes:
        return self._encode(replace(reading, ticket=None))

    def _decoded(self, rows: Iterable[tuple[str, str, bytes, bytes | None]]) -> Iterator[tuple[Key, Reading]]:
        for account, execute_uuid, told, held in rows:
            try:
                ticket = None if held is None else self._decode_ticket(held)
                yield (account, execute_uuid), replace(self._decode_reading(told), ticket=_sound(ticket))
            except msgspec.DecodeError:
                _logger.warning(
                    "A stored ticket cannot be understood and is read anew",
                    extra={"account": account, "ticket": execute_uuid},
                )

    def _note_failure(self, error: sqlite3.Error) -> None:
        if not self._failing:
            _logger.error(
                "Nothing can be stored: is the disk full? Polling goes on, a restart would lose the past",
                extra={"path": str(self._path), "err": str(error)},
            )
        self._failing = True


def _tickets(readings: Mapping[Key, Reading]) -> dict[Key, Ticket]:
    return {key: reading.ticket for key, reading in readings.items() if reading.ticket is not None}


def _sound(ticket: Ticket | None) -> Ticket | None:
    """Return the ticket; raise DecodeError when its instances, which stay packed, could not be unpacked."""
    for batch in () if ticket is None else ticket.batches:
        batch.counts  # noqa: B018  raises
    return ticket


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path)
    except sqlite3.OperationalError as error:
        raise UsageError(
            f"{path} cannot be used for --storage.path: {error}: is the disk full, does another exporter hold it?"
        ) from error
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.unusable")
        _logger.error(  # noqa: TRY400  the sentence says all
            "The storage file cannot be used; it is set aside and a new one begun",
            extra={"path": str(path), "aside": str(aside), "err": str(error)},
        )
    try:
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(path.with_name(f"{path.name}.unusable{suffix}"))
        return _connected(path)
    except (OSError, sqlite3.Error) as error:
        raise UsageError(f"{path} cannot be used for --storage.path: {error}") from error


def _connected(path: Path) -> sqlite3.Connection:
    """Return an open file of our version; raise DatabaseError for any other."""
    database = sqlite3.connect(path, timeout=_HELD_FOR, check_same_thread=False)
    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection) -> None:
    # One process alone, so no shared memory is needed beside the file: that could not be made on a full disk.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    # With WAL this loses no more than the last transaction when power fails, and nothing when we are killed.
    database.execute("PRAGMA synchronous = NORMAL")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, this exporter writes version {_VERSION}")
    if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("it is corrupt")
