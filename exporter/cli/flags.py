"""The flags of every command, spelled as the field spells them."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

from exporter import __version__

_DESCRIPTION = "Prometheus exporter for Huawei Cloud COC script tickets."


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="coc-exporter", description=_DESCRIPTION, allow_abbrev=False)
    top.add_argument(
        "--version",
        action="version",
        version=f"coc-exporter {__version__} (Python {platform.python_version()})",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _serve(_command(commands, "serve", "poll the tickets and serve /metrics (the default)"))
    _check(_command(commands, "check", "tell all faults of the config, or that it has none"))
    _once(_command(commands, "once", "poll once and print"))
    _backfill(_command(commands, "backfill", "write the past of tickets for promtool to make blocks of"))
    _simulate(_command(commands, "simulate", "play the COC API"))
    return top


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    command.add_argument(
        "--log.level",
        dest="log_level",
        choices=("debug", "info", "warn", "error"),
        default="info",
        help="least level that is logged",
    )
    command.add_argument(
        "--log.format",
        dest="log_format",
        choices=("logfmt", "json"),
        default="logfmt",
        help="how log lines are written",
    )
    return command


def _config_file(command: argparse.ArgumentParser, *, required: bool = True) -> None:
    command.add_argument(
        "--config.file",
        dest="config_file",
        type=Path,
        required=required,
        metavar="FILE",
        help="the YAML config",
    )


def _serve(command: argparse.ArgumentParser) -> None:
    _config_file(command, required=False)
    command.add_argument(
        "--demo",
        nargs="?",
        const="aksk",
        choices=("aksk", "token", "password", "ecs_metadata"),
        metavar="SIGN_IN",
        help="no config: poll a simulator in the same process, signing in by aksk, token, password or ecs_metadata",
    )
    command.add_argument(
        "--config.enable-auto-reload",
        dest="auto_reload",
        action="store_true",
        help="reload when the config file changed",
    )
    _web(command)
    command.add_argument("--shard", type=_count, default=0, metavar="N", help="ordinal of this shard, from 0")
    command.add_argument("--total-shards", type=_count, default=1, metavar="N", help="number of shards")
    command.add_argument(
        "--storage.path",
        dest="storage_path",
        type=Path,
        metavar="FILE",
        help="keep finished tickets and counters in this file",
    )


def _web(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--web.listen-address",
        dest="listen",
        action="append",
        metavar="ADDRESS",
        help="where to listen, repeatable; port 0 takes any free one (default :10262)",
    )
    command.add_argument(
        "--web.config.file",
        dest="web_config_file",
        type=Path,
        metavar="FILE",
        help="TLS and basic auth, in exporter-toolkit's format",
    )
    command.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        default="/metrics",
        metavar="PATH",
        help="path of the metrics",
    )
    command.add_argument(
        "--web.external-url",
        dest="external_url",
        default="",
        metavar="URL",
        help="the URL under which people reach this exporter",
    )
    command.add_argument(
        "--web.route-prefix",
        dest="route_prefix",
        default=None,
        metavar="PREFIX",
        help="prefix of every path (default: path of --web.external-url)",
    )
    command.add_argument(
        "--web.max-requests",
        dest="max_requests",
        type=_count,
        default=40,
        metavar="N",
        help="scrapes served at once; 0 = no limit",
    )
    command.add_argument(
        "--web.enable-lifecycle", dest="lifecycle", action="store_true", help="allow reload by POST /-/reload"
    )
    command.add_argument(
        "--web.disable-exporter-metrics",
        dest="no_process_metrics",
        action="store_true",
        help="leave process_* and python_* out",
    )


def _check(command: argparse.ArgumentParser) -> None:
    _config_file(command)
    command.add_argument("--live", action="store_true", help="also sign in and read one page of each ticket")


def _once(command: argparse.ArgumentParser) -> None:
    _config_file(command)
    command.add_argument("--format", choices=("text", "openmetrics", "table"), default="text", help="what is printed")
    command.add_argument("--output", type=Path, metavar="FILE", help="write to a file, replaced atomically")
    command.add_argument("--record", type=Path, metavar="DIR", help="write the API's answers, redacted, to a folder")


def _backfill(command: argparse.ArgumentParser) -> None:
    _config_file(command)
    command.add_argument("--start", required=True, metavar="TIME", help="2026-01-02T03:04:05Z or Unix seconds")
    command.add_argument("--end", required=True, metavar="TIME", help="likewise; both are widened to whole blocks")
    command.add_argument("--output", required=True, type=Path, metavar="FILE", help="replaced atomically")


def _simulate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--web.listen-address", dest="listen", default="127.0.0.1:10263", metavar="ADDRESS")
    command.add_argument("--tickets", type=_count, default=20, help="tickets visible at a time")
    command.add_argument("--batches", type=_count, default=6, help="most batches of a ticket")
    command.add_argument("--instances", type=_count, default=10, help="most instances of a batch")
    command.add_argument("--seed", type=int, default=1, help="another seed is another world")
    command.add_argument("--speed", type=float, default=1.0, help="how many times faster the world lives")
    command.add_argument("--replay", type=Path, metavar="DIR", help="serve recorded answers instead")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return number
