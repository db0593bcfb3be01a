"""COC ticket: one ticket from its batches to the hosts that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kit
from kit import RECORDED, TICKET, VERMILION

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard, table

UID = "coc-ticket"

_BUCKETS = f"max by ({kit.IDENTITY}, status, le) (coc_instance_execution_duration_seconds_bucket{{{TICKET}}})"
_NATIVE = f"sum by ({kit.IDENTITY}) (coc_instance_execution_duration_seconds{{{TICKET}}})"
_CREATED = kit.of_ticket("coc_ticket_created_timestamp_seconds")
_BY_SHARE = kit.of_ticket("ticket:coc_forecast_end_timestamp_seconds:by_share", RECORDED)
_BY_MEDIAN = kit.of_ticket("ticket:coc_forecast_end_timestamp_seconds:by_median", RECORDED)


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = kit.board(UID, "COC ticket", "One ticket: its batches, its instances, and the hosts that failed.")
    made = kit.tickets(kit.processes(made), multi=False)
    made = kit.text(made, "window_hours", "Change window (hours from creation)", "4")
    made = kit.text(made, "exporter_url", "Exporter's page", "http://localhost:10262")
    made = kit.text(made, "console_url", "COC console", "https://console.huaweicloud.com/coc/")
    made = made.with_row(kit.row("Now"))
    for panel in (*_state(), *_comparison()):
        made = made.with_panel(panel)
    made = made.with_row(kit.row("Over time"))
    for panel in _graphs():
        made = made.with_panel(panel)
    return made.with_row(kit.row("Hosts that failed")).with_panel(_hosts())


def annotations() -> list[dict[str, Any]]:
    """Return what can be marked."""
    alerts = kit.ALERTS.replace("}", ',execute_uuid=~"$execute_uuid"}')
    return kit.annotations(alerts=alerts, created=kit.CREATED, finished=kit.FINISHED, restarts=kit.RESTARTS)


def _state() -> list[kit.Panel]:
    left = {"as so far": _BY_SHARE, "by median": _BY_MEDIAN}
    return [
        kit.status_colours(
            kit.number(
                "Status",
                "The ticket's own status. Other values than the six of instances, PAUSED among them, are the ticket's.",
                {"{{status}}": f"max by (status) (coc_ticket_status{{{TICKET}}}) == 1"},
            ).text_mode(kit.NAME_ALONE)
        ),
        kit.number(
            "Done",
            "Share of the instances that neither wait nor run.",
            {"done": kit.of_ticket("ticket:coc_instances_done_per_instances:ratio", RECORDED)},
            "percentunit",
        ).decimals(0),
        kit.number(
            "ABNORMAL now",
            "Instances that are ABNORMAL. CocInstancesAbnormal fires from the first one on.",
            {"instances": kit.instances(kit.IDENTITY, ',status="ABNORMAL"')},
            colours={1: VERMILION},
        ),
        kit.number(
            "Forecast end",
            "When a running ticket will end: if it goes on as fast as so far, and with one median run for each batch"
            " that is left. A ticket that is paused or over has none.",
            {legend: f"{end} * 1000" for legend, end in left.items()},
            "dateTimeAsIso",
            width=6,
            with_names=True,
        ),
        kit.number(
            "Left in the change window at the end",
            "Will it end before the change window closes? The window lasts from the ticket's creation for as many hours"
            " as are typed above; negative means too late.",
            {legend: f"{_CREATED} + 3600 * $window_hours - on ({kit.IDENTITY}) {end}" for legend, end in left.items()},
            "s",
            width=6,
            first=VERMILION,
            colours={0: kit.GREEN},
            with_names=True,
        ),
    ]


def _comparison() -> list[kit.Panel]:
    name, share = "ticket:coc_instance_execution_duration_seconds", "ticket:coc_instances_abnormal_per_ended"
    return [
        kit.number(
            "Median duration, and before",
            "Of this ticket, and of the tickets of the same script that ended within seven days.",
            {
                "this ticket": kit.of_ticket(f"{name}:p50", RECORDED),
                "last tickets": kit.of_ticket(f"{name}:p50_script7d", RECORDED),
            },
            "s",
            width=8,
            with_names=True,
        ),
        kit.number(
            "Failure share, and before",
            "ABNORMAL among the instances that ended: of this ticket, and of the tickets of the same script that ended"
            " within seven days. CocAbnormalShareHigh fires above 20 %.",
            {
                "this ticket": kit.of_ticket(f"{share}:ratio", RECORDED),
                "last tickets": kit.of_ticket(f"{share}:ratio_script7d", RECORDED),
            },
            "percentunit",
            width=8,
            colours={0.2: VERMILION},
            with_names=True,
        ),
        kit.number(
            "Longest run against timeout",
            "How long the instance runs that has run longest, and the ticket's own timeout. CocTicketStuck fires when"
            " the first is above the second.",
            {
                "longest run": f"time() - min by ({kit.IDENTITY})"
                f" (coc_ticket_oldest_processing_timestamp_seconds{{{TICKET}}})",
                "timeout": kit.of_ticket("coc_ticket_timeout_seconds"),
            },
            "s",
            width=8,
            with_names=True,
        ),
    ]


def _graphs() -> list[kit.Panel]:
    waiting = kit.instances("batch", ',status=~"READY|PROCESSING"')
    return [
        kit.graph(
            "Batches",
            "Share of each batch that is done: neither waits nor runs.",
            {"batch {{batch}}": f"1 - {waiting} / ({kit.instances('batch')} > 0)"},
            "percentunit",
        ).max(1),
        kit.status_colours(
            kit.graph(
                "Instances by status",
                "All instances of the ticket.",
                {"{{status}}": kit.instances("status")},
                stacked=True,
            )
        ),
        kit.durations(TICKET),
        kit.graph(
            "Duration of executions so far",
            "Median and 95th percentile of everything that ended since the ticket began.",
            {
                f"{name}": f"histogram_quantile({share}, sum by ({kit.IDENTITY}, le) ({_BUCKETS})) >= 0\n"
                f"or\nhistogram_quantile({share}, {_NATIVE}) >= 0"
                for name, share in (("median", 0.5), ("95th percentile", 0.95))
            },
            "s",
        ),
        kit.failures(TICKET),
        kit.graph(
            "Age of data",
            "When the ticket was last read whole. A ticket that ended is not read again; of others CocDataStale tells"
            " above six poll intervals.",
            {"age": f"time() - {kit.of_ticket('coc_ticket_last_success_timestamp_seconds')}"},
            "s",
        ),
    ]


def _hosts() -> table.Panel:
    shown = "batch, instance_id, host_name, fixed_ip, resource_id, region_id, zone_id, application, group, reason"
    expr = f"max by (account, execute_uuid, {shown}) (coc_abnormal_instance_info{{{TICKET}}})"
    panel = kit.listing(
        "Hosts that failed",
        "The instances that are ABNORMAL now, up to metrics.abnormal_instances of the exporter's config. The host leads"
        " to the exporter's page, which has the end of its log.",
        [kit.query(expr, ref="A", as_table=True)],
        8,
    )
    names = {label: label.replace("_", " ") for label in shown.split(", ")}
    names |= {"host_name": "host", "fixed_ip": "address", "resource_id": "resource", "reason": "reason"}
    # Account and execute_uuid stay, as the links are made of them.
    names |= {"account": "account", "execute_uuid": "execute_uuid"}
    panel = kit.columns(panel, names, hidden=("Value", "Value #A"))
    links = [*kit.link("Open the exporter's page", kit.PAGE), *kit.link("Open the COC console", "${console_url}")]
    for host in ("host", "address", "resource"):
        panel = kit.column(panel, host, links=links)
    return panel
