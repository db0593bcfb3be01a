"""
Every scenario of the chart, installed into a real API server: what `helm template` shows, accepted by Kubernetes.

Not for CI, since the server takes minutes to build: `make cluster-test`.
"""

from __future__ import annotations

import base64
import os
import subprocess

import pytest
import yaml
from chart import crds
from tools import ROOT, tool, until

from cluster.control_plane import control_plane, programs

CHART = ROOT / "helm/coc-exporter"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACES = ("monitoring", "ops")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster with the operators' definitions, whose namespaces enforce the restricted Pod Security Standard."""
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        for definition in crds.definitions():
            running.create(CRDS, definition)
        until(lambda: _established(running), "the definitions are served")
        for name in NAMESPACES:
            running.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": _restricted()}})
            # Kubernetes' own controller makes this one; there is none here.
            running.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        # What the scenarios say that somebody else makes.
        running.create("/api/v1/namespaces/monitoring/serviceaccounts", {"metadata": {"name": "exporters"}})
        running.create(
            "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "monitoring"}, "value": 1000}
        )
        yield running


def _restricted():
    return {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


def _established(cluster):
    _, told = cluster.ask("GET", CRDS)
    conditions = [definition["status"]["conditions"] or () for definition in told["items"]]
    return all(any(row["type"] == "Established" and row["status"] == "True" for row in rows) for rows in conditions)


class Helm:
    """Run Helm in the cluster."""

    def __init__(self, program, cluster):
        self._program = program
        self._environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "HELM_NAMESPACE": "monitoring"}

    def run(self, *arguments):
        """Run it."""
        command = [self._program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)

    def __call__(self, *arguments):
        """Return what it printed; it must succeed, and neither it nor the API server may have warned."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        # Of fields that the server does not know, of the Pod Security Standard, of what is deprecated.
        assert "warning" not in done.stderr.lower(), done.stderr
        return done.stdout


@pytest.fixture(params=["helm", "helm4"])
def helm(request, cluster):
    """Helm 3 and Helm 4; what a test installed is removed."""
    runs = Helm(tool("helm") if request.param == "helm" else programs() / "helm4", cluster)
    yield runs
    runs("uninstall", "try", "--ignore-not-found")


def objects(text):
    return [found for found in yaml.safe_load_all(text) if found]


def place(cluster, wanted):
    """Return where the API server keeps an object."""
    version = wanted["apiVersion"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    _, served = cluster.ask("GET", base)
    (name,) = (row["name"] for row in served["resources"] if row["kind"] == wanted["kind"] and "/" not in row["name"])
    namespace = wanted["metadata"].get("namespace", "monitoring")
    return f"{base}/namespaces/{namespace}/{name}/{wanted['metadata']['name']}"


def lost(wanted, held, path=""):
    """Return what of an object the API server dropped or changed."""
    if isinstance(wanted, dict) and isinstance(held, dict):
        return [told for key, inner in wanted.items() for told in lost(inner, held.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(held, list) and len(wanted) == len(held):
        return [told for number, inner in enumerate(wanted) for told in lost(inner, held[number], f"{path}.{number}")]
    return [] if wanted == held else [f"{path}: {wanted!r} became {held!r}"]


def as_held(wanted):
    """Return an object as the API server keeps it: text of a Secret becomes bytes."""
    text = wanted.get("stringData", {})
    data = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
    rest = {key: value for key, value in wanted.items() if key != "stringData"}
    return rest | {"data": rest.get("data", {}) | data} if text else rest


def pods_of(manifest):
    """Return the pods that a release's workload would make, with their namespace."""
    for found in manifest:
        if found["kind"] in ("Deployment", "StatefulSet"):
            template = found["spec"]["template"]
            claims = [claim["metadata"]["name"] for claim in found["spec"].get("volumeClaimTemplates", ())]
            # As the StatefulSet's controller does.
            volumes = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-a-pod"}} for name in claims]
            spec = template["spec"] | {"volumes": template["spec"]["volumes"] + volumes}
            metadata = {"name": "a-pod", "labels": template["metadata"]["labels"]}
            yield found["metadata"]["namespace"], {"metadata": metadata, "spec": spec}


def judged(cluster, namespace, pod):
    """Let the API server judge a pod and keep nothing; return its complaint, None when it would take it."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict"
    status, answer = cluster.ask("POST", path, pod)
    return None if status == 201 else answer["message"]


def gone(cluster, path):
    """Tell whether an object is deleted; a claim is as soon as no pod uses it, which its controller would see."""
    status, found = cluster.ask("GET", path)
    if found.get("kind") == "PersistentVolumeClaim" and "deletionTimestamp" in found["metadata"]:
        del found["metadata"]["finalizers"]
        cluster.ask("PUT", path, found)
        status, _ = cluster.ask("GET", path)
    return status == 404


@scenarios
def test_a_scenario_is_installed_upgraded_and_removed_without_a_warning(helm, cluster, scenario):
    """Nothing that it asks for is dropped, and a namespace that enforces the restricted profile takes its pods."""
    values = ("try", CHART, "--values", scenario)
    helm("install", *values, "--dry-run=server")
    helm("install", *values)
    manifest = objects(helm("get", "manifest", "try"))
    held = {place(cluster, wanted): as_held(wanted) for wanted in manifest}
    assert {path: told for path, wanted in held.items() if (told := lost(wanted, cluster.ask("GET", path)[1]))} == {}
    hooks = ((hook["metadata"]["namespace"], hook) for hook in objects(helm("get", "hooks", "try")))
    assert [told for pod in (*pods_of(manifest), *hooks) if (told := judged(cluster, *pod))] == []
    helm("upgrade", *values, "--set=podAnnotations.upgraded=yes")
    helm("uninstall", "try")
    assert [path for path in held if not gone(cluster, path)] == []


def test_a_pod_that_is_not_hardened_is_warned_of_and_refused(helm, cluster):
    """The profile is really enforced."""
    done = helm.run("install", "try", CHART, "--set=demo=true,securityContext=null,podSecurityContext=null")
    assert "would violate PodSecurity" in done.stderr
    ((namespace, pod),) = pods_of(objects(helm("get", "manifest", "try")))
    assert 'violates PodSecurity "restricted:latest"' in judged(cluster, namespace, pod)


def test_a_field_that_kubernetes_does_not_know_is_told(helm):
    """Helm 3 warns of it and Helm 4 refuses it: what the silence about a scenario is worth."""
    done = helm.run("install", "try", CHART, "--set=demo=true,podSecurityContext.runAsUsr=1")
    assert "runAsUsr" in done.stderr
