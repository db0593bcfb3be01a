"""What is mutated, by which tests it must be noticed, and the mutants that change nothing that anybody could notice."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MODULES = {
    "exporter/api/paging.py": ["test_api_paging"],
    "exporter/api/durations.py": ["test_api_durations"],
    "exporter/config/durations.py": ["test_config"],
    "exporter/api/gate.py": ["test_api_gate", "test_api_client"],
    "exporter/api/client.py": ["test_api_client", "test_api_connect"],
    "exporter/api/verdict.py": ["test_api_client", "test_api_decode"],
    "exporter/exposition/lines.py": ["test_exposition"],
    "exporter/exposition/packing.py": ["test_exposition"],
    "exporter/exposition/sheets.py": ["test_exposition"],
    "exporter/server/negotiation.py": ["test_negotiation"],
}
_SETTINGS = """
[tool.mutmut]
source_paths = ["exporter"]
only_mutate = {modules}
also_copy = ["config.example.yaml"]
pytest_add_cli_args = ["-q", "-p", "no:schemathesis", "-p", "no:playwright", "-p", "no:cov", "-p", "no:xdist"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
"""
# mutmut leaves decorated functions alone; applied by hand, a decorator does the same. What a cache remembers from
# before the mutation would hide it, so there is none.
_DECORATED = re.compile(
    r"^(?P<indent> *)@(?P<decorator>(?:asynccontextmanager|lru_cache)\b.*)\n"
    r"(?P<function>(?P=indent)(?:async )?def (?P<name>\w+)\((?:.*\n)+?)(?=\n*(?:(?P=indent)\S|\Z|(?! )\S))",
    re.MULTILINE,
)
_NAME = re.compile(r"(?P<module>.*)\.(?:xǁ(?P<owner>\w+)ǁ|x_)(?P<function>\w+)__mutmut_\d+")


@dataclass(frozen=True)
class Row:
    """
    What became of the mutants of one module.

    ``harmless`` are those that nobody can notice; ``alive`` those that somebody could and no test did, with their line.
    """

    module: str
    mutants: int
    killed: int
    hung: int
    unknown: int
    harmless: int
    alive: Mapping[str, str]

    @property
    def score(self) -> float:
        """Return the share that was noticed, of those that can be."""
        return (self.killed + self.hung) / (self.mutants - self.harmless)


def lay_out(root: Path, copy: Path, modules: Sequence[str]) -> None:
    """Copy what the tests need, and set mutmut's options there; nothing is ever mutated in ``root``."""
    for name in ("exporter", "tests"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "config.example.yaml", copy)
    for module in modules:
        path = copy / module
        path.write_text(undecorated(path.read_text()))
    tests = sorted({f"tests/{name}.py" for module in modules for name in MODULES[module]})
    settings = _SETTINGS.format(modules=list(modules), tests=tests)
    (copy / "pyproject.toml").write_text((root / "pyproject.toml").read_text() + settings)


def undecorated(source: str) -> str:
    """Return the source with a few decorators applied after the function, which is the same, and without caches."""
    return _DECORATED.sub(_undecorated, source)


def _undecorated(found: re.Match[str]) -> str:
    if found["decorator"].startswith("lru_cache"):
        return found["function"]
    return f"{found['function']}{found['indent']}{found['name']} = {found['decorator']}({found['name']})\n"


def function_of(mutant: str) -> str:
    """Return the function that mutmut's name of a mutant is about."""
    found = _NAME.fullmatch(mutant)
    if found is None:
        raise ValueError(mutant)
    owner = f"{found['owner']}." if found["owner"] else ""
    return f"{found['module']}.{owner}{found['function']}"


def added(change: str) -> str:
    """Return the line that a mutant put in place of another, from its diff."""
    lines = [line[1:].strip() for line in change.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return " ".join(lines)


def harmless(text: str) -> Iterator[tuple[str, str]]:
    """Yield function and line of each mutant of a list of those that change nothing."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            function, _, rest = line.partition(": ")
            yield function, rest


def table(rows: Sequence[Row]) -> str:
    """Return the last word, a line a module."""
    head = f"{'module':<32}{'mutants':>8}{'killed':>8}{'hung':>6}{'harmless':>10}{'alive':>7}{'score':>9}\n"
    lines = [
        f"{row.module:<32}{row.mutants:>8}{row.killed:>8}{row.hung:>6}{row.harmless:>10}{len(row.alive):>7}"
        f"{row.score:>9.1%}\n"
        for row in rows
    ]
    return head + "".join(lines)
