"""A real Prometheus and a real promtool against the HTTP surface: each protocol, TLS, passwords, exemplars."""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import subprocess
import time

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tools import exporter, listening, prometheus, running, tool, until

from exporter import simulator

CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{{execute_uuid: SCT-one}}]
poll: {{interval: 1s, requests_per_second: 100}}
metrics: {{duration_buckets: [1, 5, 15, 30, 60, 120]}}
"""
WEB = """
tls_server_config: {{cert_file: server.crt, key_file: server.key}}
basic_auth_users: {{prometheus: "{password}"}}
"""
SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - {{job_name: text-0.0.4, scrape_protocols: [PrometheusText0.0.4], static_configs: [{{targets: ['{plain}']}}]}}
  - {{job_name: text-1.0.0, scrape_protocols: [PrometheusText1.0.0], static_configs: [{{targets: ['{plain}']}}]}}
  - {{job_name: openmetrics, scrape_protocols: [OpenMetricsText1.0.0], static_configs: [{{targets: ['{plain}']}}]}}
  - job_name: nhcb
    convert_classic_histograms_to_nhcb: true
    static_configs: [{{targets: ['{plain}']}}]
  - job_name: tls
    scheme: https
    tls_config: {{ca_file: server.crt}}
    basic_auth: {{username: prometheus, password: secret-of-the-scraper}}
    static_configs: [{{targets: ['{safe}']}}]
  - job_name: tls-wrong-password
    scheme: https
    tls_config: {{ca_file: server.crt}}
    basic_auth: {{username: prometheus, password: wrong}}
    static_configs: [{{targets: ['{safe}']}}]
"""
JOBS = ("text-0.0.4", "text-1.0.0", "openmetrics", "nhcb", "tls")


@pytest.fixture(scope="module")
def surface(tmp_path_factory):
    """A plain and a protected exporter, scraped in every way."""
    folder = tmp_path_factory.mktemp("surface")
    certificate(folder)
    password = bcrypt.hashpw(b"secret-of-the-scraper", bcrypt.gensalt(4)).decode()
    (folder / "web.yaml").write_text(WEB.format(password=password))
    address = "--web.listen-address=127.0.0.1:0"
    with simulator.running(simulator.build(world=world())) as url:
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(url=url))
        serve = ("serve", f"--config.file={config}", address)
        with (
            running(exporter(*serve), folder / "plain.log") as plain,
            running(exporter(*serve, f"--web.config.file={folder / 'web.yaml'}"), folder / "safe.log") as safe,
        ):
            targets = {
                name: listening(each).removeprefix("http://") for name, each in (("plain", plain), ("safe", safe))
            }
            flags = ("--enable-feature=exemplar-storage",)
            with prometheus(folder, SCRAPE.format(**targets), *flags) as ask:
                until(lambda: len(ask("count by (job) (coc_instances)")) == len(JOBS), "a scrape of each job")
                yield ask, targets, folder


def world():
    script = simulator.Script()
    now = time.time()
    ticket = script.ticket("SCT-one", batches=[5])
    ids = ticket.ids()
    for number, seconds in zip(ids[:4], (3, 10, 12, 50), strict=True):
        ticket.set(number, "FINISHED", began=now - 90, at=now - 90 + seconds)
        ticket.host(number, properties={"host_name": f"web-{seconds}"})
    ticket.set(ids[4], "ABNORMAL", began=now - 90, at=now - 70, log="No space left on device")
    return script


def certificate(folder):
    """Write a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.crt").write_bytes(made.public_bytes(pem))
    (folder / "server.key").write_bytes(secret)
    (folder / "server.key").chmod(0o600)


@pytest.mark.parametrize("job", JOBS)
def test_each_way_of_scraping_tells_the_same(surface, job):
    ask, *_ = surface
    assert list(ask(f'up{{job="{job}"}}').values()) == [1]
    counts = ask(f'sum by (status) (coc_instances{{job="{job}"}}) > 0')
    assert {dict(key)["status"]: value for key, value in counts.items()} == {"FINISHED": 4, "ABNORMAL": 1}


def test_a_wrong_password_scrapes_nothing(surface):
    ask, *_ = surface
    assert list(ask('up{job="tls-wrong-password"}').values()) == [0]


def test_the_converted_native_histogram_answers_a_quantile(surface):
    ask, *_ = surface
    query = 'histogram_quantile(0.5, coc_instance_execution_duration_seconds{job="nhcb",status="FINISHED"})'
    (median,) = ask(query).values()
    # Of 3, 10, 12 and 50 s the second lies in the bucket from 5 to 15 s.
    assert math.isclose(median, 10.0)
    assert list(
        ask('histogram_count(coc_instance_execution_duration_seconds{job="nhcb",status="FINISHED"})').values()
    ) == [4]


def test_exemplars_lead_from_a_bucket_to_the_slowest_instance(surface):
    ask, *_ = surface
    now = time.time()
    query = 'coc_instance_execution_duration_seconds_bucket{job="openmetrics",status="FINISHED"}'

    def shown():
        found = ask.get("query_exemplars", query=query, start=str(now - 600), end=str(now + 600))
        return {
            (series["seriesLabels"]["le"], exemplar["labels"]["host_name"], float(exemplar["value"]))
            for series in found
            for exemplar in series["exemplars"]
        }

    until(shown, "exemplars")
    assert shown() == {("5.0", "web-3", 3.0), ("15.0", "web-12", 12.0), ("60.0", "web-50", 50.0)}


def test_exemplars_lead_from_the_failure_counter_to_the_instance(surface):
    ask, *_ = surface
    now = time.time()
    query = 'coc_instance_failures_total{job="openmetrics",reason="disk_full"}'
    (series,) = ask.get("query_exemplars", query=query, start=str(now - 600), end=str(now + 600))
    assert [exemplar["value"] for exemplar in series["exemplars"]] == ["20"]


@pytest.mark.parametrize("check", ["healthy", "ready"])
def test_promtool_finds_the_exporter(surface, check):
    _, targets, _ = surface
    done = promtool("check", check, f"--url=http://{targets['plain']}")
    assert done.returncode == 0, done.stderr


def test_promtool_accepts_the_web_config_that_we_accept(surface):
    *_, folder = surface
    done = promtool("check", "web-config", folder / "web.yaml")
    assert done.returncode == 0, done.stderr


def promtool(*arguments):
    return subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, check=False)
