"""docs/compose.yaml: a compose file that compose itself accepts, of the files and flags that `make stack` runs with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import stack
import yaml
from tools import ROOT, debian

FILE = ROOT / "docs/compose.yaml"
SERVICES = yaml.safe_load(FILE.read_text())["services"]


def config(*arguments, file=FILE):
    command = [debian("docker-compose"), "-f", file, "config", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_accepts_the_file():
    done = config()
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == {"exporter", "prometheus", "alertmanager", "grafana"}


def test_compose_would_refuse_a_misspelt_key(tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text(FILE.read_text().replace("network_mode:", "network_mod:", 1))
    assert config("-q", file=file).returncode != 0


def mounted(service):
    """Yield what is on the host for each path in the container."""
    for volume in SERVICES[service]["volumes"]:
        host, inside, *mode = volume.split(":")
        assert mode == ["ro"]
        yield (FILE.parent / host).resolve(), inside


def on_the_host(service, path):
    """Return the file that a service finds at a path."""
    fitting = [(host, inside) for host, inside in mounted(service) if Path(path).is_relative_to(inside)]
    host, inside = max(fitting, key=lambda pair: len(pair[1]))
    return host / Path(path).relative_to(inside) if path != inside else host


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("prometheus", "/coc/docs/stack/prometheus.yaml"),
        ("alertmanager", "/coc/docs/stack/alertmanager.yaml"),
        ("grafana", "/etc/grafana/provisioning/datasources/coc.yaml"),
        ("grafana", "/etc/grafana/provisioning/dashboards/coc.yaml"),
    ],
)
def test_what_is_mounted_is_there(service, path):
    assert on_the_host(service, path).is_file()
    if service != "grafana":
        assert f"--config.file={path}" in SERVICES[service]["command"]


def test_grafana_is_given_every_dashboard():
    provider = on_the_host("grafana", "/etc/grafana/provisioning/dashboards/coc.yaml")
    (told,) = yaml.safe_load(provider.read_text())["providers"]
    found = on_the_host("grafana", told["options"]["path"])
    assert sorted(path.name for path in found.glob("*.json")) == [
        "coc-exporter.json",
        "coc-overview.json",
        "coc-ticket.json",
    ]


def test_grafana_asks_the_prometheus_of_the_file():
    file = on_the_host("grafana", "/etc/grafana/provisioning/datasources/coc.yaml")
    (source,) = yaml.safe_load(file.read_text())["datasources"]
    assert source["type"] == "prometheus"
    address = source["url"].removeprefix("http://").replace("localhost", "127.0.0.1")
    assert f"--web.listen-address={address}" in SERVICES["prometheus"]["command"]


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_processes_and_containers_get_the_same_flags(service):
    port = stack.PORTS[1 if service == "prometheus" else 2]
    command = getattr(stack, service)(Path("/data"), Path("/config"), f"127.0.0.1:{port}")
    names = {str(flag).split("=")[0] for flag in command[1:]} - {"--storage.path"}
    assert names == {flag.split("=")[0] for flag in SERVICES[service]["command"]}
    assert f"--web.listen-address=127.0.0.1:{port}" in SERVICES[service]["command"]
