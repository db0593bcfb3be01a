"""
The view models: what both the HTML and its JSON twin say.

A field's name is its key in the JSON, so renaming one breaks readers. Times are Unix seconds, durations end in
``_seconds``; every text is already fit to be shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.pages.query import OverviewQuery, TicketQuery


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence about the whole page; ``kind`` is one of starting, stale, error, paused, empty, omitted."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something could not be read."""

    reason: str
    message: str
    since: float


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account; ``health`` is healthy, failing, paused, overdue or waiting."""

    name: str
    health: str
    fault: Trouble | None
    polled: float | None
    tickets: int
    tickets_failed: int
    omitted_tickets: int


@dataclass(frozen=True, slots=True)
class LastFailure:
    """The instance that became ABNORMAL last, of those that still are; ``line`` is the last telling one of its log."""

    instance_id: int
    anchor: str
    batch: int
    host: str
    reason: str
    finished: float | None
    line: str


@dataclass(frozen=True, slots=True)
class TicketRow:
    """A ticket; what is not known, or too old to be shown, is None or 0."""

    account: str
    execute_uuid: str
    name: str
    url: str
    api_url: str
    state: str
    status: str | None
    up: bool
    stale: bool
    fault: Trouble | None
    last_success: float | None
    created: float | None
    finished: float | None
    running_seconds: float | None
    timeout_seconds: float | None
    oldest_processing: float | None
    late: bool
    instances: int
    counts: Mapping[str, int]
    abnormal: int
    failures: int
    last_failure: LastFailure | None


@dataclass(frozen=True, slots=True)
class HostTicket:
    """A ticket that failed on a host."""

    name: str
    account: str
    execute_uuid: str
    url: str


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host by how many different tickets failed on it; ``examples`` are a few of them."""

    host: str
    account: str
    tickets: int
    failures: int
    examples: tuple[HostTicket, ...]


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """A reason of failures; ``share`` is the part of all failures that it explains."""

    reason: str
    patterns: tuple[str, ...]
    failures: int
    share: float | None


@dataclass(frozen=True, slots=True)
class Totals:
    """How many tickets are in which state; ``abnormal`` counts those with an ABNORMAL instance, in any state."""

    tickets: int
    abnormal: int
    failed: int
    active: int
    finished: int


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of the matching rows is shown; ``first`` and ``last`` count from 1."""

    page: int
    pages: int
    per_page: int
    matching: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What ``/`` says; ``hosts`` are the worst ones, ``hosts_omitted`` the number of the others."""

    headline: str
    now: float
    age_seconds: float | None
    interval_seconds: float
    notices: tuple[Notice, ...]
    totals: Totals
    instances: Mapping[str, int]
    accounts: tuple[AccountRow, ...]
    query: OverviewQuery
    paging: Paging
    tickets: tuple[TicketRow, ...]
    hosts: tuple[HostRow, ...]
    hosts_omitted: int
    reasons: tuple[ReasonRow, ...]
    last_reload: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch; ``started`` is None while all of it waits, ``ended`` while a part of it runs or waits."""

    batch: int
    stated: int
    counts: Mapping[str, int]
    started: float | None
    ended: float | None
    running_seconds: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """How many runs took from ``from_seconds`` to ``to_seconds``."""

    from_seconds: float
    to_seconds: float
    abnormal: int
    other: int


@dataclass(frozen=True, slots=True)
class Durations:
    """Times of the runs that ended; percentiles are of runs that really happened (nearest rank)."""

    count: int
    median_seconds: float
    p95_seconds: float
    longest_seconds: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance; ``log`` is the end of its log, None where none is shown; ``last_line`` its last telling line."""

    id: int
    anchor: str
    batch: int
    status: str
    created: float | None
    finished: float | None
    duration_seconds: float | None
    reason: str
    host: str
    host_name: str
    fixed_ip: str
    resource_id: str
    region_id: str
    zone_id: str
    application: str
    group: str
    log: str | None
    last_line: str


@dataclass(frozen=True, slots=True)
class TicketView:
    """What ``/tickets/{account}/{execute_uuid}`` says; ``instances`` begin with the ABNORMAL ones."""

    headline: str
    now: float
    age_seconds: float | None
    interval_seconds: float
    notices: tuple[Notice, ...]
    ticket: TicketRow
    script_name: str
    creator: str
    labels: Mapping[str, str]
    console_url: str | None
    success_rate_threshold: float | None
    current_batch: int | None
    count_disagreement: int
    batches: tuple[BatchRow, ...]
    durations: Durations | None
    logs_shown: bool
    query: TicketQuery
    paging: Paging
    instances: tuple[InstanceRow, ...]
