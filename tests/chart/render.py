"""The chart, rendered by a real Helm."""

from __future__ import annotations

import os
import subprocess
from functools import cache

import yaml
from tools import ROOT, tool

CHART = ROOT / "helm/coc-exporter"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
METADATA = yaml.safe_load((CHART / "Chart.yaml").read_text())
OLDEST, OLDEST_SHARDED, NEWEST = "1.25.0", "1.28.0", "1.37.0"
# What a developer has configured for real clusters is none of the tests' business.
ENVIRONMENT = {"KUBECONFIG": os.devnull, "HELM_NAMESPACE": "monitoring"}


def helm(*arguments):
    """Run helm; return its exit code and all that it printed."""
    done = subprocess.run(
        [tool("helm"), *map(str, arguments)], capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT
    )
    return done.returncode, done.stdout + done.stderr


@cache
def rendered(scenario, version=NEWEST, *extra):
    """Return the objects of a scenario."""
    values = yaml.safe_load(scenario.read_text())
    if values.get("shards", 1) > 1:
        version = max(version, OLDEST_SHARDED)
    code, text = helm("template", "try", CHART, "--values", scenario, "--kube-version", version, *extra)
    assert code == 0, text
    return [found for found in yaml.load_all(text, Loader=UniqueLoader) if found]


class UniqueLoader(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error, as it is to Kubernetes' own tools."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {sorted(keys)}"
        return super().construct_mapping(node, deep)


def of_kind(objects, *kinds):
    return [found for found in objects if found["kind"] in kinds]


def pods(objects):
    """Return the pod specs of a scenario, by the name of what makes them."""
    made = {found["metadata"]["name"]: found["spec"] for found in of_kind(objects, "Pod")}
    for found in of_kind(objects, "Deployment", "StatefulSet"):
        made[found["metadata"]["name"]] = found["spec"]["template"]["spec"]
    return made
