"""The pieces all dashboards are made of: variables, colours, panels in one style."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Panel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | bargauge.Panel

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAGS = ["coc", "coc-exporter-mixin"]

PROCESS = 'job=~"$job",instance=~"$instance"'
ACCOUNT = f'{PROCESS},account=~"$account"'
TICKET = f'{ACCOUNT},execute_uuid=~"$execute_uuid"'
RECORDED = 'job=~"$job",account=~"$account",execute_uuid=~"$execute_uuid"'
"""Recorded series of a ticket have no instance: they are one wherever the ticket is read."""

IDENTITY = "job, account, execute_uuid"
ENDED = f"max by ({IDENTITY}) (ticket:coc_ticket_ended:max{{{RECORDED}}}) == 1"

# Okabe and Ito's colours, which people with any kind of colour blindness can tell apart.
GREEN, BLUE, SKY, VERMILION, ORANGE, PURPLE, YELLOW, GREY = (
    "#009E73",
    "#0072B2",
    "#56B4E9",
    "#D55E00",
    "#E69F00",
    "#CC79A7",
    "#F0E442",
    "#999999",
)
STATUS_COLOURS = {
    "READY": GREY,
    "PROCESSING": BLUE,
    "ABNORMAL": VERMILION,
    "CANCELED": PURPLE,
    "FINISHED": GREEN,
    "ROLLBACKED": ORANGE,
    "PAUSED": YELLOW,
}

PAGE = "${exporter_url}/tickets/${__data.fields.account}/${__data.fields.execute_uuid}"
NAME_ALONE = looks.BigValueTextMode.NAME
TICKET_BOARD = "/d/coc-ticket?${datasource:queryparam}&${job:queryparam}&${__url_time_range}"
GRAPH_HEIGHT, STAT_HEIGHT = 8, 4
HALF, THIRD = 12, 8


def instances(by: str, matchers: str = "") -> str:
    """Return the instances added up by labels; a ticket that two processes read counts once."""
    return f"sum by ({by}) (max by ({IDENTITY}, batch, status) (coc_instances{{{TICKET}{matchers}}}))"


def of_ticket(metric: str, selector: str = TICKET) -> str:
    """Return a gauge of tickets, whoever reads them."""
    return f"max by ({IDENTITY}) ({metric}{{{selector}}})"


def named(expr: str) -> str:
    """Bring the ticket's name to a series of the ticket."""
    names = f"max by ({IDENTITY}, name) (coc_ticket_info{{{TICKET}}})"
    return f"({expr})\n* on ({IDENTITY}) group_left (name) {names}"


def shown(expr: str) -> str:
    """Leave out tickets that left a moment ago: recorded series outlast them by five minutes."""
    return f"({expr} and on ({IDENTITY}) coc_ticket_info{{{TICKET}}})"


def running(expr: str) -> str:
    """Leave out tickets that are over."""
    return f"{expr}\nunless on ({IDENTITY}) ({ENDED})"


def board(uid: str, title: str, description: str, *, since: str = "now-3h") -> dashboard.Dashboard:
    """Return an empty dashboard with its data source, links and annotations."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(TAGS)
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .refresh("1m")
        .time(since, "now")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("COC dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(TAGS[1:])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    return made.with_variable(dashboard.DatasourceVariable("datasource").label("Data Source").type("prometheus"))


def processes(made: dashboard.Dashboard) -> dashboard.Dashboard:
    """Add the variables of every dashboard: which processes, and which accounts."""
    made = choice(made, "job", "Job", "label_values(coc_exporter_build_info, job)")
    made = choice(made, "instance", "Instance", 'label_values(coc_exporter_build_info{job=~"$job"}, instance)')
    return choice(made, "account", "Account", f"label_values(coc_up{{{PROCESS}}}, account)")


def tickets(made: dashboard.Dashboard, *, multi: bool) -> dashboard.Dashboard:
    """Add the variable that chooses tickets: their names are shown, their execute_uuid is used."""
    query = (
        f"query_result(label_join(max by (execute_uuid, name) (coc_ticket_info{{{ACCOUNT}}}), "
        '"shown", " ", "name", "execute_uuid"))'
    )
    # Grafana takes what is shown and what is used from groups of these names.
    shown_by_name = '/shown="(?<text>[^"]+)|execute_uuid="(?<value>[^"]+)/g'
    return choice(made, "execute_uuid", "Ticket", query, multi=multi, regex=shown_by_name)


def choice(
    made: dashboard.Dashboard, name: str, label: str, query: str, *, multi: bool = True, regex: str = ""
) -> dashboard.Dashboard:
    """Add a variable whose values Prometheus knows; with ``multi`` all are chosen at first."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .regex(regex)
    )
    if multi:
        everything = model.VariableOption(selected=True, text="All", value="$__all")
        variable = variable.multi(True).include_all(True).all_value(".+").current(everything)
    return made.with_variable(variable)


def text(made: dashboard.Dashboard, name: str, label: str, value: str) -> dashboard.Dashboard:
    """Add a variable that is typed."""
    option = model.VariableOption(selected=True, text=value, value=value)
    variable = dashboard.TextBoxVariable(name).label(label).default_value(value).current(option).options([option])
    return made.with_variable(variable)


def query(
    expr: str, legend: str = "", *, ref: str = "A", now: bool = False, as_table: bool = False, as_heatmap: bool = False
) -> prometheus.Dataquery:
    """Return a query; ``now`` asks for the present value alone."""
    target = prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend or "__auto").ref_id(ref)
    target = target.instant() if as_table or now else target.range().exemplar(True)
    if as_table:
        return target.format(PromQueryFormat.TABLE)
    return target.format(PromQueryFormat.HEATMAP if as_heatmap else PromQueryFormat.TIME_SERIES)


def dress(panel: Panel, title: str, description: str, unit: str, width: int, height: int) -> Panel:
    """Give a panel what every panel has."""
    return panel.title(title).description(description).unit(unit).datasource(SOURCE).span(width).height(height)


def with_targets(panel: Panel, targets: Mapping[str, str]) -> Panel:
    """Add a query for each legend."""
    for place, (legend, expr) in enumerate(targets.items()):
        panel = panel.with_target(query(expr, legend, ref=chr(ord("A") + place)))
    return panel


def graph(
    title: str,
    description: str,
    targets: Mapping[str, str],
    unit: str = "short",
    *,
    width: int = 12,
    stacked: bool = False,
    limit: float | None = None,
    least: float | None = 0,
) -> timeseries.Panel:
    """Return a graph over time; ``limit`` is drawn as the line above which an alert fires."""
    panel = dress(timeseries.Panel(), title, description, unit, width, GRAPH_HEIGHT)
    panel = panel.line_width(1).fill_opacity(60 if stacked else 0).show_points(looks.VisibilityMode.NEVER)
    panel = panel.tooltip(
        common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    )
    panel = panel.legend(legend(beside=width >= HALF))
    panel = panel if least is None else panel.min(least)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))
    if limit is not None:
        panel = panel.thresholds(steps(GREEN, {limit: VERMILION}))
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphTresholdsStyleMode.DASHED))
    return with_targets(panel, targets)


def legend(*, beside: bool) -> common.VizLegendOptions:
    """Return the legend with present values: beside a wide graph, below a narrow one."""
    made = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull"])
    if beside:
        return made.display_mode(looks.LegendDisplayMode.TABLE).placement(looks.LegendPlacement.RIGHT)
    return made.display_mode(looks.LegendDisplayMode.LIST).placement(looks.LegendPlacement.BOTTOM)


def bars(title: str, description: str, expr: str, unit: str, *, most: float | None = None) -> bargauge.Panel:
    """Return a bar for each ticket, with its present value; a bar leads to the ticket's dashboard."""
    panel = dress(bargauge.Panel(), title, description, unit, HALF, GRAPH_HEIGHT)
    panel = panel.orientation(looks.VizOrientation.HORIZONTAL).display_mode(looks.BarGaugeDisplayMode.BASIC)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel = panel.thresholds(steps(BLUE, {})).min(0).no_value("none")
    ticket = "var-account=${__field.labels.account}&var-execute_uuid=${__field.labels.execute_uuid}"
    to_ticket = dashboard.DashboardLink("Open the ticket's dashboard").url(f"{TICKET_BOARD}&{ticket}")
    panel = panel.data_links([to_ticket])
    panel = panel if most is None else panel.max(most)
    return panel.with_target(query(expr, "{{name}}", now=True))


def number(
    title: str,
    description: str,
    targets: Mapping[str, str],
    unit: str = "short",
    *,
    width: int = 4,
    colours: Mapping[float, str] | None = None,
    first: str = GREEN,
    with_names: bool = False,
) -> stat.Panel:
    """Return the present value; ``colours`` begin at the values they are given for."""
    panel = dress(stat.Panel(), title, description, unit, width, STAT_HEIGHT)
    panel = panel.graph_mode(looks.BigValueGraphMode.NONE).no_value("none")
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel = panel.color_mode(looks.BigValueColorMode.VALUE if colours else looks.BigValueColorMode.NONE)
    panel = panel.text_mode(looks.BigValueTextMode.VALUE_AND_NAME if with_names else looks.BigValueTextMode.AUTO)
    panel = panel.thresholds(steps(first, colours or {}))
    for place, (legend, expr) in enumerate(targets.items()):
        panel = panel.with_target(query(expr, legend, ref=chr(ord("A") + place), now=True))
    return panel


def failures(selector: str) -> timeseries.Panel:
    """
    Return failures by reason.

    Without rate(): a reason appears with its first failure, and that one rate() does not see.
    """
    labels = f"{IDENTITY}, batch, reason"
    return graph(
        "Failures by reason",
        "Instances of the chosen tickets that became ABNORMAL so far, by the reason that their log tells. A failure"
        " that was retried stays counted.",
        {"{{reason}}": f"sum by (reason) (max by ({labels}) (coc_instance_failures_total{{{selector}}})) > 0"},
        stacked=True,
    )


def durations(selector: str) -> heatmap.Panel:
    """Return the heatmap of how long executions took."""
    description = (
        "How long executions took that ended at this time; the dots are examples, each with instance and host."
    )
    panel = dress(heatmap.Panel(), "Durations of executions", description, "short", 12, GRAPH_HEIGHT)
    name = "coc_instance_execution_duration_seconds"
    # The second half is the same for servers that store classic histograms as native ones.
    expr = (
        f"sum by (le) (increase({name}_bucket{{{selector}}}[$__rate_interval]))\n"
        f"or\nsum(increase({name}{{{selector}}}[$__rate_interval]))"
    )
    colour = heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Viridis").steps(64)
    return (
        panel.with_target(query(expr, "{{le}}", as_heatmap=True))
        .color(colour.exponent(0.5).scale(heat.HeatmapColorScale.EXPONENTIAL).fill(BLUE).reverse(False))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(looks.AxisPlacement.LEFT))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .exemplars_color(VERMILION)
        .calculate(False)
        .show_tooltip()
    )


def listing(title: str, description: str, targets: Iterable[prometheus.Dataquery], height: int) -> table.Panel:
    """Return a table of what holds now."""
    panel = dress(table.Panel(), title, description, "short", 24, height).show_header(True)
    for target in targets:
        panel = panel.with_target(target)
    return panel.with_transformation(model.DataTransformerConfig("merge", options={}))


def sort(panel: table.Panel, column: str) -> table.Panel:
    """Sort a table by a column, the least first; it may be hidden afterwards."""
    by = [{"field": column, "desc": False}]
    return panel.with_transformation(model.DataTransformerConfig("sortBy", options={"fields": {}, "sort": by}))


def columns(panel: table.Panel, names: Mapping[str, str], hidden: Iterable[str] = ()) -> table.Panel:
    """Name the columns of a table and put them in this order; hide the others."""
    return panel.with_transformation(
        model.DataTransformerConfig(
            "organize",
            options={
                "excludeByName": dict.fromkeys(["Time", *hidden], True),
                "indexByName": {column: place for place, column in enumerate(names)},
                "renameByName": dict(names),
            },
        )
    )


def column(panel: table.Panel, name: str, **properties: Any) -> table.Panel:
    """Set properties of one column; ``__`` in a property's name stands for the dot."""
    values = [model.DynamicConfigValue(key.replace("__", "."), value) for key, value in properties.items()]
    return panel.override_by_name(name, values)


def link(title: str, url: str) -> list[dict[str, Any]]:
    """Return a link for the cells of a column."""
    return [{"title": title, "url": url, "targetBlank": False}]


def status_colours(panel: Panel) -> Panel:
    """Fix the colour of each status, whatever else is drawn."""
    for status, colour in STATUS_COLOURS.items():
        fixed = model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
        panel = panel.override_by_name(status, [fixed])
    return panel


def status_mappings() -> list[dict[str, Any]]:
    """Return how a status is coloured where it is a text."""
    shown = {status: {"text": status, "color": colour} for status, colour in STATUS_COLOURS.items()}
    return [{"type": "value", "options": shown}]


def steps(first: str, colours: Mapping[float, str]) -> dashboard.ThresholdsConfig:
    """Return thresholds: the first colour, and each other one from its value on."""
    base = [model.Threshold(value=None, color=first)]
    others = [model.Threshold(value=float(value), color=colour) for value, colour in colours.items()]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps([*base, *others])


def row(title: str) -> dashboard.Row:
    """Return a heading."""
    return dashboard.Row(title)


def annotations(*, alerts: str, created: str = "", finished: str = "", restarts: str = "") -> list[dict[str, Any]]:
    """
    Return what can be marked in the graphs, off by default.

    The builders of the library know neither the titles of annotations nor that a value can be the time; so these are
    written as Grafana stores them.
    """
    times = (
        ("Tickets created", BLUE, created, "{{execute_uuid}} created"),
        ("Tickets finished", GREEN, finished, "{{execute_uuid}} finished"),
        ("Exporter starts", PURPLE, restarts, "{{instance}} started"),
    )
    return [
        _annotation("Alerts", VERMILION, alerts, title="{{alertname}}", tags="severity"),
        *(
            _annotation(name, colour, expr, title=title, tags="account") | {"useValueForTime": "on"}
            for name, colour, expr, title in times
            if expr
        ),
    ]


def _annotation(name: str, colour: str, expr: str, *, title: str, tags: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": False,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "titleFormat": title,
        "tagKeys": tags,
        "step": "60s",
    }


ALERTS = 'ALERTS{alertname=~"Coc.+",alertstate="firing",job=~"$job|"}'
CREATED = f"max by (account, execute_uuid) (coc_ticket_created_timestamp_seconds{{{TICKET}}}) * 1000"
FINISHED = f"max by (account, execute_uuid) (coc_ticket_finished_timestamp_seconds{{{TICKET}}}) * 1000"
RESTARTS = f"process_start_time_seconds{{{PROCESS}}} * 1000"
