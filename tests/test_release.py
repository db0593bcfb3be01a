"""What a release is made of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile

from tools import ROOT

from exporter import __version__


def build(folder):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={"SOURCE_DATE_EPOCH": "1767225600"})
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path):
    first, second = (build(tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_the_wheel_ships_what_the_exporter_reads(tmp_path):
    names = set(zipfile.ZipFile(build(tmp_path)).namelist())
    package = {
        f"exporter/{path.relative_to(ROOT / 'exporter')}"
        for path in (ROOT / "exporter").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    assert not [name for name in names if not name.startswith(("exporter/", "coc_exporter-"))]


def test_the_sbom_names_every_locked_dependency(tmp_path):
    out = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject", ROOT / "pyproject.toml"]
    subprocess.run([*command, "--short-PURLs", "-o", out, ROOT / "requirements.lock"], check=True, capture_output=True)
    told = {component["name"] for component in json.loads(out.read_text())["components"]}
    assert told == set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def test_the_lock_files_carry_hashes_and_name_no_index():
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")]
        pinned = [line for line in lines if re.match(r"[a-z0-9]", line)]
        assert all("==" in line and line.endswith("\\") for line in pinned)


def test_every_dependency_is_locked_and_tells_why_it_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements.lock").read_text()
    why = (ROOT / "CONTRIBUTING.md").read_text()
    for dependency in project["dependencies"]:
        name = re.split(r"[<>=!~]", dependency)[0]
        assert f"\n{name}==" in f"\n{locked}", name
        assert name in why, name


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
