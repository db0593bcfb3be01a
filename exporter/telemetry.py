"""
The exporter's own metrics, in their own registry: direct instrumentation, and never a word about a ticket.

Counters and label sets that can be foreseen exist from the start, so that 0 is exported before the first event.
"""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from exporter import __version__
from exporter.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATIONS = (
    "list_tickets",
    "ticket",
    "statistics",
    "batches",
    "batch_page",
    "iam_token",
    "metadata_token",
    "metadata_key",
)

DROP_REASONS = ("duration_mismatch", "duration_range", "malformed_record", "malformed_value")
"""Why a record, or a value of it, was refused: the closed set of ``coc_exporter_dropped_records_total``."""

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DRIFT_LIMIT = 50
_LONGEST_PATH = 120
_UNFIT = re.compile(r"[^A-Za-z0-9_.=-]")


def reasons(error: type[ApiError] = ApiError) -> Iterator[str]:
    """Yield the label value of each kind of failure, from the tree of errors."""
    yield error.reason
    for kind in error.__subclasses__():
        yield from reasons(kind)


class Telemetry:
    """Every instrument of the exporter, ready to be counted on; ``process`` adds ``process_*`` and ``python_*``."""

    def __init__(self, *, process: bool = True) -> None:
        # Prometheus stores _created series as series of their own.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)
        self._build_process_metrics()
        self._build_poll_metrics()
        self._build_api_metrics()
        self._drift_paths: set[str] = set()
        self._shown: dict[tuple[Gauge, str], float | None] = {}

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, unit=_unit(name), registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _build_process_metrics(self) -> None:
        build = self._gauge(
            "coc_exporter_build_info",
            "1, with the version of exporter and Python.",
            "version",
            "pythonversion",
        )
        build.labels(__version__, platform.python_version()).set(1)
        self.config_reload_ok = self._gauge(
            "coc_exporter_config_last_reload_successful", "1 when the last load of the config succeeded."
        )
        self.config_reloaded = self._gauge(
            "coc_exporter_config_last_reload_success_timestamp_seconds",
            "When the config was last loaded with success, in Unix seconds.",
        )
        self.shard_ordinal = self._gauge("coc_exporter_shard_ordinal", "Which of the shards this exporter is, from 0.")
        self.total_shards = self._gauge("coc_exporter_total_shards", "Over how many exporters tickets are divided.")
        self.exposition_bytes = self._gauge(
            "coc_exporter_exposition_bytes", "Size of the exposition last rendered.", "format", "encoding"
        )
        self.render_duration = self._gauge(
            "coc_exporter_render_duration_seconds",
            "How long the last rendering of the exposition took.",
            "format",
            "encoding",
        )
        self.render_failures = self._counter(
            "coc_exporter_render_failures_total",
            "Tickets left out of an exposition because of a fault in the exporter.",
        )
        self.event_loop_lag = Histogram(
            "coc_exporter_event_loop_lag_seconds",
            "How much later than asked the event loop of scrapes woke, looked at once a second.",
            unit="seconds",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.log_messages = self._counter(
            "coc_exporter_log_messages_total", "Log lines of level warning and error.", "level"
        )
        for level in ("warning", "error"):
            self.log_messages.labels(level)

    def _build_poll_metrics(self) -> None:
        self.poll_duration = self._gauge(
            "coc_exporter_poll_duration_seconds",
            "How long the last poll took; of several accounts, the slowest.",
        )
        self.last_poll = self._gauge(
            "coc_exporter_last_poll_timestamp_seconds",
            "When the last poll ended, in Unix seconds; of several accounts, the one longest ago.",
        )
        self.poll_interval = self._gauge("coc_exporter_poll_interval_seconds", "The configured time between two polls.")
        self.polls = self._counter("coc_exporter_polls_total", "Polls that ended, of each account.")
        self.poll_failures = self._counter(
            "coc_exporter_poll_failures_total",
            "Tickets and listings that could not be read in a poll.",
            "reason",
        )
        for reason in sorted({*reasons(), "internal"}):
            self.poll_failures.labels(reason)
        self.poll_overruns = self._counter(
            "coc_exporter_poll_overruns_total", "Polls that took longer than the interval."
        )
        self.dropped_records = self._counter(
            "coc_exporter_dropped_records_total", "Records or values of the API that were refused.", "reason"
        )
        for reason in DROP_REASONS:
            self.dropped_records.labels(reason)
        self._schema_drift = self._counter(
            "coc_exporter_schema_drift_total", "Fields or statuses that the API documents nowhere.", "field"
        )

    def _build_api_metrics(self) -> None:
        self.api_requests = self._counter(
            "coc_exporter_api_requests_total",
            "Requests sent to the API; code is the HTTP status, or error.",
            "account",
            "operation",
            "code",
        )
        self.api_request_duration = Histogram(
            "coc_exporter_api_request_duration_seconds",
            "How long the API took from the request to the last byte.",
            ("account", "operation"),
            unit="seconds",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.api_retries = self._counter(
            "coc_exporter_api_retries_total", "Requests sent again.", "account", "operation", "reason"
        )
        self.api_token_expiry = self._gauge(
            "coc_exporter_api_token_expiry_timestamp_seconds",
            "When the token or temporary key in use expires, in Unix seconds.",
            "account",
        )
        self.api_clock_offset = self._gauge(
            "coc_exporter_api_clock_offset_seconds", "The API's Date header minus our clock.", "account"
        )
        self.api_rate_limit = self._gauge(
            "coc_exporter_api_request_rate_limit", "Requests a second that we allow ourselves now.", "account"
        )
        self.api_queue_wait = Histogram(
            "coc_exporter_api_queue_wait_seconds",
            "How long a request waited for our own limits.",
            ("account",),
            unit="seconds",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.api_paused_until = self._gauge(
            "coc_exporter_api_paused_until_timestamp_seconds",
            "Next attempt after a lock or an open circuit, in Unix seconds; absent when not paused.",
            "account",
        )

    def dropped(self, reason: str, number: int = 1) -> None:
        """Count ``number`` records or values as refused for a reason of ``DROP_REASONS``."""
        self.dropped_records.labels(reason).inc(number)

    def drifted(self, path: str) -> None:
        """Count a field or status that no page of the API tells of; beyond 50 different ones as ``other``."""
        path = _UNFIT.sub("_", path)[:_LONGEST_PATH]
        if path not in self._drift_paths and len(self._drift_paths) >= _DRIFT_LIMIT:
            path = "other"
        else:
            self._drift_paths.add(path)
        self._schema_drift.labels(path).inc()

    def paused(self, account: str, until: float | None) -> None:
        """Show when the account is tried again, or that it is not paused."""
        self._show(self.api_paused_until, account, until)

    def token_expires(self, account: str, at: float | None) -> None:
        """Show when the account's token or temporary key ends, or that none is known."""
        self._show(self.api_token_expiry, account, at)

    def _show(self, gauge: Gauge, account: str, value: float | None) -> None:
        """Set an account's series, or let it vanish; most often nothing changed since the last request."""
        if self._shown.get((gauge, account)) == value:
            return
        self._shown[gauge, account] = value
        if value is None:
            gauge.remove_by_labels({"account": account})
        else:
            gauge.labels(account).set(value)

    def forget_account(self, account: str) -> None:
        """Drop every series of an account that left the config."""
        for family in (
            self.api_requests,
            self.api_request_duration,
            self.api_retries,
            self.api_token_expiry,
            self.api_clock_offset,
            self.api_rate_limit,
            self.api_queue_wait,
            self.api_paused_until,
        ):
            family.remove_by_labels({"account": account})
        for gauge in (self.api_token_expiry, self.api_paused_until):
            self._shown.pop((gauge, account), None)


def _unit(name: str) -> str:
    return next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")
