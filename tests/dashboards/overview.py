"""COC overview: the state of all tickets, and what wants attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kit
from kit import ACCOUNT, ORANGE, RECORDED, TICKET, VERMILION

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard, table

UID = "coc-overview"

_AGE = kit.running(f"(time() - {kit.of_ticket('coc_ticket_last_success_timestamp_seconds')})")
_STATUS = f"max by ({kit.IDENTITY}, status) (coc_ticket_status{{{TICKET}}})"
_SUCCESS = f"1 - {kit.of_ticket('ticket:coc_instances_abnormal_per_ended:ratio', RECORDED)}"
_DONE = kit.of_ticket("ticket:coc_instances_done_per_instances:ratio", RECORDED)
_DEMANDED = kit.of_ticket("coc_ticket_success_rate_threshold_ratio")
_BY_SHARE = kit.of_ticket("ticket:coc_forecast_end_timestamp_seconds:by_share", RECORDED)
_ABNORMAL = ',status="ABNORMAL"'
# Tickets that are not over come first, and of these the ones with the most ABNORMAL instances.
_PLACE = (
    f"1e6 * {kit.of_ticket('ticket:coc_ticket_ended:max', RECORDED)}"
    f" - on ({kit.IDENTITY}) {kit.instances(kit.IDENTITY, _ABNORMAL)}"
)


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = kit.board(UID, "COC overview", "All tickets that the exporter watches, and what wants attention.")
    made = kit.tickets(kit.processes(made), multi=True)
    made = kit.text(made, "exporter_url", "Exporter's page", "http://localhost:10262")
    made = kit.text(made, "console_url", "COC console", "https://console.huaweicloud.com/coc/")
    made = made.with_row(kit.row("Now"))
    for panel in _numbers():
        made = made.with_panel(panel)
    made = made.with_row(kit.row("Tickets")).with_panel(_tickets())
    made = made.with_row(kit.row("Over time"))
    for panel in _graphs():
        made = made.with_panel(panel)
    return made


def annotations() -> list[dict[str, Any]]:
    """Return what can be marked."""
    return kit.annotations(alerts=kit.ALERTS, created=kit.CREATED, finished=kit.FINISHED, restarts=kit.RESTARTS)


def _numbers() -> list[kit.Panel]:
    accounts = f"max by (account) (coc_up{{{ACCOUNT}}})"
    read = kit.of_ticket("coc_ticket_up")
    return [
        kit.status_colours(
            kit.number(
                "Tickets by status",
                "How many tickets are in which status of their own.",
                {"{{status}}": f"sum by (status) ({_STATUS}) > 0"},
                width=8,
                with_names=True,
            )
        ),
        kit.number(
            "ABNORMAL now",
            "Instances of the chosen tickets that are ABNORMAL. CocInstancesAbnormal fires from the first one on.",
            {"instances": f"sum({kit.instances(kit.IDENTITY, _ABNORMAL)})"},
            colours={1: VERMILION},
        ),
        kit.number(
            "Accounts that cannot be read",
            "Accounts whose API did not answer, or refused us, in the last poll of every shard. CocAccountBlind fires"
            " when it stays so.",
            {"accounts": f"count({accounts}) - sum({accounts})"},
            colours={1: VERMILION},
        ),
        kit.number(
            "Tickets that cannot be read",
            "Tickets that the last poll did not read whole. CocTicketUnreadable fires when it stays so.",
            {"tickets": f"count({read}) - sum({read})"},
            colours={1: ORANGE},
        ),
        kit.number(
            "Oldest data",
            "Age of the oldest data of a ticket that is not over. CocDataStale fires above six poll intervals: three"
            " minutes where nothing else is configured.",
            {"age": f"max({_AGE})"},
            "s",
            colours={180: VERMILION},
        ).decimals(0),
    ]


def _tickets() -> table.Panel:
    exprs = {
        "A": f"max by ({kit.IDENTITY}, name, script_name, creator) (coc_ticket_info{{{TICKET}}})",
        "B": f"{_STATUS} == 1",
        "C": kit.shown(_DONE),
        "D": kit.instances(kit.IDENTITY, _ABNORMAL),
        "E": kit.shown(_SUCCESS),
        "F": _DEMANDED,
        "G": f"{kit.shown(_BY_SHARE)} * 1000",
        "H": _AGE,
        "I": kit.shown(f"({_PLACE})"),
    }
    targets = [kit.query(expr, ref=ref, as_table=True) for ref, expr in exprs.items()]
    panel = kit.listing(
        "State of all tickets",
        "One line for each ticket, those that are not over first, by their ABNORMAL instances. The success rate is that"
        " of the instances that ended; the forecast assumes that a ticket goes on as fast as so far. The name leads to"
        " the ticket's dashboard, the execute_uuid to the exporter's page and to the console.",
        targets,
        10,
    )
    names = {
        "name": "ticket",
        "status": "status",
        "Value #C": "done",
        "Value #D": "ABNORMAL",
        "Value #E": "success rate",
        "Value #F": "demanded",
        "Value #G": "forecast end",
        "Value #H": "age of data",
        "script_name": "script",
        "creator": "creator",
        "account": "account",
        "execute_uuid": "execute_uuid",
    }
    panel = kit.sort(panel, "Value #I")
    return _columns(kit.columns(panel, names, hidden=("job", "Value #A", "Value #B", "Value #I")))


def _columns(panel: table.Panel) -> table.Panel:
    ticket = "var-account=${__data.fields.account}&var-execute_uuid=${__data.fields.execute_uuid}"
    links = [*kit.link("Open the exporter's page", kit.PAGE), *kit.link("Open the COC console", "${console_url}")]
    coloured = {"custom__cellOptions": {"type": "color-text"}}
    red = {"mode": "absolute", "steps": [{"value": None, "color": "text"}, {"value": 1, "color": VERMILION}]}
    panel = kit.column(panel, "ticket", links=kit.link("Open the ticket's dashboard", f"{kit.TICKET_BOARD}&{ticket}"))
    panel = kit.column(panel, "execute_uuid", links=links)
    panel = kit.column(panel, "status", mappings=kit.status_mappings(), **coloured)
    panel = kit.column(panel, "ABNORMAL", thresholds=red, **coloured)
    for share in ("done", "success rate", "demanded"):
        panel = kit.column(panel, share, unit="percentunit", decimals=0)
    panel = kit.column(panel, "forecast end", unit="dateTimeAsIso")
    return kit.column(panel, "age of data", unit="s", decimals=0)


def _graphs() -> list[kit.Panel]:
    abnormal = kit.named(f"{kit.instances(kit.IDENTITY, _ABNORMAL)} > 0")
    return [
        kit.status_colours(
            kit.graph(
                "Instances by status",
                "All instances of the chosen tickets.",
                {"{{status}}": kit.instances("status")},
                stacked=True,
            )
        ),
        kit.graph(
            "ABNORMAL instances by ticket",
            "Instances that are ABNORMAL, of the ten tickets that have the most.",
            {"{{name}}": f"topk(10, {abnormal})"},
        ),
        kit.failures(TICKET),
        kit.durations(TICKET),
        kit.graph(
            "Success rate against threshold",
            "Share of the ended instances that are FINISHED, less the share that the ticket demands; of the ten tickets"
            " that are not over and do worst. Below zero it is missed so far; CocSuccessRateMissed fires when a batch"
            " cannot reach it any more.",
            {"{{name}}": f"bottomk(10, {kit.named(kit.running(f'({_SUCCESS} - {_DEMANDED})'))})"},
            "percentunit",
            limit=0,
            least=None,
        ),
        kit.graph(
            "Age of data",
            "Age of the oldest data in each account, of tickets that are not over. CocDataStale fires above six poll"
            " intervals: three minutes where nothing else is configured.",
            {"{{account}}": f"max by (account) ({_AGE})"},
            "s",
            limit=180,
        ),
        kit.bars(
            "Done, of tickets that are not over",
            "Share of the instances that neither wait nor run. One that does not grow is paused, stuck or ABNORMAL.",
            f"sort_desc({kit.named(kit.running(kit.shown(_DONE)))})",
            "percentunit",
            most=1,
        ),
        kit.bars(
            "Expected to last",
            "How long running tickets still take if they go on as fast as so far; the ticket's dashboard has the"
            " forecast by median too.",
            f"sort(clamp_min({kit.named(_BY_SHARE)} - time(), 0))",
            "s",
        ),
    ]
