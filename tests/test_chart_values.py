"""The chart's values: what they are called, what they default to, what is refused, and what pages say of them."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from chart import generate
from chart.render import CHART, METADATA, VALUES, helm, rendered
from tools import ROOT, missing

from exporter import __version__, config
from exporter.config.model import Config, Section


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("replicaCounts=1", "additional properties 'replicaCounts' not allowed"),
        ("config.pol.interval=1m", "additional properties 'pol' not allowed"),
        ("config.poll.intervall=1m", "additional properties 'intervall' not allowed"),
        ("config.accounts[0].auth.aksk.acces_key=x", "additional properties 'acces_key' not allowed"),
        ("image.pullPolicy=Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
        ("shards=0", "minimum: got 0, want 1"),
    ],
)
def test_a_misspelt_value_is_refused(setting, complaint):
    code, text = helm("template", "try", CHART, f"--set={setting}")
    assert code == 1
    assert complaint in text


def test_the_schema_is_one():
    try:
        import jsonschema  # noqa: PLC0415  not installed everywhere
    except ImportError:
        missing("jsonschema is not installed")
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema)


def test_schema_and_readme_are_generated_from_the_values():
    """`make chart` writes them."""
    for path, text in generate.generated().items():
        assert path.read_text() == text, f"{path.name} is out of date"


def test_every_value_is_described():
    assert generate.undescribed(generate.entries((CHART / "values.yaml").read_text())) == []


def test_default_config_is_the_exporters_own(tmp_path):
    """Every setting stands in values.yaml with the exporter's own default, and none that the exporter does not know."""
    account = {
        "name": "a",
        "region": "ap-southeast-3",
        "auth": {"token": {"token": "t"}},
        "tickets": [{"execute_uuid": "SCT1"}],
    }
    full = VALUES["config"] | {"accounts": [account]}
    told = config.parse(yaml.safe_dump(full), folder=tmp_path)
    assert config.dump(told) == config.dump(config.parse(yaml.safe_dump({"accounts": [account]}), folder=tmp_path))
    assert set(VALUES["config"]) == set(Config.model_fields)
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            assert set(VALUES["config"][name]) == set(field.annotation.model_fields), name


def test_versions_agree():
    assert METADATA["appVersion"] == __version__
    assert METADATA["name"] == CHART.name
    assert re.fullmatch(r"\d+\.\d+\.\d+", METADATA["version"])
    assert VALUES["image"]["tag"] == ""
    assert VALUES["containerPort"] == VALUES["service"]["port"] == 10262


def _examples():
    """Yield the values that pages show, each as text."""
    for page in (
        ROOT / "docs/kubernetes.md",
        CHART / "README.md",
        ROOT / "docs/alerts.md",
        ROOT / "docs/dashboards.md",
    ):
        text = page.read_text()
        blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        blocks += re.findall(r"^\$ cat > values\.yaml <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks):
            if set(yaml.safe_load(block)) & set(VALUES):
                yield pytest.param(block, id=f"{page.parent.name}/{page.name}, {number}")


@pytest.mark.parametrize("example", list(_examples()))
def test_values_that_pages_show_are_values(example, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(example)
    code, text = helm("template", "try", CHART, "--values", CHART / "ci/default-values.yaml", "--values", file)
    assert code == 0, text


SIBLINGS = """
global.imageRegistry image.registry image.repository image.tag image.digest image.pullPolicy imagePullSecrets
nameOverride fullnameOverride namespaceOverride commonLabels releaseLabel replicaCount revisionHistoryLimit strategy
podAnnotations podLabels podSecurityContext securityContext resources extraArgs extraEnv extraEnvFrom extraVolumes
extraVolumeMounts extraInitContainers extraContainers extraManifests nodeSelector tolerations affinity
topologySpreadConstraints priorityClassName hostAliases dnsPolicy dnsConfig lifecycle serviceAccount.create
serviceAccount.name serviceAccount.annotations service.type service.port service.annotations livenessProbe
readinessProbe startupProbe ingress.enabled ingress.className networkPolicy.enabled podDisruptionBudget.enabled
autoscaling.enabled autoscaling.minReplicas autoscaling.maxReplicas prometheusRule.enabled
prometheusRule.additionalLabels
"""
MONITOR = """
enabled namespace additionalLabels interval scrapeTimeout path scheme tlsConfig honorLabels relabelings
metricRelabelings sampleLimit labelLimit scrapeProtocols
"""


def test_values_are_spelled_as_in_the_charts_of_other_exporters():
    monitors = [
        f"{monitor}.{key}" for monitor in ("serviceMonitor", "podMonitor", "scrapeConfig") for key in MONITOR.split()
    ]
    known = {entry.path for entry in generate.walk(generate.entries((CHART / "values.yaml").read_text()))}
    assert {*SIBLINGS.split(), *monitors} - known == set()


OPTIONAL = """
configReloader serviceMonitor podMonitor scrapeConfig prometheusRule dashboards networkPolicy podDisruptionBudget
autoscaling verticalPodAutoscaler ingress httpRoute storage
"""


def test_everything_optional_is_off():
    """The plain chart makes as little as can be: no object of another operator, nothing that lets anybody in."""
    switches = {entry.path for entry in generate.walk(generate.entries((CHART / "values.yaml").read_text()))}
    named = {path.removesuffix(".enabled") for path in switches if path.count(".") == 1 and path.endswith(".enabled")}
    assert named == {*OPTIONAL.split(), "service"}
    assert [name for name in OPTIONAL.split() if VALUES[name]["enabled"]] == []
    kinds = sorted(found["kind"] for found in rendered(CHART / "ci/default-values.yaml"))
    assert kinds == ["Deployment", "Pod", "Secret", "Service", "ServiceAccount"]
