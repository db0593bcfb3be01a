"""What must hold of an exposition, whatever happened before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.model import by_status

if TYPE_CHECKING:
    from faults.readings import Counts, Exposition

    from chaos.machine import Chaos
    from chaos.model import Known

STALE_AFTER = 300.0
_COUNTED = ("_total", "_count", "_sum", "_bucket")
_FAILURES = "coc_instance_failures_total"
_RUNS = "coc_instance_execution_duration_seconds"


def formats_agree(text: Exposition, openmetrics: Exposition) -> None:
    """Both formats say the same of tickets."""

    def of_tickets(seen: Exposition) -> dict:
        return {key: value for key, value in seen.samples.items() if not key[0].startswith("coc_exporter_")}

    assert of_tickets(text) == of_tickets(openmetrics)


def nothing_falls(before: Exposition, seen: Exposition, *, tickets: bool, own: bool) -> None:
    """No counter and no part of a histogram is less than it was, or gone, while its ticket is shown."""
    for (name, labels), value in before.samples.items():
        if not name.endswith(_COUNTED):
            continue
        uuid = dict(labels).get("execute_uuid")
        if own and uuid is None:
            assert seen.samples.get((name, labels), -1) >= value, f"{name}{dict(labels)} fell"
        elif tickets and uuid is not None and seen.counts(uuid) is not None:
            assert seen.samples.get((name, labels), -1) >= value, f"{name}{dict(labels)} fell from {value}"


def ticket_is_told_as_read(world: Chaos, uuid: str, known: Known) -> None:
    told = world.seen.counts(uuid)
    if told is None:
        # A ticket that was read whole vanishes only when it cannot be read, for too long or for an unknown time.
        assert known.read_at is None or world.seen.up(uuid) == 0, f"{uuid} was read, is up, and is not shown"
        return
    assert known.read_at is not None, f"{uuid} is shown and was never read"
    _counts(world, uuid, known, told)
    _abnormal(world.seen, uuid, told)
    _counters(world, uuid, known)
    if world.exact and known.still:
        _facts(world.seen, uuid, known)


def _counts(world: Chaos, uuid: str, known: Known, told: Counts) -> None:
    """No count is shown that the API never stated."""
    by_batch = world.settings["per_batch"] == "true"
    assert sum(told.values()) in known.totals(), f"{uuid} has {told}"
    if known.still:
        assert by_status(told) == by_status(known.counts()), uuid
    if known.still and world.exact and by_batch:
        assert told == known.counts(), uuid
    if world.exact and by_batch:
        lowest, highest = known.bounds()
        for place in {*told, *lowest}:
            assert lowest[place] <= told.get(place, 0) <= highest[place], f"{uuid}: {place}"


def _abnormal(seen: Exposition, uuid: str, told: Counts) -> None:
    """Of what is ABNORMAL now so many instances are named, and the rest is counted."""
    named = len(seen.of("coc_abnormal_instance_info", account="prod", execute_uuid=uuid))
    omitted = seen.value("coc_abnormal_instances_omitted", account="prod", execute_uuid=uuid)
    abnormal = by_status(told).get("ABNORMAL", 0)
    assert (named, omitted) == (min(2, abnormal), max(0, abnormal - 2)), uuid
    stated = seen.total("coc_batch_instances", uuid)
    assert stated == sum(told.values()), uuid


def _counters(world: Chaos, uuid: str, known: Known) -> None:
    """Each failure and each run is counted once, and none that never was."""
    for name, (fewest, most) in ((_FAILURES, known.failure_bounds()), (f"{_RUNS}_count", known.run_bounds())):
        value = world.seen.total(name, uuid)
        assert value <= most, f"{name} of {uuid} counts what never was"
        assert not world.exact or value >= fewest, f"{name} of {uuid} misses something"
    if world.exact and known.certain:
        _failures(world.seen, uuid, known)
        _histogram(world.seen, uuid, known)


def _failures(seen: Exposition, uuid: str, known: Known) -> None:
    told: dict[str, float] = {}
    for labels, value in seen.of(_FAILURES, execute_uuid=uuid).items():
        reason = dict(labels)["reason"]
        told[reason] = told.get(reason, 0) + value
    assert {reason: value for reason, value in told.items() if value} == known.reasons(), uuid


def _histogram(seen: Exposition, uuid: str, known: Known) -> None:
    identity = {"account": "prod", "execute_uuid": uuid}
    for status in {dict(labels)["status"] for labels in seen.of(f"{_RUNS}_count", **identity)}:
        rows = seen.of(f"{_RUNS}_bucket", status=status, **identity)
        told = sorted((float(dict(labels)["le"]), value) for labels, value in rows.items())
        assert [value for _, value in told] == known.buckets(status), f"{uuid} {status}"
        total = seen.value(f"{_RUNS}_sum", status=status, **identity)
        assert total == pytest.approx(known.seconds(status)), f"{uuid} {status}"


def _facts(seen: Exposition, uuid: str, known: Known) -> None:
    """The ticket's own status and times are the API's."""
    now, identity = known.last, {"account": "prod", "execute_uuid": uuid}
    assert seen.value("coc_ticket_status", status=now.status, **identity) == 1, uuid
    assert sum(seen.of("coc_ticket_status", **identity).values()) == 1, uuid
    assert seen.value("coc_ticket_created_timestamp_seconds", **identity) == now.created, uuid
    assert seen.value("coc_ticket_oldest_processing_timestamp_seconds", **identity) == now.oldest, uuid


def ages(world: Chaos, began: float, before: Exposition | None) -> None:
    """A ticket that cannot be read is shown until ``stale_after``, then not; likewise when its age is unknown."""
    polled = world.seen.value("coc_exporter_last_poll_timestamp_seconds")
    assert began <= polled <= world.ours.time()
    assert not world.seen.value("coc_exporter_poll_failures_total", reason="internal")
    for uuid in world.shown_uuids():
        read_at = world.known[uuid].read_at
        if read_at is None or world.seen.up(uuid) == 1:
            continue
        youngest, oldest = began - read_at, world.ours.time() - read_at
        if youngest >= STALE_AFTER or oldest < 0:
            assert world.seen.counts(uuid) is None, f"{uuid} is shown though it is too old"
        elif youngest >= 0 and oldest < STALE_AFTER and before is not None and before.counts(uuid):
            assert world.seen.counts(uuid), f"{uuid} vanished though it is young"


def all_is_read(world: Chaos, began: float) -> None:
    """Where nothing fails, everything that goes on is read, now, and nothing contradicts itself."""
    assert world.seen.value("coc_up", account="prod") == 1
    names = {ticket.head.uuid: ticket.head.name for ticket in world.alive()}
    for uuid in [*world.listed, *(uuid for uuid, name in names.items() if name.startswith("found"))]:
        assert world.seen.up(uuid) == 1, f"{uuid} is not read though nothing fails"
        known = world.known[uuid]
        if names.get(uuid) and known.last.status == "PROCESSING":
            assert known.read_at >= began, f"{uuid} goes on and was not read"
        if known.still and known.read_at >= began:
            gap = world.seen.value("coc_ticket_count_disagreement", account="prod", execute_uuid=uuid)
            assert gap == 0, f"{uuid}: statistics and pages differ by {gap}"
    _clock_offset(world, began)


def _clock_offset(world: Chaos, began: float) -> None:
    told = world.seen.value("coc_exporter_api_clock_offset_seconds", account="prod")
    # Dates are told in whole seconds.
    assert world.api.began_at - 1 - world.ours.time() <= told <= world.theirs.time() - began
