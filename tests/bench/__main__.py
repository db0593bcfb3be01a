"""``make bench``: run every comparison, print tables, write JSON; ``--quick`` in little time and with less to say."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a folder: our modules are found as a package, never by their bare names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import report
from bench.scale import Scale

COMPARISONS = (
    "pages",
    "scrapes",
    "stalls",
    "changes",
    "startup",
    "restart",
    "growth",
    "requests_per_poll",
    "isolation",
    "published",
)


def main() -> int:
    """Run what was asked for; return 1 when a comparison itself failed."""
    command = argparse.ArgumentParser(prog="bench", description=__doc__)
    command.add_argument("--quick", action="store_true", help="fewer rounds, smaller worlds")
    command.add_argument("--tickets", type=int, help="size of the large worlds (1000; with --quick 100)")
    command.add_argument("--output", type=Path, default=Path("build/bench.json"), help="the JSON file (%(default)s)")
    command.add_argument("only", nargs="*", metavar="COMPARISON", help=f"of: {', '.join(COMPARISONS)}")
    asked = command.parse_args()
    if unknown := set(asked.only) - set(COMPARISONS):
        command.error(f"unknown: {', '.join(sorted(unknown))}")
    scale = Scale(quick=asked.quick, tickets=asked.tickets or (100 if asked.quick else 1000))
    sections = []
    failed = 0
    for name in asked.only or COMPARISONS:
        began = time.monotonic()
        try:
            section = importlib.import_module(f"bench.{name}").run(scale)
        except (OSError, RuntimeError) as error:
            failed = 1
            section = report.Section(f"{name}: could not be measured: {error}")
        sections.append(section)
        sys.stdout.write(f"{report.table(section)}\n")
        sys.stdout.flush()
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    report.written(sections, asked.output)
    return failed


if __name__ == "__main__":
    sys.exit(main())
