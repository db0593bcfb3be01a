"""
A family of samples, held as rows, which cost a seventh of prometheus_client's objects.

Each is what prometheus_client calls a Metric: it has a name, a type, a documentation, a unit and samples, and can be
given to whatever writes those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from prometheus_client.core import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.samples import Exemplar

_UNITS = ("seconds", "bytes", "ratio")

Bucket = tuple[str, float, "Exemplar | None"]
"""An upper bound as it is written, the count up to it, and one observation behind it."""

Row = tuple[str, tuple[str, ...], float, "Exemplar | None"]
"""What a sample's name adds to the family's, the values of its labels, its value, and its exemplar."""


class Family:
    """One name, its meaning, and a row for each sample; values of labels come in the order of ``labels``."""

    type: ClassVar[str]

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = tuple(labels)
        self.rows: list[Row] = []

    @property
    def unit(self) -> str:
        """The unit that the name ends in, empty for a plain number."""
        return next((unit for unit in _UNITS if self.name.endswith(f"_{unit}")), "")

    @property
    def samples(self) -> list[Sample]:
        """The rows as prometheus_client has them."""
        return [
            Sample(self.name + suffix, dict(zip(self.labels_of(suffix), values, strict=True)), value, None, exemplar)
            for suffix, values, value, exemplar in self.rows
        ]

    def labels_of(self, suffix: str) -> tuple[str, ...]:
        """Return the names of the labels that the samples with this suffix have."""
        return (*self.labels, "le") if suffix == "_bucket" else self.labels


class GaugeFamily(Family):
    """What is now."""

    type = "gauge"

    def add_metric(self, labels: Sequence[str], value: float) -> None:
        """Add a sample."""
        self.rows.append(("", (*labels,), value, None))


class CounterFamily(Family):
    """What was counted; the name comes without ``_total``."""

    type = "counter"

    def add_metric(self, labels: Sequence[str], value: float, exemplar: Exemplar | None = None) -> None:
        """Add a sample."""
        self.rows.append(("_total", (*labels,), value, exemplar))


class HistogramFamily(Family):
    """What was observed, by size."""

    type = "histogram"

    def add_metric(self, labels: Sequence[str], buckets: Sequence[Bucket], total: float) -> None:
        """Add the samples of one histogram, whose last bucket is the infinite one; ``total`` is their sum."""
        for bound, count, exemplar in buckets:
            self.rows.append(("_bucket", (*labels, bound), count, exemplar))
        self.rows.append(("_count", (*labels,), buckets[-1][1], None))
        self.rows.append(("_sum", (*labels,), total, None))
