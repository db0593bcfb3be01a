"""From the API's shapes to the words of ``snapshot``: units, spellings, nulls, and logs cut to their tail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from exporter.api import wire
from exporter.api.decode import text
from exporter.api.durations import duration
from exporter.api.paging import Page
from exporter.snapshot import Host, Instance, Statistics, StatusCount, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.api.statuses import Statuses
    from exporter.telemetry import Telemetry

LOG_TAIL = 4096
"""Bytes of an ABNORMAL instance's log that are kept."""

LONGEST_TEXT = 200
"""Characters of any other text that are kept: it may become a label value."""

_NO_HOST = Host()
_NO_PROPERTIES = wire.TargetProperties()


@dataclass(frozen=True, slots=True)
class Listed:
    """A ticket as the listing tells it; ``id`` is the marker; both times in Unix seconds."""

    id: int
    execute_uuid: str
    name: str
    status: str
    creator: str
    created: float | None
    finished: float | None


class Interpreter:
    """
    Read the API's shapes.

    ``reason_of`` names the failure that a whole log tells of; ``keep_logs`` False drops every log here, at the source.
    """

    def __init__(
        self, statuses: Statuses, telemetry: Telemetry, reason_of: Callable[[str], str], *, keep_logs: bool
    ) -> None:
        self._statuses = statuses
        self._telemetry = telemetry
        self._reason_of = reason_of
        self._keep_logs = keep_logs

    def ticket(self, data: wire.TicketData) -> Ticket:
        """Return a ticket's own facts."""
        properties = data.properties or wire.TicketProperties()
        parameter = properties.execute_param or wire.ExecuteParam()
        rate = parameter.success_rate
        return Ticket(
            execute_uuid=data.execute_uuid,
            status=self._status(data.status, "ticket.status"),
            created=_seconds(data.gmt_created),
            finished=_seconds(data.gmt_finished),
            creator=_short(data.creator),
            script_name=_short(None if properties.script_name is None else str(properties.script_name)),
            timeout=parameter.timeout,
            success_rate=None if rate is None else rate / 100,
            current_batch=properties.current_execute_batch_index,
        )

    def statistics(self, data: wire.StatisticsData) -> Statistics:
        """Return the API's counts; the total falls back to their sum."""
        rows = tuple(
            StatusCount(
                self._status(row.instance_status, "statistics.instance_status"),
                row.instance_count,
                _indexes(*row.batch_indexes or ()),
            )
            for row in data.execute_statistics
        )
        total = sum(row.count for row in rows) if data.total_instance is None else data.total_instance
        return Statistics(total, rows)

    def batch_page(self, data: wire.BatchPage) -> Page[Instance]:
        """Return a page of instances."""
        return Page(data.total_instances, [self._instance(item) for item in data.execute_instances or ()])

    def orders(self, data: wire.OrderPage) -> Page[Listed]:
        """Return a page of the listing."""
        return Page(data.total, [self._listed(order) for order in data.data or ()])

    def _instance(self, raw: wire.ExecuteInstance) -> Instance:
        status = self._status(raw.status, "batch_page.status")
        seconds, refused = duration(raw.execute_costs, raw.gmt_created, raw.gmt_finished)
        if refused is not None:
            self._telemetry.dropped(refused)
        reason = log_tail = ""
        if status == "ABNORMAL":
            log = text(raw.message)
            reason = self._reason_of(log)
            log_tail = tail(log) if self._keep_logs else ""
        return Instance(
            id=raw.id,
            status=status,
            created=_seconds(raw.gmt_created),
            finished=_seconds(raw.gmt_finished),
            duration=seconds,
            host=_host(raw.target_instance),
            reason=reason,
            log_tail=log_tail,
        )

    def _listed(self, order: wire.Order) -> Listed:
        return Listed(
            id=order.order_id,
            execute_uuid=order.execute_uuid,
            name=_short(order.order_name),
            status=self._status(order.status, "list_tickets.status"),
            creator=_short(order.creator),
            created=_seconds(order.gmt_created),
            finished=_seconds(order.gmt_finished),
        )

    def _status(self, raw: str, path: str) -> str:
        name, documented = self._statuses.name(raw)
        if not documented:
            self._telemetry.drifted(f"{path}={name}")
        return name


@lru_cache(maxsize=4096)
def _indexes(*indexes: int) -> frozenset[int]:
    # A set takes kilobytes, and those of most tickets are alike.
    return frozenset(indexes)


def tail(log: str) -> str:
    """Return the last ``LOG_TAIL`` bytes of a log, cut at a whole character."""
    return log[-LOG_TAIL:].encode(errors="replace")[-LOG_TAIL:].decode(errors="ignore")


def _short(value: str | None) -> str:
    return "" if value is None else value[:LONGEST_TEXT]


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _host(target: wire.Target | None) -> Host:
    if target is None:
        return _NO_HOST
    seen = target.properties or _NO_PROPERTIES
    return Host(
        _short(target.resource_id),
        _short(seen.host_name),
        _short(seen.fixed_ip),
        _short(seen.region_id or target.region_id),
        _short(seen.zone_id),
        _short(seen.application),
        _short(seen.group),
    )
