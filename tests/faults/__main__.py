"""``python tests/faults [--long]``: run the fault matrix and end in a table."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from faults import matrix  # the path comes first


def main() -> int:
    """Return 1 when anything went wrong that should not have."""
    parser = argparse.ArgumentParser(prog="faults", description="Every fault at every endpoint.")
    parser.add_argument("--long", action="store_true", help="all combinations, not a fair share of them")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    asked = parser.parse_args()
    logging.disable()
    cases = [case for case in (matrix.every_case() if asked.long else matrix.some_cases()) if asked.only in str(case)]
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            outcome = asyncio.run(matrix.tried(case, Path(folder)))
            outcomes.append(outcome)
            for trouble in outcome.troubles:
                sys.stdout.write(f"{case}: {trouble}\n")
    sys.stdout.write("\n" + matrix.table(outcomes))
    return 1 if any(outcome.troubles for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
