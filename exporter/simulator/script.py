"""
A world that a test holds in its hand: tickets stay as they are until the test changes them.

    script = Script()
    ticket = script.ticket("SCT1", batches=[3, 2])
    ticket.set(ticket.ids(1)[0], "ABNORMAL", log="No space left on device")
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import count as numbers
from typing import TYPE_CHECKING, Any

from exporter.simulator.model import Batch, Counts, Head, Instance, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_FIRST_ID = 40_304_358
_ENDED = {"ABNORMAL", "FINISHED", "CANCELED", "ROLLBACKED"}
_TICKET_ENDED = {"FINISHED", "CANCELED"}


@dataclass(frozen=True)
class ScriptedInstance(Instance):
    """A row whose every field the test has set; ``extra`` lays itself over the whole row."""

    message: str | None = None
    target: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def details(self) -> Mapping[str, Any]:
        """Return log and host, and what the test laid over the row."""
        return {"message": self.message, "target_instance": dict(self.target), **self.extra}


class ScriptedTicket:
    """A ticket to be changed by the test; times are Unix seconds, None is the script's clock."""

    def __init__(self, head: Head, clock: Callable[[], float], ids: Iterator[int]) -> None:
        self.head = head
        self.batches: tuple[Batch, ...] = ()
        self._clock = clock
        self._ids = ids
        self._rows: dict[int, dict[int, ScriptedInstance]] = {}

    @property
    def counts(self) -> Counts:
        """Return the instances by status, counted afresh each time."""
        return count(self)

    def instances(self, batch_index: int) -> Sequence[Instance]:
        """Return the instances of a batch, ascending by id."""
        return tuple(self._rows[batch_index].values())

    def ids(self, batch_index: int | None = None) -> list[int]:
        """Return the ids of a batch, or of all."""
        return [i for index, rows in self._rows.items() for i in rows if batch_index in {None, index}]

    def instance(self, instance_id: int) -> ScriptedInstance:
        """Return one instance."""
        return self._rows[self._batch_of(instance_id)][instance_id]

    def set(
        self,
        instance_id: int,
        status: str,
        *,
        at: float | None = None,
        began: float | None = None,
        log: str | None = None,
        **extra: Any,
    ) -> None:
        """
        Put an instance into ``status`` at ``at``: PROCESSING begins then, an end ends then.

        ``began`` says when an instance that ended had begun, if not when the script last said so.
        ``extra`` overwrites fields of the row as the API writes it, with nonsense if a test wants to.
        """
        row = self.instance(instance_id)
        moment = self._ms(at)
        begun = moment if status == "PROCESSING" else row.created if began is None else self._ms(began)
        finished = moment if status in _ENDED else None
        self._put(replace(row, status=status, created=begun, finished=finished, message=log, extra=extra))

    def retry(self, instance_id: int, *, at: float | None = None) -> None:
        """Run an instance again."""
        self.set(instance_id, "PROCESSING", at=at)

    def host(self, instance_id: int, **target: Any) -> None:
        """Overwrite fields of an instance's ``target_instance``."""
        row = self.instance(instance_id)
        self._put(replace(row, target={**row.target, **target}))

    def finish(self, status: str = "FINISHED", *, at: float | None = None) -> None:
        """End the ticket and, in that status, whatever of it is still READY or PROCESSING."""
        for instance_id in self.ids():
            if self.instance(instance_id).status not in _ENDED:
                self.set(instance_id, status, at=at)
        self.status(status, at=at)

    def status(self, status: str, *, at: float | None = None, **overrides: Any) -> None:
        """Put the ticket itself into ``status``; ``overrides`` lie over its fields in A and B."""
        finished = self._ms(at) if status in _TICKET_ENDED else None
        costs = None if finished is None else finished - self.head.created
        self.head = replace(self.head, status=status, finished=finished, costs=costs, overrides=overrides)

    def add(self, batch_index: int, status: str = "READY", *, at: float | None = None) -> int:
        """Add an instance to a batch and return its id."""
        number = next(self._ids)
        row = ScriptedInstance(number, "READY", self._ms(at), None, target=_target(number))
        self._rows[batch_index][number] = row
        self._recount()
        self.set(number, status, at=at)
        return number

    def add_batch(self, size: int, strategy: str = "CONTINUE", status: str = "READY") -> int:
        """Add a batch and return its index."""
        index = len(self.batches) + 1
        self._rows[index] = {}
        self.batches = (*self.batches, Batch(index, 0, strategy))
        for _ in range(size):
            self.add(index, status)
        return index

    def drop(self, instance_id: int) -> None:
        """Take an instance away."""
        del self._rows[self._batch_of(instance_id)][instance_id]
        self._recount()

    def _recount(self) -> None:
        self.batches = tuple(replace(batch, total=len(self._rows[batch.index])) for batch in self.batches)

    def _put(self, row: ScriptedInstance) -> None:
        self._rows[self._batch_of(row.id)][row.id] = row

    def _batch_of(self, instance_id: int) -> int:
        return next(index for index, rows in self._rows.items() if instance_id in rows)

    def _ms(self, at: float | None) -> int:
        return round((self._clock() if at is None else at) * 1000)


class Script:
    """A world of tickets that a test makes, changes and removes."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._tickets: dict[str, ScriptedTicket] = {}
        self._orders = numbers(1)
        self._ids = numbers(_FIRST_ID)

    def ticket(
        self, uuid: str, batches: Sequence[int] = (), *, status: str = "PROCESSING", **known: Any
    ) -> ScriptedTicket:
        """
        Add a ticket with so many READY instances in each batch.

        ``known``: ``name``, ``creator``, ``region_ids``, ``created`` (Unix seconds), ``instances`` (their
        first status), ``strategies`` (one per batch), ``timeout`` and what else ``execute_param`` has, and
        anything of ``properties``.
        """
        created = known.pop("created", None)
        first = known.pop("instances", "READY")
        strategies = known.pop("strategies", ["CONTINUE"] * len(batches))
        at = round((self._clock() if created is None else created) * 1000)
        made = ScriptedTicket(_head(next(self._orders), uuid, at, known), self._clock, self._ids)
        for size, strategy in zip(batches, strategies, strict=True):
            made.add_batch(size, strategy, first)
        made.status(status)
        self._tickets[uuid] = made
        return made

    def remove(self, uuid: str) -> None:
        """Take a ticket away; it is then as if it had never been."""
        del self._tickets[uuid]

    def tickets(self, now: float) -> Sequence[ScriptedTicket]:  # noqa: ARG002 - it stands still
        """Return every ticket in order."""
        return tuple(self._tickets.values())

    def find(self, uuid: str, now: float) -> ScriptedTicket | None:  # noqa: ARG002 - it stands still
        """Return one ticket."""
        return self._tickets.get(uuid)


_PARAMETERS = {"timeout": 300, "success_rate": 100.0, "execute_user": "root", "script_params": []}


def _head(order_id: int, uuid: str, created: int, known: dict[str, Any]) -> Head:
    name = known.pop("name", f"order-{order_id}")
    creator = known.pop("creator", "ops-bot")
    region_ids = known.pop("region_ids", "cn-north-4")
    parameters = {key: known.pop(key, default) for key, default in _PARAMETERS.items()}
    properties = {
        "script_uuid": "SC20251220101500023511657",
        "script_name": name,
        "current_execute_batch_index": 1,
        "execute_param": {"resourceful": True, **parameters},
        "script_source": "CUSTOM_SCRIPT",
        **known,
    }
    return Head(order_id, uuid, name, creator, created, None, None, "PROCESSING", region_ids, properties)


def _target(number: int) -> dict[str, Any]:
    properties = dict.fromkeys(("floating_ip", "application", "group", "project_id"))
    place = {
        "host_name": f"host-{number}",
        "fixed_ip": "10.0.0.1",
        "region_id": "cn-north-4",
        "zone_id": "cn-north-4a",
    }
    return {
        "resource_id": f"66006c8e-dc6b-45bb-a65b-{number:012x}",
        "provider": "ECS",
        "type": "CLOUDSERVER",
        "region_id": "cn-north-4",
        "custom_attributes": None,
        "properties": place | properties,
    }
