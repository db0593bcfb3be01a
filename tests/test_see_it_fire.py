"""What docs/alerts.md says of the switches: each of them makes its alerts fire, and they end when it is put back."""

from __future__ import annotations

import re
from contextlib import contextmanager

import httpx
import pytest
from rules import swift
from tools import ROOT, exporter, free_port, listening, prometheus, running, until

from exporter.cli.demo import config_text

PAGE = (ROOT / "docs/alerts.md").read_text()
SWITCHES = {
    switch: names.split(", ")
    for switch, names in re.findall(r"^\| `(\w+/\w[\w.]*)` \|[^|]*\| (Coc[^|]+) \|", PAGE, re.MULTILINE)
}
POLL = "poll: {interval: 1s, stale_after: 5s, keep_finished: 1h, requests_per_second: 100}"


@contextmanager
def polling(folder, config, port):
    """Run the exporter on this port, over again if need be."""
    flags = (f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}")
    with running(exporter("serve", *flags), folder / "exporter.log") as process:
        listening(process)
        yield


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The simulator as users start it, Prometheus with our rules, and how to run the exporter between them."""
    folder = tmp_path_factory.mktemp("switches")
    flags = ("--web.listen-address=127.0.0.1:0", "--speed=30", "--tickets=12")
    with running(exporter("simulate", *flags), folder / "simulator.log") as process:
        url = listening(process)
        config = folder / "config.yaml"
        config.write_text(re.sub(r"poll: .*", POLL, config_text(url, "aksk")))
        port = free_port()
        rules = swift.compressed(folder / "rules")
        scraping = swift.PROMETHEUS.format(rules=rules, alertmanagers="", target=f"127.0.0.1:{port}")
        with httpx.Client(base_url=url) as switches, prometheus(folder, scraping) as ask:
            yield lambda: polling(folder, config, port), switches, ask


def firing(ask, name):
    return set(ask(f'ALERTS{{alertname="{name}",alertstate="firing"}}'))


def test_the_page_tells_of_every_way_to_misbehave():
    assert {switch.split("/")[0] for switch in SWITCHES} == {
        "failure_wave",
        "api_down",
        "locked_key",
        "empty_site",
        "throttle",
    }


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_makes_its_alerts_fire_and_its_reset_ends_them(switch, played):
    run, switches, ask = played
    with run():
        until(lambda: ask("sum(coc_instances) > 0 and on () coc_up == 1"), "a good poll")
        before = {name: firing(ask, name) for name in SWITCHES[switch]}
        switches.post(f"/-/switches/{switch}").raise_for_status()
        fired = {
            name: until(lambda name=name: firing(ask, name) - before[name], f"{name} fires")
            for name in SWITCHES[switch]
        }
        switches.post("/-/reset").raise_for_status()
        if switch != "locked_key/on":
            ended(ask, fired)
    if switch == "locked_key/on":
        # A locked key is tried again after five minutes; one that begins anew tries at once.
        with run():
            ended(ask, fired)


def ended(ask, fired):
    for name, alerts in fired.items():
        until(lambda name=name, alerts=alerts: not firing(ask, name) & alerts, f"{name} ends", patience=120)
