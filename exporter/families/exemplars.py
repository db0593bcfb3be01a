"""
Exemplars: from a bucket or a counter to one instance that is behind it (OpenMetrics 1.0, "Exemplars").

Prometheus drops an exemplar that is older than the one it has, and one of more than 128 code points; none is shown
that it would drop. A host's name that is too long for that is left out.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from prometheus_client.samples import Exemplar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.snapshot import Execution, Failure

_CODE_POINTS = 128

_seconds_and_end = attrgetter("seconds", "finished")
_end_and_id = attrgetter("finished", "instance_id")


def of_executions(executions: Sequence[Execution], late: frozenset[tuple[int, float]]) -> Exemplar | None:
    """Return the slowest execution; one that was learnt of late could be older than the one shown before."""
    usable = [told for told in executions if told.finished is not None]
    if late:
        usable = [told for told in usable if told.key not in late]
    if not usable:
        return None
    slowest = max(usable, key=_seconds_and_end)
    return _exemplar(slowest.instance_id, slowest.host_name, slowest.seconds, slowest.finished)


def of_failures(failures: Sequence[Failure]) -> Exemplar | None:
    """Return the latest failure, with how long it took where that is known."""
    usable = [failure for failure in failures if failure.finished is not None]
    if not usable:
        return None
    latest = max(usable, key=_end_and_id)
    return _exemplar(latest.instance_id, latest.host_name, latest.duration or 0.0, latest.finished)


def _exemplar(instance_id: int, host_name: str, value: float, at: float | None) -> Exemplar:
    labels = {"instance_id": str(instance_id), "host_name": host_name}
    length = sum(map(len, (*labels.keys(), *labels.values())))
    # prometheus_client's own parser loses its way in a quote within an exemplar.
    if length > _CODE_POINTS or '"' in host_name:
        del labels["host_name"]
    return Exemplar(labels, value, at)
