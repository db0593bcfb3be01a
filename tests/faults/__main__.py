"""``python tests/faults``: every fault at every endpoint, at the first read and at a later one; ends in a table."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from faults import matrix  # the path comes first


def main() -> int:
    """Return 1 when anything went wrong that should not have."""
    parser = argparse.ArgumentParser(prog="faults", description="Every fault at every endpoint.")
    parser.add_argument("--short", action="store_true", help="the fair share of the cases that the tests run")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    asked = parser.parse_args()
    cases = [case for case in (matrix.some_cases() if asked.short else matrix.every_case()) if asked.only in str(case)]
    outcomes = []
    with ProcessPoolExecutor() as pool:
        for outcome in pool.map(outcome_of, cases):
            outcomes.append(outcome)
            _tell(outcome, f"{len(outcomes)}/{len(cases)}")
    sys.stdout.write("\n" + matrix.table(outcomes))
    return 1 if any(outcome.troubles for outcome in outcomes) else 0


def outcome_of(case: matrix.Case) -> matrix.Outcome:
    """Play one case in a folder of its own."""
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(matrix.tried(case, Path(folder)))


def _tell(outcome: matrix.Outcome, progress: str) -> None:
    for trouble in outcome.troubles:
        sys.stdout.write(f"{outcome.case}: {trouble}\n")
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{progress}")


if __name__ == "__main__":
    sys.exit(main())
