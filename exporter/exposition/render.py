"""
From families to the bytes of ``/metrics``.

What was written of a ticket that did not change since is kept, family by family, and joined with the rest; the result
is byte for byte what prometheus_client would write of the whole snapshot at once. Nothing here knows a family's name.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prometheus_client import exposition as text_format
from prometheus_client.openmetrics import exposition as openmetrics_format

from exporter.exposition.lines import sample_lines
from exporter.exposition.packing import gzip, pack
from exporter.exposition.sheets import Said, renewed
from exporter.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from prometheus_client import Metric

    from exporter.exposition.sheets import Sheet
    from exporter.families import Family, Options
    from exporter.snapshot import Reading
    from exporter.telemetry import Telemetry

    Collector = Callable[[Snapshot, Options], Family]

_logger = logging.getLogger(__name__)

_EOF = b"# EOF\n"
_LARGE = 128 * 1024
_GATHERED = 2 * 1024 * 1024

P = TypeVar("P")

Body = tuple[bytes, ...]
"""An exposition in several parts, those that did not change the same objects as in the one before."""


class Format(Enum):
    """What a body is written in; text 0.0.4 and 1.0.0 differ in nothing that our names need."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"


class Encoding(Enum):
    """How a body is packed."""

    IDENTITY = "identity"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to hand out the same exposition."""

    format: Format
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class _Families:
    metrics: Sequence[Metric | Family]

    def collect(self) -> Iterable[Metric]:
        # Of a Metric no more is asked than a Family has.
        return cast("Sequence[Metric]", self.metrics)


# What makes a piece of a text, and what makes a body of pieces.
_PACKING: dict[Encoding, tuple[Callable[[bytes], Any], Callable[[Iterable[Any]], Iterable[bytes]]]] = {
    Encoding.IDENTITY: (bytes, iter),
    Encoding.GZIP: (pack, gzip),
}


class Renderer:
    """
    Render snapshots, remembering what was written of each ticket.

    ``of_tickets`` speak of each ticket on its own, ``of_all`` look across. Safe to use from several threads.
    """

    def __init__(self, of_tickets: Sequence[Collector], of_all: Sequence[Collector], telemetry: Telemetry) -> None:
        self._of_tickets = of_tickets
        self._of_all = of_all
        self._telemetry = telemetry
        self._said: dict[Format, list[Said]] = {}
        self._sheets: dict[Variant, list[Sheet[Any]]] = {}
        self._lock = threading.Lock()

    def body(self, snapshot: Snapshot, options: Options, variant: Variant) -> Body:
        """Return the exposition of a snapshot, packed."""
        began = time.perf_counter()
        with self._lock:
            body = tuple(_gathered(self._parts(snapshot, options, variant)))
        labels = (variant.format.value, variant.encoding.value)
        self._telemetry.exposition_bytes.labels(*labels).set(sum(map(len, body)))
        self._telemetry.render_duration.labels(*labels).set(time.perf_counter() - began)
        return body

    def keep(self, variants: Collection[Variant]) -> None:
        """Drop what was remembered for any other variant; waits for no rendering that is under way."""
        for variant in set(self._sheets).difference(variants):
            self._sheets.pop(variant, None)
        for kind in set(self._said).difference(variant.format for variant in variants):
            self._said.pop(kind, None)

    def _parts(self, snapshot: Snapshot, options: Options, variant: Variant) -> Iterable[bytes]:
        kind = variant.format
        said = self._said[kind] = list(self._renewed(snapshot, options, kind))
        empty = replace(snapshot, readings=())
        headers = [_header(family(empty, options), kind) for family in self._of_tickets]
        tail = self._tail(snapshot, options, kind)
        packed, joined = _PACKING[variant.encoding]
        sheets = self._sheets[variant] = renewed(self._sheets.get(variant, ()), said, packed)
        return joined(_joined([*map(packed, headers)], sheets, packed(tail)))

    def _renewed(self, snapshot: Snapshot, options: Options, kind: Format) -> Iterator[Said]:
        before = {said.key: said for said in self._said.get(kind, ())}
        for reading in snapshot.readings:
            said = before.get((reading.watch.account, reading.watch.execute_uuid))
            if said is None or not said.holds(reading, options):
                said = Said.of(reading, options, self._lines_or_none(reading, options, kind))
            yield said

    def _tail(self, snapshot: Snapshot, options: Options, kind: Format) -> bytes:
        exemplars = kind is Format.OPENMETRICS
        families = [family(snapshot, options) for family in self._of_all]
        across = [_header(family, kind) + sample_lines(family, exemplars=exemplars) for family in families]
        end = _EOF if kind is Format.OPENMETRICS else b""
        return b"".join([*across, write(list(self._telemetry.registry.collect()), kind), end])

    def _lines_or_none(self, reading: Reading, options: Options, kind: Format) -> tuple[bytes, ...]:
        """Return the lines of a reading; none of them when they cannot be written, so that all others still are."""
        try:
            return self._lines(reading, options, kind)
        except Exception as error:
            self._telemetry.render_failures.inc()
            ticket = {"account": reading.watch.account, "ticket": reading.watch.execute_uuid}
            _logger.exception("A ticket cannot be written and is left out", extra={**ticket, "err": repr(error)})
            return (b"",) * len(self._of_tickets)

    def _lines(self, reading: Reading, options: Options, kind: Format) -> tuple[bytes, ...]:
        alone = Snapshot(readings=(reading,))
        exemplars = kind is Format.OPENMETRICS
        return tuple(sample_lines(family(alone, options), exemplars=exemplars) for family in self._of_tickets)


def write(metrics: Sequence[Metric | Family], kind: Format) -> bytes:
    """Return the families as prometheus_client writes them, without OpenMetrics' end mark."""
    if kind is Format.TEXT:
        return text_format.generate_latest(_Families(metrics))
    body: bytes = openmetrics_format.generate_latest(_Families(metrics))
    return body.removesuffix(_EOF)


def _header(family: Family, kind: Format) -> bytes:
    return write([type(family)(family.name, family.documentation, family.labels)], kind)


def _joined(headers: Sequence[P], sheets: Sequence[Sheet[P]], tail: P) -> Iterator[P]:
    """Yield each family's header with its lines of every sheet, and the tail."""
    for position, header in enumerate(headers):
        yield header
        yield from (sheet.pieces[position] for sheet in sheets)
    yield tail


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes, small parts put together: each that is yielded is sent on its own."""
    small = bytearray()
    for part in parts:
        if small and (len(small) >= _GATHERED or len(part) >= _LARGE):
            yield bytes(small)
            small.clear()
        if len(part) >= _LARGE:
            yield part
        else:
            small += part
    yield bytes(small)
