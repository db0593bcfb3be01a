"""What a release is made of."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from tools import ROOT, listening, missing, running, until

from exporter import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


LOCKED = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def release(folder):
    """Run `make release` in a clone of what is committed, with the tools that are installed here."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        missing("a release is made from a git checkout")
    subprocess.run([git, "clone", "--quiet", ROOT, folder], check=True)
    here = Path(sys.prefix)
    command = ["make", f"--old-file={here}/.installed-dev", f"VENV={here}", "release"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return release(tmp_path_factory.mktemp("released") / "clone")


def wheel_of(folder):
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_two_releases_of_a_commit_are_the_same_bytes(released, tmp_path):
    """The wheel and its SBOM, made in different folders."""
    again = release(tmp_path / "clone")
    names = {wheel_of(released).name, "sbom.cdx.json", "SHA256SUMS"}
    assert {path.name for path in released.iterdir()} == {path.name for path in again.iterdir()} == names
    assert {name for name in names if (released / name).read_bytes() != (again / name).read_bytes()} == set()


def test_the_checksums_of_a_release_are_right(released):
    lines = (released / "SHA256SUMS").read_text().splitlines()
    told = {name: digest for digest, name in (line.split() for line in lines)}
    files = [path for path in released.iterdir() if path.name != "SHA256SUMS"]
    assert told == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def constraints(folder):
    """Write the versions of the lock file without its hashes: whoever installs the wheel has none."""
    file = folder / "constraints.txt"
    file.write_text("".join(f"{name}=={version}\n" for name, version in LOCKED.items()))
    return file


def test_the_wheel_serves_the_demo_from_a_fresh_environment(released, tmp_path):
    """Installed by its own metadata, away from any checkout."""
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv/bin"
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", constraints(tmp_path), wheel_of(released)], check=True)
    command = [programs / "coc-exporter", "serve", "--demo", "--web.listen-address=127.0.0.1:0"]
    alone = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    with running(command, tmp_path / "log", cwd=tmp_path, env=alone) as process:
        base = listening(process)

        def shown():
            with urllib.request.urlopen(f"{base}/metrics") as answer:
                text = answer.read().decode()
            return text if 'coc_up{account="demo"} 1.0' in text else None

        text = until(shown, "the demo was polled")
    assert process.popen.returncode == 0
    assert re.search(r'^coc_instances\{account="demo",.*status="ABNORMAL"\} ', text, re.MULTILINE)
    assert re.search(rf'^coc_exporter_build_info\{{.*version="{re.escape(__version__)}".*\}} 1\.0$', text, re.MULTILINE)


def test_the_wheel_ships_what_the_exporter_reads(released):
    names = set(zipfile.ZipFile(wheel_of(released)).namelist())
    sources = released.parent
    assert {str(path.relative_to(sources)) for path in sources.glob("exporter/**/*") if path.is_file()} <= names
    assert not [name for name in names if not name.startswith(("exporter/", "coc_exporter-"))]


def test_the_sbom_names_every_locked_dependency_with_its_version_licence_and_place(released):
    """It is CycloneDX, of this version, and says who needs whom."""
    told = json.loads((released / "sbom.cdx.json").read_text())
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    ours = told["metadata"]["component"]
    assert (ours["name"], ours["version"]) == ("coc-exporter", __version__)
    components = told["components"]
    assert {canonicalize_name(found["name"]): found["version"] for found in components} == LOCKED
    assert all(found["licenses"] and found["purl"].startswith("pkg:pypi/") for found in components)
    needed = {row["ref"]: row.get("dependsOn", []) for row in told["dependencies"]}
    direct = {canonicalize_name(ref.partition("==")[0]) for ref in needed[ours["bom-ref"]]}
    assert direct == {re.split(r"[<>=!~]", dependency)[0] for dependency in PROJECT["dependencies"]}


def test_the_lock_files_carry_hashes_and_name_no_index():
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")]
        pinned = [line for line in lines if re.match(r"[a-z0-9]", line)]
        assert all("==" in line and line.endswith("\\") for line in pinned)


def test_every_dependency_is_locked_and_tells_why_it_is_there():
    locked = (ROOT / "requirements.lock").read_text()
    why = (ROOT / "CONTRIBUTING.md").read_text()
    for dependency in PROJECT["dependencies"]:
        name = re.split(r"[<>=!~]", dependency)[0]
        assert f"\n{name}==" in f"\n{locked}", name
        assert name in why, name


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_pages_name_the_image_of_this_version():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "helm/coc-exporter/README.md"]
    told = {tag for page in pages for tag in re.findall(r"coc-exporter/coc-exporter:(\d[\w.]*)", page.read_text())}
    assert told == {__version__}
