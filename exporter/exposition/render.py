"""
From families to the bytes of ``/metrics``.

What was written of a ticket that did not change since is kept, family by family, and joined with the rest; the result
is byte for byte what prometheus_client would write of the whole snapshot at once. Nothing here knows a family's name.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from dataclasses import dataclass, replace
from enum import Enum
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

from prometheus_client import exposition as text_format
from prometheus_client.openmetrics import exposition as openmetrics_format

from exporter.exposition.lines import sample_lines
from exporter.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric

    from exporter.families import Options
    from exporter.snapshot import Reading, Ticket, Watch
    from exporter.telemetry import Telemetry

    Family = Callable[[Snapshot, Options], Metric]

_logger = logging.getLogger(__name__)

_EOF = b"# EOF\n"
# A third of the time of 6, the usual level, for a sixth more bytes: of a poll that changed little this is the most.
_GZIP_LEVEL = 3
_FAST = 1
_DEFLATED = b"\x78\x01"
_WORTH_FOLDING = 512
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


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


class Collection(Protocol):
    """Whatever yields families."""

    def collect(self) -> Iterable[Metric]:
        """Yield families."""


@dataclass(frozen=True, slots=True)
class _Families:
    metrics: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.metrics


@dataclass(frozen=True, slots=True)
class _Said:
    """
    What was written of one ticket: the sample lines of each family, in the families' order, deflated where long.

    They are much alike and take a tenth of their length then; of a thousand tickets that saves 25 megabytes.
    """

    ticket: Ticket | None
    watch: Watch
    options: Options
    lines: tuple[bytes, ...]

    def tells(self, reading: Reading, options: Options) -> bool:
        """Tell whether the same would be written now; when a reading was made is no matter of a ticket's families."""
        return self.ticket is reading.shown and self.watch is reading.watch and self.options is options


class Renderer:
    """
    Render snapshots, remembering what was written of each ticket.

    ``of_tickets`` speak of each ticket on its own, ``of_all`` look across. Safe to use from several threads.
    """

    def __init__(self, of_tickets: Sequence[Family], of_all: Sequence[Family], telemetry: Telemetry) -> None:
        self._of_tickets = of_tickets
        self._of_all = of_all
        self._telemetry = telemetry
        self._said: dict[Format, dict[tuple[str, str], _Said]] = {kind: {} for kind in Format}
        self._lock = threading.Lock()

    def body(self, snapshot: Snapshot, options: Options, variant: Variant) -> bytes:
        """Return the exposition of a snapshot, packed."""
        began = time.perf_counter()
        with self._lock:
            body = _packed(self._parts(snapshot, options, variant.format), variant.encoding)
        labels = (variant.format.value, variant.encoding.value)
        self._telemetry.exposition_bytes.labels(*labels).set(len(body))
        self._telemetry.render_duration.labels(*labels).set(time.perf_counter() - began)
        return body

    def forget(self, kind: Format) -> None:
        """Drop what was remembered for a format that nobody asks for; waits for no rendering that is under way."""
        self._said[kind] = {}

    def _parts(self, snapshot: Snapshot, options: Options, kind: Format) -> Iterator[bytes]:
        said = self._renewed(snapshot, options, kind)
        empty = replace(snapshot, readings=())
        headers = _headers([family(empty, options) for family in self._of_tickets], kind)
        for position, header in enumerate(headers):
            yield header
            yield from (_unfolded(ticket.lines[position]) for ticket in said)
        yield write([family(snapshot, options) for family in self._of_all], kind)
        yield write(list(self._telemetry.registry.collect()), kind)
        if kind is Format.OPENMETRICS:
            yield _EOF

    def _renewed(self, snapshot: Snapshot, options: Options, kind: Format) -> list[_Said]:
        before = self._said[kind]
        after = {}
        for reading in snapshot.readings:
            key = (reading.watch.account, reading.watch.execute_uuid)
            said = before.get(key)
            if said is None or not said.tells(reading, options):
                lines = self._lines_or_none(reading, options, kind)
                said = _Said(reading.shown, reading.watch, options, lines)
            after[key] = said
        self._said[kind] = after
        return list(after.values())

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
        written = (sample_lines(family(alone, options), exemplars=exemplars) for family in self._of_tickets)
        return tuple(map(_folded, written))


def _folded(lines: bytes) -> bytes:
    return zlib.compress(lines, _FAST) if len(lines) > _WORTH_FOLDING else lines


def _unfolded(lines: bytes) -> bytes:
    # No family's name begins like what zlib writes at this level.
    return zlib.decompress(lines) if lines.startswith(_DEFLATED) else lines


def write(metrics: Sequence[Metric], kind: Format) -> bytes:
    """Return the families as prometheus_client writes them, without OpenMetrics' end mark."""
    if kind is Format.TEXT:
        return text_format.generate_latest(_Families(metrics))
    body: bytes = openmetrics_format.generate_latest(_Families(metrics))
    return body.removesuffix(_EOF)


def _headers(metrics: Sequence[Metric], kind: Format) -> list[bytes]:
    return [write([metric], kind) for metric in metrics]


def _packed(parts: Iterable[bytes], encoding: Encoding) -> bytes:
    # Written as they come: all of them at once would take as much memory again as the body.
    body = BytesIO()
    if encoding is Encoding.IDENTITY:
        body.writelines(parts)
    else:
        packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        body.writelines(map(packer.compress, parts))
        body.write(packer.flush())
    return body.getvalue()
