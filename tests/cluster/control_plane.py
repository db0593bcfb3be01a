"""A real API server of Kubernetes with its etcd, on loopback; there is no node, so nothing of what it holds runs."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tools import ROOT, free_port, running, until

_TOKEN = "cluster-test"


@cache
def programs() -> Path:
    """Return the folder of the programs, built once."""
    done = subprocess.run(["/bin/sh", ROOT / ".ci/cluster/build"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.fail("the API server could not be built: its messages stand above")
    return Path(done.stdout.strip())


class Cluster:
    """Ask the API server; ``kubeconfig`` is for programs that do."""

    def __init__(self, url: str, authority: Path, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._url = url
        self._context = ssl.create_default_context(cafile=str(authority))
        kubeconfig.write_text(json.dumps(_kubeconfig(url, authority)))

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        """Return status and answer of a request."""
        headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def create(self, path: str, body: dict) -> dict:
        """Create an object that must be accepted."""
        status, answer = self.ask("POST", path, body)
        assert status == 201, answer.get("message", answer)
        return answer

    def ready(self) -> bool:
        """Tell whether it takes requests."""
        try:
            request = urllib.request.Request(f"{self._url}/readyz", headers={"Authorization": f"Bearer {_TOKEN}"})
            with urllib.request.urlopen(request, context=self._context, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


def _kubeconfig(url: str, authority: Path) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "test", "user": {"token": _TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }


@contextmanager
def control_plane(folder: Path):
    """Run both; yield the cluster when it takes requests."""
    etcd, peer, port = (free_port() for _ in range(3))
    etcd_url, url = f"http://127.0.0.1:{etcd}", f"https://127.0.0.1:{port}"
    key = folder / "service-accounts.pem"
    key.write_bytes(_private_key())
    (folder / "tokens.csv").write_text(f"{_TOKEN},test,test,system:masters\n")
    store = [
        programs() / "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={etcd_url}",
        f"--advertise-client-urls={etcd_url}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    server = [
        programs() / "kube-apiserver",
        f"--etcd-servers={etcd_url}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={folder / 'tokens.csv'}",
    ]
    alone = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with (
        running(store, folder / "etcd.log", env=alone),
        running(server, folder / "apiserver.log", env=alone) as process,
    ):
        process.find("Serving securely on", patience=180)
        cluster = Cluster(url, folder / "certificates/apiserver.crt", folder / "kubeconfig")
        until(cluster.ready, "the API server is ready", patience=180)
        yield cluster


def _private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, traditional, serialization.NoEncryption())
