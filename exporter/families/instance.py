"""Families about instances: how many in which status, how long they took, how they failed."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import accumulate
from math import fsum, inf
from operator import attrgetter
from typing import TYPE_CHECKING

from prometheus_client.utils import floatToGoString

from exporter.families.exemplars import of_executions, of_failures
from exporter.families.family import CounterFamily, GaugeFamily, HistogramFamily
from exporter.families.shape import IDENTITY, batch_labels, batch_values, gauge_of_tickets, places, shown
from exporter.snapshot import OTHER_REASON, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.families.family import Bucket
    from exporter.families.options import Options
    from exporter.snapshot import Batch, Execution, Failure, Instance, Snapshot, Ticket

HOST_LABELS = ("resource_id", "host_name", "fixed_ip", "region_id", "zone_id", "application", "group")
_labels_of_host = attrgetter(*HOST_LABELS)

_ALWAYS = ("ABNORMAL", "FINISHED")


def instances(snapshot: Snapshot, options: Options) -> GaugeFamily:
    """
    Count the instances in each status.

        coc_instances{account="prod",execute_uuid="SCT1",batch="1",status="FINISHED"} 10.0
    """
    family = GaugeFamily(
        "coc_instances",
        "Instances in this status, as of the last poll.",
        labels=[*batch_labels(options), "status"],
    )
    for labels, ticket in shown(snapshot):
        counts: dict[tuple[str, ...], Counter[str]] = {where: Counter() for where in places(ticket, options)}
        for batch in ticket.batches:
            counts[batch_values(batch.index, options)].update(batch.counts)
        for where, told in counts.items():
            # Zeros too: a series that vanishes cannot be alerted on.
            for status in dict.fromkeys((*STATUSES, *told)):
                family.add_metric([*labels, *where, status], told.get(status, 0))
    return family


def batch_instances(snapshot: Snapshot, options: Options) -> GaugeFamily:
    """
    Tell how many instances the API states, whatever its pages held.

        coc_batch_instances{account="prod",execute_uuid="SCT1",batch="1"} 10.0
    """
    family = GaugeFamily(
        "coc_batch_instances",
        "Instances of the batch, as total_instances of the API states.",
        labels=batch_labels(options),
    )
    for labels, ticket in shown(snapshot):
        totals = Counter(dict.fromkeys(places(ticket, options), 0))
        for batch in ticket.batches:
            totals[batch_values(batch.index, options)] += batch.stated
        for rest, total in totals.items():
            family.add_metric([*labels, *rest], total)
    return family


def instance_failures(snapshot: Snapshot, options: Options) -> CounterFamily:
    """
    Count the instances that became ABNORMAL, each failure once.

        coc_instance_failures_total{account="prod",execute_uuid="SCT1",batch="1",reason="other"} 2.0
    """
    family = CounterFamily(
        "coc_instance_failures",
        "Instances that became ABNORMAL, by the reason that their log tells; each failure counts once.",
        labels=[*batch_labels(options), "reason"],
    )
    for labels, ticket in shown(snapshot):
        failures: defaultdict[tuple[str, ...], list[Failure]] = defaultdict(list)
        for where in places(ticket, options):
            failures[*where, OTHER_REASON] = []
        for failure in ticket.failures():
            failures[*batch_values(failure.batch, options), failure.reason].append(failure)
        for rest, told in failures.items():
            family.add_metric([*labels, *rest], len(told), of_failures(told))
    return family


def instance_execution_duration(snapshot: Snapshot, options: Options) -> HistogramFamily:
    """
    Observe how long each ended execution took, each once.

        coc_instance_execution_duration_seconds_bucket{account="a",execute_uuid="S",le="60.0",status="FINISHED"} 9.0
    """
    family = HistogramFamily(
        "coc_instance_execution_duration_seconds",
        "execute_costs of instances that ended, by the status they ended in; each execution counts once.",
        labels=[*IDENTITY, "status"],
    )
    for labels, ticket in shown(snapshot):
        ended: defaultdict[str, list[Execution]] = defaultdict(list, {status: [] for status in _ALWAYS})
        for execution in ticket.executions():
            ended[execution.status].append(execution)
        for status in sorted(ended):
            # fsum: the same executions give the same sum in whatever order they come.
            total = fsum(execution.seconds for execution in ended[status])
            family.add_metric([*labels, status], buckets(ended[status], options.buckets, ticket.late), total)
    return family


def abnormal_instance_info(snapshot: Snapshot, options: Options) -> GaugeFamily:
    """
    Name the instances that are ABNORMAL now, with their hosts.

        coc_abnormal_instance_info{account="a",batch="1",execute_uuid="S",host_name="web-1",reason="disk_full",...} 1.0
    """
    family = GaugeFamily(
        "coc_abnormal_instance_info",
        "1 for each instance that is ABNORMAL now, up to metrics.abnormal_instances of a ticket.",
        labels=[*batch_labels(options), "instance_id", *HOST_LABELS, "reason"],
    )
    for labels, ticket in shown(snapshot):
        told = (_abnormal_labels(*pair, options) for pair in _abnormal(ticket)[: options.abnormal_instances])
        for rest in dict.fromkeys(told):
            family.add_metric([*labels, *rest], 1)
    return family


def _abnormal_labels(batch: Batch, instance: Instance, options: Options) -> tuple[str, ...]:
    host = _labels_of_host(instance.host)
    return (*batch_values(batch.index, options), str(instance.id), *host, instance.reason or OTHER_REASON)


def abnormal_instances_omitted(snapshot: Snapshot, options: Options) -> GaugeFamily:
    """
    Count the ABNORMAL instances beyond those that ``coc_abnormal_instance_info`` names.

        coc_abnormal_instances_omitted{account="prod",execute_uuid="SCT1"} 0.0
    """
    return gauge_of_tickets(
        "coc_abnormal_instances_omitted",
        "ABNORMAL instances beyond metrics.abnormal_instances, which coc_abnormal_instance_info leaves out.",
        snapshot,
        lambda ticket: max(0, ticket.counts.get("ABNORMAL", 0) - options.abnormal_instances),
    )


def buckets(
    executions: Iterable[Execution], bounds: tuple[float, ...], late: frozenset[tuple[int, float]]
) -> list[Bucket]:
    """Return for each bound, the last one infinite, its ``le``, the count up to it, and its slowest execution."""
    under: list[list[Execution]] = [[] for _ in range(len(bounds) + 1)]
    for execution in executions:
        under[bisect_left(bounds, execution.seconds)].append(execution)
    exemplars = (of_executions(told, late) for told in under)
    return list(zip(_edges(bounds), accumulate(map(len, under)), exemplars, strict=True))


@lru_cache
def _edges(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(floatToGoString(bound) for bound in (*bounds, inf))


def _abnormal(ticket: Ticket) -> list[tuple[Batch, Instance]]:
    # By id, so that the chosen ones stay the same while others come and go behind them.
    if not ticket.counts.get("ABNORMAL"):
        return []
    found = ((batch, instance) for batch in ticket.batches for instance in batch.in_status("ABNORMAL"))
    return sorted(found, key=lambda pair: (pair[1].id, pair[0].index))
