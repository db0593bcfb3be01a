"""``python tests/mutants [part of a module's name]``: mutate a copy of the tree, run its tests, end in a table."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mutants import plan  # the path comes first

ROOT = Path(__file__).parent.parent.parent
HARMLESS = set(plan.harmless(Path(__file__).with_name("harmless.txt").read_text()))
# Exit codes of a mutant's tests; whatever is neither was not noticed.
_KILLED = {1, 3}
_HUNG = {24, -24, 36, 152, 255}


def main() -> int:
    """Return 1 when a mutant lives that is not known to change nothing."""
    modules = [module for module in plan.MODULES if all(part in module for part in sys.argv[1:])]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        plan.lay_out(ROOT, copy, modules)
        _mutmut(copy, "run")
        rows = [_row(copy, module) for module in modules]
        sys.stdout.write(plan.table(rows))
        for mutant, line in (pair for row in rows for pair in row.alive.items()):
            sys.stdout.write(f"{plan.function_of(mutant)}: {line}\n")
    return 1 if not rows or any(row.alive or row.unknown for row in rows) else 0


def _row(copy: Path, module: str) -> plan.Row:
    told = json.loads((copy / "mutants" / f"{module}.meta").read_text())["exit_code_by_key"]
    survivors = [name for name, code in told.items() if code not in {*_KILLED, *_HUNG, None}]
    lines = {name: plan.added(_mutmut(copy, "show", name)) for name in survivors}
    alive = {name: line for name, line in lines.items() if (plan.function_of(name), line) not in HARMLESS}
    return plan.Row(
        module=module,
        mutants=len(told),
        killed=sum(code in _KILLED for code in told.values()),
        hung=sum(code in _HUNG for code in told.values()),
        unknown=sum(code is None for code in told.values()),
        harmless=len(survivors) - len(alive),
        alive=alive,
    )


def _mutmut(copy: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=copy, check=False, capture_output=True, text=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
