"""
A host's run of the script, and how the runs of a batch are held: packed, for there can be a million of them.

As objects an instance and its host take some 400 bytes; packed (MessagePack, arrays without names) some 130, which
the storage file takes as they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUSES = ("READY", "PROCESSING", "ABNORMAL", "CANCELED", "FINISHED", "ROLLBACKED")
"""The statuses an instance can have, as the API documents them."""

TICKET_STATUSES = (*STATUSES, "PAUSED")

FINAL_STATUSES = frozenset({"CANCELED", "FINISHED", "ROLLBACKED"})
"""What neither an instance nor a ticket leaves again; ABNORMAL is not among them, it can be continued."""

ENDED_STATUSES = FINAL_STATUSES | {"ABNORMAL"}
"""The statuses of an instance whose run is over, for now at least."""


class Host(Struct, frozen=True, array_like=True, gc=False):
    """The cloud server an instance ran on; only ``resource_id`` is dependable."""

    resource_id: str = ""
    host_name: str = ""
    fixed_ip: str = ""
    region_id: str = ""
    zone_id: str = ""
    application: str = ""
    group: str = ""

    @property
    def label(self) -> str:
        """Return what a person calls this host."""
        return self.host_name or self.fixed_ip or self.resource_id


class Instance(Struct, frozen=True, array_like=True, gc=False):
    """One host's run of the script; ``reason`` and ``log_tail`` are filled while it is ABNORMAL."""

    id: int
    status: str
    created: float | None = None
    finished: float | None = None
    duration: float | None = None
    host: Host = Host()
    reason: str = ""
    log_tail: str = ""


class _Standing(Struct, array_like=True, gc=False):
    """The beginning of an instance; what follows is passed over."""

    id: int
    status: str


_BATCHES = 20
"""As many as a ticket has: what its families ask for, one after another, is unpacked once."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Instance, ...]).decode
_glance = msgspec.msgpack.Decoder(list[_Standing]).decode


def packed(instances: Sequence[Instance]) -> bytes:
    """Return the instances as bytes; their text must be valid Unicode."""
    # A copy: what is encoded keeps the room that it did not need, a quarter of its length.
    return bytes(memoryview(_encode(instances)))


@lru_cache(maxsize=_BATCHES)
def unpacked(data: bytes) -> tuple[Instance, ...]:
    """Return the instances that ``packed`` was given."""
    return _decode(data)


@lru_cache(maxsize=_BATCHES)
def statuses(data: bytes) -> tuple[str, ...]:
    """Return the status of each instance, at half of what unpacking costs."""
    return tuple([standing.status for standing in _glance(data)])
