"""What the pages say of a snapshot, before it is HTML or JSON."""

from dataclasses import replace
from typing import Any

import pytest
from browser import worlds
from browser.worlds import INTERVAL, NOW, desk

from exporter.pages import figures, ticket
from exporter.pages.digest import Digests, digest
from exporter.pages.models import Overview, TicketView
from exporter.pages.overview import overview
from exporter.pages.query import OverviewQuery, TicketQuery
from exporter.snapshot import Batch, Execution, Failure, Fault, Host, Instance, Snapshot, Ticket


def seen(snapshot: Snapshot, query: OverviewQuery | None = None, now: float = NOW) -> Overview:
    known = desk(snapshot)
    return overview(snapshot, digest(snapshot, known), query or OverviewQuery(), known, now)


def read(known: Ticket, query: TicketQuery | None = None, **more: Any) -> TicketView:
    reading = worlds.reading(1, known, **more)
    snapshot = Snapshot((worlds.account(),), (reading,), NOW)
    return ticket.view(snapshot, reading, query or TicketQuery(), desk(snapshot), NOW)


def kinds(view: Overview) -> list[str]:
    return [notice.kind for notice in view.notices]


@pytest.mark.parametrize(
    ("world", "told", "headline"),
    [
        ("starting", ["starting"], "Reading the tickets for the first time"),
        ("empty", ["empty"], "No tickets"),
        ("quiet", [], "No instance is ABNORMAL"),
        ("busy", ["paused"], "7 instances are ABNORMAL in 3 tickets"),
        ("stale", ["stale"], "2 instances are ABNORMAL in 1 ticket"),
        ("failing", ["error"], "3 tickets cannot be read"),
    ],
)
def test_each_state_is_told_in_words(world: str, told: list[str], headline: str) -> None:
    view = seen(worlds.WORLDS[world]())
    assert kinds(view) == told
    assert view.headline == headline


def test_data_is_stale_after_three_intervals_and_not_before() -> None:
    snapshot = worlds.quiet()
    assert kinds(seen(snapshot, now=NOW - 12 + 3 * INTERVAL)) == []
    late = seen(snapshot, now=NOW - 11 + 3 * INTERVAL)
    assert kinds(late) == ["stale"]
    assert [account.health for account in late.accounts] == ["overdue"]


def test_a_clock_that_went_back_makes_no_negative_age() -> None:
    assert seen(worlds.busy(), now=NOW - 10_000).age_seconds == 0


def test_failures_come_first_then_unreadable_tickets_then_running_ones() -> None:
    names = [row.name for row in seen(worlds.busy()).tickets]
    assert names[:5] == ["nightly-openssl", "rotate-logs", "restart-agents", "rebuild-cache", "kernel-params"]


@pytest.mark.parametrize(("state", "number"), [("", 8), ("abnormal", 3), ("failed", 2), ("active", 3), ("finished", 3)])
def test_a_filter_shows_as_many_tickets_as_its_total_says(state: str, number: int) -> None:
    view = seen(worlds.busy(), OverviewQuery(state=state))
    assert len(view.tickets) == number
    assert number == (view.totals.tickets if not state else getattr(view.totals, state))


def test_an_account_filter_shows_that_account_only_and_an_unknown_one_nothing() -> None:
    assert {row.account for row in seen(worlds.busy(), OverviewQuery(account="staging")).tickets} == {"staging"}
    assert seen(worlds.busy(), OverviewQuery(account="gone")).tickets == ()


def test_an_order_can_be_turned_round() -> None:
    names = [row.name for row in seen(worlds.busy(), OverviewQuery(sort="name")).tickets]
    assert names == sorted(names)
    turned = [row.name for row in seen(worlds.busy(), OverviewQuery(sort="name", order="desc")).tickets]
    assert turned == names[::-1]


def test_pages_hold_100_tickets_and_together_all_of_them_once() -> None:
    snapshot = worlds.thousands(250)
    pages = [seen(snapshot, OverviewQuery(sort="name", page=page)) for page in (1, 2, 3)]
    assert [len(page.tickets) for page in pages] == [100, 100, 50]
    assert len({row.execute_uuid for page in pages for row in page.tickets}) == 250
    assert (pages[2].paging.first, pages[2].paging.last) == (201, 250)
    assert seen(snapshot, OverviewQuery(page=99)).paging.page == 3


def test_a_host_is_ranked_by_different_tickets_not_by_failures() -> None:
    often = Ticket("A", "ABNORMAL", past_failures=tuple(Failure(n, 1.0, 1, "other", "db-1") for n in range(9)))
    once = [Ticket(name, "ABNORMAL", past_failures=(Failure(1, 1.0, 1, "other", "web-1"),)) for name in "BC"]
    readings = tuple(worlds.reading(n, known) for n, known in enumerate((often, *once)))
    hosts = seen(Snapshot((worlds.account(),), readings, NOW)).hosts
    assert [(host.host, host.tickets, host.failures) for host in hosts] == [("web-1", 2, 2), ("db-1", 1, 9)]


def test_reasons_keep_the_configured_order_and_their_shares_sum_to_one() -> None:
    reasons = seen(worlds.busy()).reasons
    assert [reason.reason for reason in reasons][:2] == ["mirror_down", "disk_full"]
    assert reasons[-1].reason == "other"
    assert sum(reason.share or 0 for reason in reasons) == pytest.approx(1)
    assert sum(reason.failures for reason in reasons) == sum(row.failures for row in seen(worlds.busy()).tickets)


def test_a_reason_that_is_configured_no_more_still_has_its_row() -> None:
    known = Ticket("A", "ABNORMAL", past_failures=(Failure(1, 1.0, 1, "retired"),))
    rows = seen(Snapshot((worlds.account(),), (worlds.reading(1, known),), NOW)).reasons
    assert [(row.reason, row.patterns) for row in rows if row.failures] == [("retired", ())]


def test_an_instance_that_outlasts_the_timeout_makes_its_ticket_late() -> None:
    running = Instance(1, "PROCESSING", NOW - 200)
    known = Ticket("A", "PROCESSING", NOW - 900, timeout=180, batches=(Batch.of(1, 1, (running,)),))
    assert read(known).ticket.late
    assert not read(replace(known, timeout=300.0)).ticket.late


def test_a_ticket_too_old_to_be_shown_shows_nothing_of_what_was_known() -> None:
    fault = Fault("timeout", "No answer.", NOW - 900)
    view = read(worlds.ticket(1, "ABNORMAL", failed=4), stale=True, fault=fault)
    assert view.ticket.status is None
    assert (view.instances, view.batches, view.durations, view.script_name) == ((), (), None, "")


def test_abnormal_instances_come_first_across_batches_and_pages() -> None:
    many = tuple(Instance(n, "ABNORMAL" if n % 3 == 0 else "FINISHED") for n in range(330))
    known = Ticket("A", "ABNORMAL", batches=(Batch.of(1, 200, many[:200]), Batch.of(2, 130, many[200:])))
    statuses = [one.status for page in (1, 2, 3, 4) for one in read(known, TicketQuery(page=page)).instances]
    assert statuses == ["ABNORMAL"] * 110 + ["FINISHED"] * 220


def test_instances_can_be_asked_for_by_status_and_batch() -> None:
    view = read(worlds.ticket(1, "ABNORMAL", failed=4), TicketQuery(status="ABNORMAL", batch=1))
    assert [one.status for one in view.instances] == ["ABNORMAL"] * 4
    assert read(worlds.ticket(1, "ABNORMAL"), TicketQuery(status="NONSENSE", batch=99)).paging.matching == 40


def test_two_instances_with_the_same_id_get_different_anchors() -> None:
    twins = (Instance(7, "ABNORMAL"), Instance(7, "ABNORMAL"), Instance(7, "FINISHED"))
    view = read(Ticket("A", "ABNORMAL", batches=(Batch.of(1, 3, twins),)))
    assert [one.anchor for one in view.instances] == ["i-1-7", "i-1-7-2", "i-1-7-3"]


def test_without_show_logs_no_view_holds_any_part_of_a_log() -> None:
    snapshot = worlds.busy()
    quiet = desk(snapshot, show_logs=False)
    over = overview(snapshot, digest(snapshot, quiet), OverviewQuery(), quiet, NOW)
    one = ticket.view(snapshot, snapshot.readings[0], TicketQuery(), quiet, NOW)
    assert "apt" not in repr((over, one))
    assert "apt" in repr(ticket.view(snapshot, snapshot.readings[0], TicketQuery(), desk(snapshot), NOW))


def test_percentiles_are_runs_that_happened() -> None:
    runs = tuple(Execution(n, 1.0, "ABNORMAL" if n == 20 else "FINISHED", float(n)) for n in range(1, 21))
    durations = read(Ticket("A", "FINISHED", past_executions=runs)).durations
    assert durations is not None
    assert (durations.count, durations.median_seconds, durations.p95_seconds, durations.longest_seconds) == (
        20,
        10,
        19,
        20,
    )
    assert sum(part.other for part in durations.bins) == 19
    assert [part.abnormal for part in durations.bins][-1] == 1


def test_runs_of_no_length_at_all_still_make_a_figure() -> None:
    durations = read(Ticket("A", "FINISHED", past_executions=(Execution(1, 1.0, "FINISHED", 0.0),))).durations
    assert durations is not None
    assert len(figures.columns(durations)) == 1
    assert figures.mark(0.0, durations).x == 0


def test_one_failure_among_ten_thousand_can_be_seen_in_the_bar() -> None:
    parts = {part.status: part for part in figures.segments({"FINISHED": 9999, "ABNORMAL": 1})}
    assert parts["ABNORMAL"].width > 2
    assert sum(part.width for part in parts.values()) == pytest.approx(100, abs=0.1)


def test_a_status_that_the_api_adds_later_is_drawn_too() -> None:
    assert [(part.status, part.style) for part in figures.segments({"SKIPPED": 2})] == [("SKIPPED", "unknown")]


def test_the_timeline_stays_within_its_axis_whatever_the_times() -> None:
    odd = (
        Batch.of(1, 1, (Instance(1, "FINISHED", NOW + 900, NOW - 900),)),
        Batch.of(2, 1, (Instance(2, "FINISHED", None, NOW),)),
        Batch.of(3, 1, (Instance(3, "PROCESSING", NOW - 5),)),
    )
    view = read(Ticket("A", "PROCESSING", NOW - 100, batches=odd))
    spans = figures.spans(view.batches, view.ticket, NOW)
    assert spans[1] is None
    assert all(0 <= span.x <= span.x + span.width <= 100.01 for span in spans if span is not None)


def test_the_digest_of_a_snapshot_is_made_once() -> None:
    snapshot, digests = worlds.busy(), Digests()
    known = desk(snapshot)
    assert digests.of(snapshot, known) is digests.of(snapshot, known)
    assert digests.of(worlds.busy(), known) is not digests.of(snapshot, known)


def test_a_host_of_two_failures_names_the_instance_by_its_host_name_first() -> None:
    failed = Instance(1, "ABNORMAL", NOW, NOW, host=Host(resource_id="r-1", fixed_ip="10.0.0.1"))
    assert read(Ticket("A", "ABNORMAL", batches=(Batch.of(1, 1, (failed,)),))).instances[0].host == "10.0.0.1"
