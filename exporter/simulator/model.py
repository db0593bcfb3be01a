"""
What a world shows at one moment, in the API's own words and units (ms), and how it is written as JSON.

No time passes here: a ``Ticket`` is what one request sees of it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATUSES = ("READY", "PROCESSING", "ABNORMAL", "CANCELED", "FINISHED", "ROLLBACKED")
"""What an instance can be (answer of ShowScriptOrdersBatchDetail)."""


def dumps(value: object) -> bytes:
    """Write ``value`` the way the API does: compact, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Instance:
    """One host's run of the script: a row of ``execute_instances``."""

    id: int
    status: str
    created: int
    finished: int | None

    def details(self) -> Mapping[str, Any]:
        """Return the fields beyond times and status: log, host, undocumented ones."""
        raise NotImplementedError

    def body(self) -> dict[str, Any]:
        """Return the row as the API writes it; ``execute_costs`` is in ms whatever its page says."""
        return {
            "id": self.id,
            "gmt_created": self.created,
            "gmt_finished": self.finished,
            "execute_costs": None if self.finished is None else self.finished - self.created,
            "status": self.status,
            **self.details(),
        }

    @cached_property
    def json(self) -> bytes:
        """Return the row as bytes, written once."""
        return dumps(self.body())


@dataclass(frozen=True)
class Batch:
    """A row of ListScriptOrdersBatches."""

    index: int
    total: int
    strategy: str
    label: str | None = None

    def body(self) -> dict[str, Any]:
        """Return the row; its ``properties`` is a string, and absent from the official example."""
        row: dict[str, Any] = {
            "batch_index": self.index,
            "total_instances": self.total,
            "rotation_strategy": self.strategy,
        }
        return row if self.label is None else row | {"properties": self.label}


@dataclass(frozen=True)
class Head:
    """What is known of a ticket as a whole."""

    order_id: int
    uuid: str
    name: str
    creator: str
    created: int
    finished: int | None
    costs: int | None
    status: str
    region_ids: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def _common(self) -> dict[str, Any]:
        return {
            "execute_uuid": self.uuid,
            "gmt_created": self.created,
            "gmt_finished": self.finished,
            "execute_costs": self.costs,
            "creator": self.creator,
            "status": self.status,
        }

    @cached_property
    def listed(self) -> bytes:
        """Return the ticket as a row of ListScriptOrders."""
        names = {"order_id": self.order_id, "order_name": self.name}
        regions = {"properties": {"region_ids": self.region_ids}}
        return dumps(names | self._common() | regions | dict(self.overrides))

    @cached_property
    def basic(self) -> bytes:
        """Return the ``data`` of ShowScriptOrderBasicInfo."""
        return dumps(self._common() | {"properties": dict(self.properties)} | dict(self.overrides))


Counts = dict[str, tuple[int, list[int]]]
"""By status: how many instances, and the batches they are in."""


class Ticket(Protocol):
    """A ticket as one request sees it."""

    @property
    def head(self) -> Head:
        """Return what is known of it as a whole."""

    @property
    def batches(self) -> Sequence[Batch]:
        """Return its batches by index."""

    @property
    def counts(self) -> Counts:
        """Return its instances by status."""

    def instances(self, batch_index: int) -> Sequence[Instance]:
        """Return the instances of a batch that exists, ascending by id."""


class World(Protocol):
    """The truth that the API tells."""

    def tickets(self, now: float) -> Sequence[Ticket]:
        """Return every ticket visible at ``now`` (Unix seconds), ascending by order id."""

    def find(self, uuid: str, now: float) -> Ticket | None:
        """Return one ticket, or None when there is none of this id."""


def count(ticket: Ticket) -> Counts:
    """Count the instances of ``ticket`` by status; statuses nobody has are left out."""
    found: Counts = {}
    for batch in ticket.batches:
        here = Counter(instance.status for instance in ticket.instances(batch.index))
        for status, number in here.items():
            before, indexes = found.get(status, (0, []))
            found[status] = (before + number, [*indexes, batch.index])
    return found
