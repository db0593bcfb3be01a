"""Snapshots made without an API: as many tickets as asked for, 20 batches of 10 instances each."""

from __future__ import annotations

from random import Random

from exporter.snapshot import (
    AccountState,
    Batch,
    Host,
    Instance,
    Reading,
    Snapshot,
    Statistics,
    StatusCount,
    Ticket,
    Watch,
)

BATCHES = 20
INSTANCES = 10
_STATUSES = ("FINISHED",) * 16 + ("ABNORMAL", "PROCESSING", "READY", "CANCELED")
_EPOCH = 1_767_323_045.0


def snapshot(tickets: int) -> Snapshot:
    """Return a snapshot of one account."""
    readings = tuple(_reading(number) for number in range(tickets))
    return Snapshot(accounts=(AccountState("bench", polled=_EPOCH, proven=True),), readings=readings, taken=_EPOCH)


def _reading(number: int) -> Reading:
    throw = Random(number)  # noqa: S311  made up, nothing secret comes of it
    uuid = f"SCT20260102030405{number:09x}"
    batches = tuple(
        Batch.of(index, INSTANCES, tuple(_instance(throw, number, index, place) for place in range(INSTANCES)))
        for index in range(1, BATCHES + 1)
    )
    ticket = Ticket(
        uuid,
        "PROCESSING",
        created=_EPOCH,
        creator="ops-bot",
        script_name="nightly-openssl",
        timeout=300.0,
        success_rate=0.95,
        current_batch=BATCHES,
        batches=batches,
    )
    rows = tuple(StatusCount(status, count, frozenset()) for status, count in ticket.counts.items())
    ticket = Ticket(**{**_fields(ticket), "statistics": Statistics(BATCHES * INSTANCES, rows)})
    return Reading(Watch("bench", uuid), ticket, last_success=_EPOCH, refreshed=_EPOCH, tried=_EPOCH)


def _fields(ticket: Ticket) -> dict[str, object]:
    return {name: getattr(ticket, name) for name in ticket.__dataclass_fields__}


def _instance(throw: Random, number: int, index: int, place: int) -> Instance:
    status = throw.choice(_STATUSES)
    seconds = throw.lognormvariate(3, 1)
    ended = status in ("FINISHED", "ABNORMAL", "CANCELED")
    host = Host(
        f"66006c8e-dc6b-45bb-a65b-{number * 200 + index * 10 + place:012x}",
        f"web-{throw.randrange(4000):04d}",
        f"10.0.{throw.randrange(256)}.{throw.randrange(256)}",
        "cn-north-4",
        "cn-north-4a",
    )
    return Instance(
        40_000_000 + number * 200 + index * 10 + place,
        status,
        _EPOCH,
        _EPOCH + seconds if ended else None,
        seconds if ended else None,
        host,
        throw.choice(("disk_full", "timeout", "other")) if status == "ABNORMAL" else "",
        "No space left on device\n" if status == "ABNORMAL" else "",
    )
