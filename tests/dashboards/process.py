"""COC exporter: the process itself, its polls, and how the API treats it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kit
from kit import ACCOUNT, PROCESS, VERMILION

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard

UID = "coc-exporter"


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = kit.processes(
        kit.board(UID, "COC exporter", "The exporter itself: its polls, and how the API treats it.", since="now-6h")
    )
    for title, panels in (("Now", _numbers()), ("Polls", _polls()), ("API", _api()), ("Process", _process())):
        made = made.with_row(kit.row(title))
        for panel in panels:
            made = made.with_panel(panel)
    return made


def annotations() -> list[dict[str, Any]]:
    """Return what can be marked."""
    return kit.annotations(alerts=kit.ALERTS, restarts=kit.RESTARTS)


def _numbers() -> list[kit.Panel]:
    return [
        kit.number(
            "Version",
            "What runs where.",
            {"{{instance}}: {{version}}": f"coc_exporter_build_info{{{PROCESS}}}"},
        ).text_mode(kit.NAME_ALONE),
        kit.number(
            "Accounts that can be read",
            "1 when the account's API answered and accepted us in the last poll. CocAccountBlind fires when"
            " it stays 0.",
            {"{{account}}": f"max by (account) (coc_up{{{ACCOUNT}}})"},
            first=VERMILION,
            colours={1: kit.GREEN},
            with_names=True,
        ),
        kit.number(
            "Since the last poll",
            "CocPollsStopped fires above three poll intervals: 90 s where nothing else is configured.",
            {"{{instance}}": f"time() - coc_exporter_last_poll_timestamp_seconds{{{PROCESS}}}"},
            "s",
            colours={90: VERMILION},
        ).decimals(0),
        kit.number(
            "Token lasts for",
            "Until the token or temporary key in use expires. CocTokenNearExpiry fires below half an hour. There is"
            " none where requests are signed with a permanent key.",
            {
                "{{account}}": "min by (account)"
                f" (coc_exporter_api_token_expiry_timestamp_seconds{{{ACCOUNT}}}) - time()"
            },
            "s",
            first=VERMILION,
            colours={1800: kit.GREEN},
        ),
        kit.number(
            "Config",
            "1 when the last load of the config succeeded. CocConfigReloadFailed fires when it stays 0.",
            {"{{instance}}": f"coc_exporter_config_last_reload_successful{{{PROCESS}}}"},
            first=VERMILION,
            colours={1: kit.GREEN},
        ),
        kit.number(
            "Shards seen",
            "Different shards that are scraped, of as many as there should be. CocShardMissing fires when one"
            " is missing.",
            {
                "seen": f'count(count_values("shard", coc_exporter_shard_ordinal{{{PROCESS}}}))',
                "there should be": f"max(coc_exporter_total_shards{{{PROCESS}}})",
            },
            with_names=True,
        ),
    ]


def _polls() -> list[kit.Panel]:
    return [
        kit.graph(
            "Duration of a poll",
            "The last poll; of several accounts the slowest. Above the interval, polls overrun.",
            {
                "{{instance}}": f"coc_exporter_poll_duration_seconds{{{PROCESS}}}",
                "{{instance}}, interval": f"coc_exporter_poll_interval_seconds{{{PROCESS}}}",
            },
            "s",
            width=kit.THIRD,
        ),
        kit.graph(
            "Polls and overruns",
            "Polls that ended, and those that took longer than the interval, per second.",
            {
                "{{instance}}, polls": f"rate(coc_exporter_polls_total{{{PROCESS}}}[$__rate_interval])",
                "{{instance}}, overruns": f"rate(coc_exporter_poll_overruns_total{{{PROCESS}}}[$__rate_interval])",
            },
            "ops",
            width=kit.THIRD,
        ),
        kit.graph(
            "Failed readings by reason",
            "Tickets and listings that could not be read, per second.",
            {
                "{{reason}}": "sum by (reason)"
                f" (rate(coc_exporter_poll_failures_total{{{PROCESS}}}[$__rate_interval])) > 0"
            },
            "ops",
            stacked=True,
            width=kit.THIRD,
        ),
        kit.graph(
            "Tickets by state",
            "Tickets that are watched: active ones are read at each poll, finished ones never again, failed ones could"
            " not be read.",
            {"{{state}}": f"sum by (state) (coc_exporter_tickets{{{ACCOUNT}}})"},
            stacked=True,
            width=kit.THIRD,
        ),
        kit.graph(
            "Refused records and undocumented fields",
            "Values that were refused, by reason, and fields or statuses that the API documents nowhere, per second.",
            {
                "refused: {{reason}}": "sum by (reason)"
                f" (rate(coc_exporter_dropped_records_total{{{PROCESS}}}[$__rate_interval]))",
                "undocumented: {{field}}": "sum by (field)"
                f" (rate(coc_exporter_schema_drift_total{{{PROCESS}}}[$__rate_interval]))",
            },
            "ops",
            width=kit.THIRD,
        ),
        kit.graph(
            "Left out",
            "Tickets beyond discovery.max_tickets, ABNORMAL instances beyond metrics.abnormal_instances, instances by"
            " which statistics and pages differ.",
            {
                "tickets: {{account}}": f"sum by (account) (coc_exporter_discovery_omitted_tickets{{{ACCOUNT}}})",
                "instances: {{account}}": f"sum by (account) (coc_abnormal_instances_omitted{{{ACCOUNT}}})",
                "differing: {{account}}": f"sum by (account) (coc_ticket_count_disagreement{{{ACCOUNT}}})",
            },
            width=kit.THIRD,
        ),
    ]


def _api() -> list[kit.Panel]:
    requests = f"coc_exporter_api_requests_total{{{ACCOUNT}"
    seconds = "coc_exporter_api_request_duration_seconds"
    waits = "coc_exporter_api_queue_wait_seconds"
    return [
        kit.graph(
            "Requests by operation",
            "Requests sent to the API, per second.",
            {"{{operation}}": f"sum by (operation) (rate({requests}}}[$__rate_interval]))"},
            "reqps",
            stacked=True,
            width=kit.THIRD,
        ),
        kit.graph(
            "Answers by code",
            "HTTP status of the answers, per second; error means that none came.",
            {"{{code}}": f"sum by (code) (rate({requests}}}[$__rate_interval]))"},
            "reqps",
            stacked=True,
            width=kit.THIRD,
        ),
        kit.graph(
            "Latency of the API",
            "95th percentile from the request to the last byte, by operation.",
            {
                "{{operation}}": f"histogram_quantile(0.95,"
                f" sum by (operation, le) (rate({seconds}_bucket{{{ACCOUNT}}}[$__rate_interval])))\n"
                f"or\nhistogram_quantile(0.95, sum by (operation) (rate({seconds}{{{ACCOUNT}}}[$__rate_interval])))"
            },
            "s",
            width=kit.THIRD,
        ),
        kit.graph(
            "Throttled share",
            "Share of the requests that were answered 429. CocThrottled fires above 5 %.",
            {
                "{{account}}": f'sum by (account) (rate({requests},code="429"}}[$__rate_interval]))\n'
                f"/ (sum by (account) (rate({requests}}}[$__rate_interval])) > 0)\n"
                f"or 0 * sum by (account) (rate({requests}}}[$__rate_interval]))"
            },
            "percentunit",
            limit=0.05,
            width=kit.THIRD,
        ),
        kit.graph(
            "Rate that we allow ourselves",
            "Requests per second; halved at each 429, and restored step by step.",
            {"{{account}}": f"sum by (account) (coc_exporter_api_request_rate_limit{{{ACCOUNT}}})"},
            "reqps",
            width=kit.THIRD,
        ),
        kit.graph(
            "Waiting for our own limits",
            "95th percentile of how long a request waited for rate and concurrency.",
            {
                "{{account}}": f"histogram_quantile(0.95,"
                f" sum by (account, le) (rate({waits}_bucket{{{ACCOUNT}}}[$__rate_interval])))\n"
                f"or\nhistogram_quantile(0.95, sum by (account) (rate({waits}{{{ACCOUNT}}}[$__rate_interval])))"
            },
            "s",
            width=kit.THIRD,
        ),
        kit.graph(
            "Retries by reason",
            "Requests that were sent again, per second.",
            {"{{reason}}": f"sum by (reason) (rate(coc_exporter_api_retries_total{{{ACCOUNT}}}[$__rate_interval]))"},
            "ops",
            stacked=True,
        ),
        kit.graph(
            "Clock and pauses",
            "The API's clock minus ours; above 15 minutes signatures are refused. And how long we hold back after a"
            " lock or an outage.",
            {
                "{{account}}, clock": f"max by (account) (coc_exporter_api_clock_offset_seconds{{{ACCOUNT}}})",
                "{{account}}, pause": "max by (account)"
                f" (coc_exporter_api_paused_until_timestamp_seconds{{{ACCOUNT}}}) - time()",
            },
            "s",
            least=None,
        ),
    ]


def _process() -> list[kit.Panel]:
    lag = "coc_exporter_event_loop_lag_seconds"
    return [
        kit.graph(
            "Memory",
            "Resident memory of the process.",
            {"{{instance}}": f"process_resident_memory_bytes{{{PROCESS}}}"},
            "bytes",
            width=kit.THIRD,
        ),
        kit.graph(
            "CPU",
            "Seconds of processor time per second.",
            {"{{instance}}": f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval])"},
            "s",
            width=kit.THIRD,
        ),
        kit.graph(
            "Open files",
            "Share of the file descriptors that the process may open.",
            {"{{instance}}": f"process_open_fds{{{PROCESS}}} / process_max_fds{{{PROCESS}}}"},
            "percentunit",
            width=kit.THIRD,
        ),
        kit.graph(
            "Size of the exposition",
            "Bytes of what was last rendered, by format and encoding.",
            {"{{format}}, {{encoding}}": f"max by (format, encoding) (coc_exporter_exposition_bytes{{{PROCESS}}})"},
            "bytes",
            width=kit.HALF,
        ),
        kit.graph(
            "Duration of rendering",
            "How long the last rendering took, by format and encoding.",
            {
                "{{format}}, {{encoding}}": "max by (format, encoding)"
                f" (coc_exporter_render_duration_seconds{{{PROCESS}}})"
            },
            "s",
            width=kit.HALF,
        ),
        kit.graph(
            "Scrapes held up",
            "99th percentile of how late the event loop of scrapes and pages wakes: whatever holds it up delays every"
            " scrape as much.",
            {
                "{{instance}}": f"histogram_quantile(0.99,"
                f" sum by (instance, le) (rate({lag}_bucket{{{PROCESS}}}[$__rate_interval])))\n"
                f"or\nhistogram_quantile(0.99, sum by (instance) (rate({lag}{{{PROCESS}}}[$__rate_interval])))"
            },
            "s",
            width=kit.HALF,
        ),
        kit.graph(
            "Warnings and errors in the log",
            "Lines per second, by level.",
            {"{{level}}": f"sum by (level) (rate(coc_exporter_log_messages_total{{{PROCESS}}}[$__rate_interval]))"},
            "ops",
            width=kit.HALF,
        ),
    ]
