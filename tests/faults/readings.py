"""What an exposition says, checked as it is read: parseable, and each series once."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from exporter.exposition import Encoding, Format, Variant

if TYPE_CHECKING:
    from exporter.cli.wiring import Exporter

Series = tuple[str, frozenset[tuple[str, str]]]
Counts = dict[tuple[str, str], float]
"""Instances by batch and status."""

_PARSERS = {Format.TEXT: classic, Format.OPENMETRICS: openmetrics}


class Exposition:
    """The samples of one body; raises ValueError when a parser refuses it or a series comes twice."""

    def __init__(self, body: str, kind: Format = Format.TEXT) -> None:
        self.samples: dict[Series, float] = {}
        for family in _PARSERS[kind](body):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                if key in self.samples:
                    raise ValueError(f"twice: {sample.name}{sample.labels}")
                self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series, None when it is not shown."""
        return self.samples.get((name, frozenset(labels.items())))

    def of(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return every series of a name that has these labels, by the labels it has beside them."""
        wanted = frozenset(labels.items())
        return {
            rest - wanted: value for (found, rest), value in self.samples.items() if found == name and wanted <= rest
        }

    @cached_property
    def tickets(self) -> dict[str, Counts]:
        """The instances of every ticket that is shown, without zeros."""
        told: dict[str, Counts] = {}
        for labels, value in self.of("coc_instances").items():
            row = dict(labels)
            counts = told.setdefault(row["execute_uuid"], {})
            if value:
                counts[row.get("batch", ""), row["status"]] = value
        return told

    def counts(self, uuid: str) -> Counts | None:
        """Return the instances of a ticket, without zeros; None when it is not shown."""
        return self.tickets.get(uuid)

    def up(self, uuid: str) -> float | None:
        return next(iter(self.of("coc_ticket_up", execute_uuid=uuid).values()), None)

    def read_at(self, uuid: str) -> float | None:
        return next(iter(self.of("coc_ticket_last_success_timestamp_seconds", execute_uuid=uuid).values()), None)

    def total(self, name: str, uuid: str) -> float | None:
        """Return the sum over every series of a ticket, None when there is none."""
        found = self.of(name, execute_uuid=uuid)
        return sum(found.values()) if found else None


async def shown(exporter: Exporter, kind: Format = Format.TEXT) -> Exposition:
    """Return what a scraper would get now."""
    return Exposition(b"".join(await exporter.board.body(Variant(kind, Encoding.IDENTITY))).decode(), kind)


def truth(ticket) -> Counts:
    """Return the instances of a scripted ticket as the world has them, without zeros."""
    found: Counter[tuple[str, str]] = Counter()
    for batch in ticket.batches:
        found.update((str(batch.index), row.status) for row in ticket.instances(batch.index))
    return dict(found)
