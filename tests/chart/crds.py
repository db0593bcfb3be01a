"""
The schemas of custom resources, from the Go modules of the projects that define them.

Each module is pinned by the hash that Go's own checksum database knows it by.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tools import missing

MODULES = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "example/prometheus-operator-crd/*.yaml",
    ),
    "sigs.k8s.io/gateway-api@v1.3.0": (
        "h1:q6okN+/UKDATola4JY7zXzx40WO4VISk7i9DIfOvr9M=",
        "config/crd/standard/*_httproutes.yaml",
    ),
    "k8s.io/autoscaler/vertical-pod-autoscaler@v1.8.1": (
        "h1:Pe8bV1wozN4gOKO1rleiIY5alIyAXN+DnXDbXQcL4fI=",
        "deploy/vpa-v1-crd-gen.yaml",
    ),
}


GROUPS = ("autoscaling.k8s.io", "gateway.networking.k8s.io", "monitoring.coreos.com")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML in which a lone = is text: one operator lists it among the ways to compare."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


@cache
def _definitions() -> list[dict[str, Any]] | str:
    """Return the definitions, or why there are none."""
    go = shutil.which("go")
    if go is None:
        return "schemas of custom resources need a Go toolchain to be fetched"
    done = subprocess.run(
        [go, "mod", "download", "-json", *MODULES], capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        return f"schemas of custom resources could not be fetched: {done.stderr.strip() or done.stdout.strip()}"
    found = []
    decoder, rest = json.JSONDecoder(), done.stdout.strip()
    while rest:
        module, end = decoder.raw_decode(rest)
        rest = rest[end:].strip()
        known, files = MODULES[f"{module['Path']}@{module['Version']}"]
        assert module["Sum"] == known, module["Path"]
        for file in sorted(Path(module["Dir"]).glob(files)):
            found += [crd for crd in yaml.load_all(file.read_text(), Loader=_Loader) if crd]
    return found


def definitions() -> list[dict[str, Any]]:
    """Return the definitions as their projects publish them; skip the test where they cannot be had."""
    found = _definitions()
    return missing(found) if isinstance(found, str) else found


@cache
def _schemas() -> dict[tuple[str, str], dict[str, Any]]:
    return {key: schema for crd in definitions() for key, schema in _of(crd)}


def _of(crd: dict[str, Any]):
    for version in crd["spec"]["versions"]:
        key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
        yield key, _strict(version["schema"]["openAPIV3Schema"])


def _strict(schema: Any) -> Any:
    """Return the schema as JSON schema, with no key allowed that it does not name: the API server would drop it."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    told = {}
    for key, value in schema.items():
        if key == "properties":
            told[key] = {name: _strict(inner) for name, inner in value.items()}
        elif key != "default":
            told[key] = _strict(value)
    if "properties" in told and not told.get("x-kubernetes-preserve-unknown-fields"):
        told.setdefault("additionalProperties", False)
    if told.get("x-kubernetes-int-or-string"):
        told.pop("type", None)
    if told.get("nullable") and isinstance(told.get("type"), str):
        told["type"] = [told["type"], "null"]
    return told


def schema(api_version: str, kind: str) -> dict[str, Any] | None:
    """Return the schema of a custom resource, None for what is none; skip the test where they cannot be had."""
    if api_version.partition("/")[0] not in GROUPS:
        return None
    return _schemas()[api_version, kind]
