"""
Exemplars: from a bucket or a counter to one instance that is behind it (OpenMetrics 1.0, "Exemplars").

Prometheus drops an exemplar that is older than the one it has, and one of more than 128 code points; none is shown
that it would drop. A host's name that is too long for that is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.samples import Exemplar

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from exporter.snapshot import Execution, Failure

_CODE_POINTS = 128


def of_executions(executions: Sequence[Execution], late: Container[tuple[int, float | None]]) -> Exemplar | None:
    """Return the slowest execution; one that was learnt of late could be older than the one shown before."""
    usable = [
        told for told in executions if told.finished is not None and (told.instance_id, told.finished) not in late
    ]
    if not usable:
        return None
    slowest = max(usable, key=lambda told: (told.seconds, told.finished or 0.0))
    return _exemplar(slowest.instance_id, slowest.host_name, slowest.seconds, slowest.finished)


def of_failures(failures: Sequence[Failure]) -> Exemplar | None:
    """Return the latest failure, with how long it took where that is known."""
    usable = [failure for failure in failures if failure.finished is not None]
    if not usable:
        return None
    latest = max(usable, key=lambda failure: (failure.finished or 0.0, failure.instance_id))
    return _exemplar(latest.instance_id, latest.host_name, latest.duration or 0.0, latest.finished)


def _exemplar(instance_id: int, host_name: str, value: float, at: float | None) -> Exemplar:
    labels = {"instance_id": str(instance_id), "host_name": host_name}
    length = sum(len(name) + len(text) for name, text in labels.items())
    # prometheus_client's own parser loses its way in a quote within an exemplar.
    if length > _CODE_POINTS or '"' in host_name:
        del labels["host_name"]
    return Exemplar(labels, value, at)
