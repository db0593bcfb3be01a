"""``coc-exporter check``: all faults of the config, the plan it amounts to, and with ``--live`` whether it works."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from exporter import config, log, reasons
from exporter.cli import plan
from exporter.reasons import Rule

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from exporter.config import Config


def run(asked: argparse.Namespace) -> int:
    """Print what is found; return 1 when anything is wrong."""
    log.setup("error", asked.log_format)
    loaded = config.load(asked.config_file, check_pattern=reasons.fault)
    sys.stdout.writelines(f"{line}\n" for line in plan.told(loaded))
    sys.stderr.writelines(f"warning: {sentence}\n" for sentence in _warnings(loaded))
    works = True
    if asked.live:
        from exporter.cli import live  # noqa: PLC0415  a network is needed for this alone

        works = asyncio.run(live.tried(loaded))
    sys.stdout.write(f"{asked.config_file}: {'is valid' if works else 'is valid, but not everything works'}\n")
    return 0 if works else 1


def _warnings(loaded: Config) -> Iterator[str]:
    yield from loaded.warnings
    yield from plan.warnings(loaded)
    own = [Rule(rule.reason, rule.pattern) for rule in loaded.failure_reasons]
    for rule, earlier in reasons.shadowed(own):
        yield (
            f"failure_reasons: {rule.reason} can never be named, {earlier.reason} finds all that {rule.pattern!r} does;"
            " put it first"
        )
