"""Bad input: each ``cases/config/<name>.yaml`` gives exactly the lines of ``<name>.txt``."""

from pathlib import Path

import pytest

from exporter.config import ConfigError, load

CASES = sorted((Path(__file__).parent / "cases" / "config").glob("*.yaml"))
ENVIRON = {"EMPTY_VARIABLE": ""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the cases name."""
    (tmp_path / "secret.txt").write_text("CANARY-1\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"CANARY-1 \xe4")
    (tmp_path / "huge.txt").write_text("CANARY-1" * 10_000)
    return tmp_path


def told(case: Path, folder: Path) -> str:
    copy = folder / case.name
    copy.write_bytes(case.read_bytes())
    with pytest.raises(ConfigError) as caught:
        load(copy, ENVIRON)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_bad_file_is_told_in_exactly_these_lines(case: Path, folder: Path) -> None:
    assert told(case, folder) + "\n" == case.with_suffix(".txt").read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_no_line_holds_a_secret(case: Path, folder: Path) -> None:
    lines = told(case, folder)
    assert "CANARY" not in lines
    assert "4711" not in lines


def test_ten_faults_are_ten_lines(folder: Path) -> None:
    case = next(case for case in CASES if case.stem == "ten_faults_at_once")
    assert len(told(case, folder).splitlines()) == 10
