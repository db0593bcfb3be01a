"""The chart: every scenario rendered, and held against Kubernetes, the operators' own schemas, and the exporter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile

import pytest
import yaml
from chart import crds
from chart.render import CHART, NEWEST, OLDEST, OLDEST_SHARDED, SCENARIOS, helm, of_kind, pods, rendered
from tools import missing, tool

from exporter.cli.flags import parser
from exporter.server import web_config

MOUNT = "/run/secrets/coc-exporter"

scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
versions = pytest.mark.parametrize("version", [OLDEST, NEWEST])


@scenarios
def test_scenario_is_lint_clean(scenario):
    code, text = helm("lint", "--strict", CHART, "--values", scenario)
    assert code == 0, text
    assert "[WARNING]" not in text


def test_default_values_are_lint_clean():
    code, text = helm("lint", "--strict", CHART)
    assert code == 0, text
    assert "[WARNING]" not in text


def test_default_values_ask_for_an_account():
    code, text = helm("template", "try", CHART)
    assert code == 1
    assert "config.accounts is empty: name at least one account" in text


def test_an_older_kubernetes_is_refused():
    code, text = helm("template", "try", CHART, "--set=demo=true", "--kube-version=1.24.0")
    assert code == 1
    assert "requires kubeVersion: ^1.25.0-0" in text


@versions
@scenarios
def test_objects_fit_kubernetes(scenario, version):
    """Every object has the fields that Kubernetes knows in this version, each of its type, and no other."""
    try:
        import kubernetes_validate  # noqa: PLC0415  not installed everywhere
    except ImportError:
        missing("kubernetes-validate is not installed")
    for found in rendered(scenario, version):
        if crds.schema(found["apiVersion"], found["kind"]) is None:
            known = OLDEST_SHARDED if version == OLDEST and "shards" in scenario.name else version
            kubernetes_validate.validate(found, known.rpartition(".")[0], strict=True)


@scenarios
def test_custom_resources_fit_their_definitions(scenario):
    try:
        import jsonschema  # noqa: PLC0415  not installed everywhere
    except ImportError:
        missing("jsonschema is not installed")
    for found in rendered(scenario):
        schema = crds.schema(found["apiVersion"], found["kind"])
        if schema is not None:
            jsonschema.Draft202012Validator(schema).validate(found)


def test_the_scenarios_render_every_template():
    """A template that no scenario turns on is not tested by any of them."""
    seen = set()
    for scenario in SCENARIOS:
        _code, text = helm("template", "try", CHART, "--values", scenario)
        seen |= set(re.findall(r"^# Source: coc-exporter/templates/(.+)$", text, re.MULTILINE))
    there = {str(path.relative_to(CHART / "templates")) for path in (CHART / "templates").rglob("*.yaml")}
    assert seen == there


def _nothings(value, path=""):
    if value is None:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _nothings(inner, f"{path}.{key}")


@scenarios
def test_no_field_is_left_empty(scenario):
    """A key with nothing behind it is a list or a mapping that was forgotten."""
    for found in rendered(scenario):
        assert list(_nothings(found)) == [], found["kind"]


@scenarios
def test_names_and_labels_fit(scenario):
    for found in rendered(scenario):
        metadata = found["metadata"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"])
        for value in metadata.get("labels", {}).values():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value)


ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
CONFINED = ("RuntimeDefault", "Localhost")


@scenarios
def test_pods_pass_the_restricted_profile(scenario):
    """Field by field, as the Pod Security Standards list them."""
    found = pods(rendered(scenario))
    assert found
    for spec in found.values():
        assert not any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC"))
        pod = spec["securityContext"]
        assert not pod.get("sysctls")
        assert not pod.get("seLinuxOptions")
        assert not pod.get("appArmorProfile")
        assert not (pod.get("windowsOptions") or {}).get("hostProcess")
        for volume in spec.get("volumes", []):
            (source,) = set(volume) - {"name"}
            assert source in ALLOWED_VOLUMES | {"secret"}, volume
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            own = container["securityContext"]
            assert not own.get("privileged")
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own.get("runAsNonRoot", pod["runAsNonRoot"]) is True
            assert own.get("runAsUser", pod["runAsUser"]) != 0
            assert own.get("seccompProfile", pod["seccompProfile"])["type"] in CONFINED
            assert own.get("procMount", "Default") == "Default"
            assert not own.get("seLinuxOptions")
            assert not own.get("appArmorProfile")
            assert not any(port.get("hostPort") for port in container.get("ports", []))
            handlers = [container.get(probe, {}) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
            for handler in [*handlers, *container.get("lifecycle", {}).values()]:
                assert not any("host" in handler.get(way, {}) for way in ("httpGet", "tcpSocket"))


@scenarios
def test_pods_go_further_than_the_profile(scenario):
    """The exporter's file system is read-only, nobody's token is mounted, and every volume but its own is read-only."""
    for spec in pods(rendered(scenario)).values():
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            if container["name"] in ("coc-exporter", "config-reloader", "test-connection"):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                writable = {
                    mount["name"] for mount in container.get("volumeMounts", []) if not mount.get("readOnly")
                } - {"extra"}
                assert writable <= {"tmp", "storage"}


@scenarios
def test_secrets_stay_in_secrets(scenario):
    """What is given as a credential is in no argument, annotation, environment variable or ConfigMap."""
    values = yaml.safe_load(scenario.read_text())
    given = [*values.get("credentials", {}).get("values", {}).values()]
    given += values.get("webConfig", {}).get("content", {}).get("basic_auth_users", {}).values()
    for account in values.get("config", {}).get("accounts", []):
        given += [account["auth"].get("token", {}).get("token", "")]
    text = json.dumps([found for found in rendered(scenario) if found["kind"] != "Secret"])
    assert not [secret for secret in given if secret and secret in text]


@scenarios
def test_the_exporter_takes_its_arguments(scenario):
    (spec,) = (spec for name, spec in pods(rendered(scenario)).items() if not name.endswith("test-connection"))
    arguments = [argument.replace("$(POD_INDEX)", "2") for argument in spec["containers"][0]["args"]]
    asked = parser().parse_args(arguments)
    assert asked.command == "serve"
    assert asked.listen
    assert asked.shard < asked.total_shards


def config_texts(objects):
    for found in of_kind(objects, "Secret", "ConfigMap"):
        text = (found.get("stringData") or found.get("data") or {}).get("config.yaml")
        if text is not None:
            yield text


WITH_CONFIG = [path for path in SCENARIOS if "config" in yaml.safe_load(path.read_text())]


@pytest.mark.parametrize("scenario", WITH_CONFIG, ids=lambda path: path.name)
def test_the_exporter_takes_the_rendered_config(scenario, tmp_path):
    """As `coc-exporter check` says, where its files and variables are."""
    objects = rendered(scenario)
    (text,) = config_texts(objects)
    for secret in ("token", "password"):
        (tmp_path / secret).write_text("example")
    file = tmp_path / "config.yaml"
    file.write_text(text.replace(MOUNT, str(tmp_path)))
    (spec,) = (spec for name, spec in pods(objects).items() if not name.endswith("test-connection"))
    names = [entry["name"] for entry in spec["containers"][0].get("env", [])]
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "check", f"--config.file={file}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | dict.fromkeys(names, "EXAMPLEKEY"),
    )
    assert done.returncode == 0, done.stderr


def test_the_exporter_takes_the_rendered_web_config(tmp_path):
    (text,) = (
        found["stringData"]["web-config.yaml"]
        for found in of_kind(rendered(CHART / "ci/web-values.yaml"), "Secret")
        if "web-config.yaml" in found.get("stringData", {})
    )
    read = yaml.safe_load(text)
    # Only the users: the certificate is somebody else's Secret.
    parsed = web_config.parse(yaml.safe_dump({"basic_auth_users": read["basic_auth_users"]}), "web.yaml", tmp_path)
    assert parsed


def test_rendered_rules_pass_promtool(tmp_path):
    """With what a user changed in them as much as without."""
    scenario = CHART / "ci/monitoring-values.yaml"
    changed = rendered(scenario)
    plain = rendered(CHART / "ci/demo-values.yaml", NEWEST, "--set=prometheusRule.enabled=true")
    for number, objects in enumerate((changed, plain)):
        (rule,) = of_kind(objects, "PrometheusRule")
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(rule["spec"]))
        done = subprocess.run(
            [tool("promtool"), "check", "rules", "--lint-fatal", file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_plain_rules_are_the_committed_ones():
    (rule,) = of_kind(
        rendered(CHART / "ci/demo-values.yaml", NEWEST, "--set=prometheusRule.enabled=true"), "PrometheusRule"
    )
    committed = []
    for file in sorted((CHART / "files/rules").glob("*.yaml")):
        committed += yaml.safe_load(file.read_text())["groups"]
    assert rule["spec"]["groups"] == committed


def test_dashboards_are_the_committed_ones():
    """Byte for byte, braces and all."""
    committed = {path.name: path.read_text() for path in (CHART / "files/dashboards").glob("*.json")}
    if not committed:
        pytest.skip("no dashboard is committed yet")
    (found,) = (
        found
        for found in of_kind(rendered(CHART / "ci/monitoring-values.yaml"), "ConfigMap")
        if found["metadata"]["name"].endswith("-dashboards")
    )
    assert found["data"] == committed
    assert len(json.dumps(found)) < 1_000_000


def test_monitors_scrape_each_pod_once():
    """With shards, the Service that a ServiceMonitor selects is one."""
    objects = rendered(CHART / "ci/shards-values.yaml", NEWEST, "--set=serviceMonitor.enabled=true")
    (monitor,) = of_kind(objects, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert len([found for found in of_kind(objects, "Service") if wanted <= found["metadata"]["labels"].items()]) == 1


@scenarios
def test_selectors_find_the_pods_and_nothing_else(scenario):
    objects = rendered(scenario)
    (workload,) = of_kind(objects, "Deployment", "StatefulSet")
    labels = workload["spec"]["template"]["metadata"]["labels"].items()
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels
    selectors = [found["spec"]["selector"] for found in of_kind(objects, "Service")]
    selectors += [
        found["spec"]["selector"]["matchLabels"] for found in of_kind(objects, "PodDisruptionBudget", "PodMonitor")
    ]
    selectors += [found["spec"]["podSelector"]["matchLabels"] for found in of_kind(objects, "NetworkPolicy")]
    for selector in selectors:
        assert selector.items() <= labels
        for pod in of_kind(objects, "Pod"):
            assert not selector.items() <= pod["metadata"]["labels"].items()


def test_the_pod_restarts_when_its_config_changes():
    scenario = CHART / "ci/default-values.yaml"

    def checksum(*extra):
        (found,) = of_kind(rendered(scenario, NEWEST, *extra), "Deployment")
        return found["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum("--set=log.level=debug")
    assert checksum() != checksum("--set=config.poll.interval=31s")


def test_the_package_holds_the_chart_without_its_tests(tmp_path):
    """And renders as the folder does."""
    code, text = helm("package", CHART, "--destination", tmp_path)
    assert code == 0, text
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = archive.getnames()
    assert not [name for name in names if "/ci/" in name or "/unittests/" in name]
    assert "coc-exporter/values.schema.json" in names
    assert [name for name in names if name.startswith("coc-exporter/files/rules/")]
    scenario = CHART / "ci/monitoring-values.yaml"
    _code, packaged = helm("template", "try", package, "--values", scenario)
    _code, plain = helm("template", "try", CHART, "--values", scenario)
    assert packaged == plain


def test_the_charts_own_suites_pass():
    """helm-unittest, strict."""
    done = subprocess.run(
        [tool("untt"), "--strict", "--file", "unittests/*_test.yaml", CHART],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def _suites():
    """Yield each assertion of helm-unittest's suites: the template that it is about, and what it asserts."""
    for path in (CHART / "unittests").glob("*_test.yaml"):
        suite = yaml.safe_load(path.read_text())
        alone = suite["templates"][0] if len(suite["templates"]) == 1 else None
        for case in suite["tests"]:
            for asserted in case["asserts"]:
                about = asserted.get("template") or case.get("template") or alone
                yield about, {key: value for key, value in asserted.items() if key not in ("template", "documentIndex")}


def test_every_template_has_a_suite_that_turns_it_on_and_one_that_turns_it_off():
    templates = {str(path.relative_to(CHART / "templates")) for path in (CHART / "templates").rglob("*.yaml")}
    nothing = {"hasDocuments": {"count": 0}}
    refusals = {"failedTemplate"}
    assert {about for about, asserted in _suites() if asserted == nothing} == templates
    shown = {about for about, asserted in _suites() if asserted != nothing and not refusals & set(asserted)}
    assert shown == templates | {"NOTES.txt"}
