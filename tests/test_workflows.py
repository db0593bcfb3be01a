"""The workflows on GitHub: what they may do, what they run, and that nobody can change either behind our back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tools import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEXT = {path.name: path.read_text() for path in WORKFLOWS}
# YAML 1.1 takes the key "on" for a truth value.
PARSED = {name: yaml.safe_load(text) for name, text in TEXT.items()}
JOBS = [(name, job, body) for name, flow in PARSED.items() for job, body in flow["jobs"].items()]
STEPS = [(name, job, step) for name, job, body in JOBS for step in body["steps"]]
MAY_WRITE = {
    ("release.yml", "build"): {"id-token", "attestations"},
    ("release.yml", "image"): {"packages", "id-token", "attestations"},
    ("release.yml", "chart"): {"packages", "id-token", "attestations"},
    ("release.yml", "pypi"): {"id-token"},
    ("release.yml", "page"): {"contents"},
}
each_job = pytest.mark.parametrize(("name", "job", "body"), JOBS, ids=[f"{name}-{job}" for name, job, _ in JOBS])


def test_there_are_workflows():
    assert set(TEXT) == {"ci.yml", "release.yml"}


@pytest.mark.parametrize("name", TEXT)
def test_every_action_is_pinned_by_commit_with_its_tag_beside(name):
    used = re.findall(r"uses: (.+)", TEXT[name])
    assert used
    for line in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_pin_and_one_tag_everywhere():
    pins = {}
    for text in TEXT.values():
        for action, pin in re.findall(r"uses: ([^@]+)@(.+)", text):
            assert pins.setdefault(action, pin) == pin


def test_a_container_is_pinned_by_its_digest():
    rows = PARSED["ci.yml"]["jobs"]["check"]["strategy"]["matrix"]["include"]
    assert [body["container"]["image"] for _, _, body in JOBS if "container" in body] == ["${{ matrix.image }}"]
    for row in rows:
        assert re.fullmatch(rf"docker\.io/library/python:{row['python']}-bookworm@sha256:[0-9a-f]{{64}}", row["image"])


@each_job
def test_a_job_may_do_no_more_than_it_must(name, job, body):
    assert PARSED[name]["permissions"] == {}
    granted = body["permissions"]
    assert {right for right, kind in granted.items() if kind == "write"} == MAY_WRITE.get((name, job), set())
    assert set(granted.values()) <= {"read", "write"}


def test_every_job_ends_by_itself():
    assert all(0 < body["timeout-minutes"] <= 60 for _, _, body in JOBS)


def test_no_checkout_leaves_a_token_behind():
    checkouts = [step for _, _, step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_nobody_from_outside_starts_a_workflow_that_holds_secrets():
    triggers = {name: set(flow[True]) for name, flow in PARSED.items()}
    assert triggers == {"ci.yml": {"push", "pull_request", "schedule"}, "release.yml": {"push"}}
    assert PARSED["release.yml"][True]["push"] == {"tags": ["v*"]}
    secrets = {secret for name in TEXT for secret in re.findall(r"secrets\.(\w+)", TEXT[name])}
    assert secrets == {"GITHUB_TOKEN"}
    assert "secrets." not in TEXT["ci.yml"]


def test_no_expression_stands_in_a_script():
    """Whoever names a branch or a tag would write the script."""
    assert [(name, step["run"]) for name, _, step in STEPS if "${{" in step.get("run", "")] == []


def targets_that_run():
    for _, _, step in STEPS:
        yield from re.findall(r"^ *make ([a-z]+)", step.get("run", ""), re.MULTILINE)
    for row in PARSED["ci.yml"]["jobs"]["check"]["strategy"]["matrix"]["include"]:
        yield row["target"]


def test_ci_runs_the_targets_that_people_run():
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(targets_that_run()) == {"check", "test", "audit", "advisories", "chart", "release"}
    assert set(targets_that_run()) <= known


def test_somebody_renews_everything_that_is_pinned():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    found = {(update["package-ecosystem"], update["directory"]) for update in updates}
    tools = "/.ci/tools"
    assert found == {("github-actions", "/"), ("pip", "/"), ("docker", "/"), ("gomod", tools), ("npm", tools)}
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)


def audited(folder: Path, *arguments: str | Path):
    zizmor = Path(sys.executable).with_name("zizmor")
    command = [zizmor, "--quiet", "--offline", "--persona=auditor", "--strict-collection", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing():
    done = audited(ROOT, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_would_find_something(tmp_path):
    (tmp_path / ".github/workflows").mkdir(parents=True)
    broken = TEXT["ci.yml"].replace("@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "@main")
    (tmp_path / ".github/workflows/ci.yml").write_text(broken)
    assert "unpinned-uses" in audited(tmp_path, tmp_path).stdout


def test_bandit_finds_nothing():
    bandit = [sys.executable, "-m", "bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", "exporter"]
    done = subprocess.run(bandit, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


@pytest.mark.parametrize("page", ["SECURITY.md", "MAINTAINERS.md", "CONTRIBUTING.md", ".github/SUPPORT.md", "LICENSE"])
def test_the_pages_that_a_project_owes_its_users_are_there(page):
    assert len((ROOT / page).read_text()) > 100


def test_whoever_is_named_is_named_the_same_everywhere():
    owners = re.findall(r"^\* (\S+)$", (ROOT / ".github/CODEOWNERS").read_text(), re.MULTILINE)
    assert owners == ["@coc-exporter/maintainers"]
    assert owners[0] in (ROOT / "MAINTAINERS.md").read_text()
    chart = yaml.safe_load((ROOT / "helm/coc-exporter/Chart.yaml").read_text())
    assert [each["url"] for each in chart["maintainers"]] == ["https://github.com/coc-exporter"]
