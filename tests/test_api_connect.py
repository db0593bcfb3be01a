"""From an account's config to an Api: sign-in, TLS, proxy, and nothing left open."""

from __future__ import annotations

import ssl

import httpx
import pytest
from conftest import run
from rigs import Highest, account

from exporter import config
from exporter.api import Interpreter, Statuses, connect
from exporter.auth import PasswordAuth, SigningAuth, TokenAuth
from exporter.errors import UsageError

SIGN_INS = {
    "token": ({"token": "t"}, TokenAuth, 0),
    "password": ({"domain": "d", "username": "u", "password": "p", "project": "cn-north-4"}, PasswordAuth, 1),
    "aksk": ({"access_key": "a", "secret_key": "s"}, SigningAuth, 0),
    "ecs_metadata": ({}, SigningAuth, 1),
}


@pytest.fixture
def connected(telemetry, clock):
    made = []

    def make(**fields):
        api = connect(
            account("https://coc.example", tickets=[{"execute_uuid": "S"}], **fields),
            config.Poll(),
            Interpreter(Statuses(), telemetry, lambda _log: "other", keep_logs=True),
            telemetry=telemetry,
            clock=clock,
            random=Highest(),
        )
        made.append(api)
        return api

    yield make
    for api in made:
        run(api.aclose())


@pytest.mark.parametrize("kind", SIGN_INS)
def test_each_sign_in_of_the_config_is_what_it_says_and_its_clients_are_closed(connected, kind):
    fields, expected, clients = SIGN_INS[kind]
    api = connected(auth={kind: fields})
    assert type(api.auth) is expected
    assert len(api._others) == clients
    run(api.aclose())
    assert all(http.is_closed for http in (api._http, *api._others))


def test_every_request_says_what_the_account_wants(connected):
    headers = connected(language="zh-cn", project_id="0123456789abcdef")._http.headers
    assert (headers["x-language"], headers["x-project-id"]) == ("zh-cn", "0123456789abcdef")
    assert headers["accept-encoding"] == "gzip"
    assert headers["user-agent"].startswith("coc-exporter/")
    assert "x-project-id" not in connected()._http.headers


def test_a_redirect_is_not_followed_and_the_environment_not_asked(connected):
    for http in (connected()._http, *connected(auth={"ecs_metadata": {}})._others):
        assert not http.follow_redirects
        assert http._mounts == {}


def proxy(http):
    return http._transport._inner.proxy


def test_the_proxy_is_on_the_way_to_the_api_and_not_to_the_metadata_service(connected):
    api = connected(proxy_url="http://proxy.example:3128", auth={"ecs_metadata": {}})
    assert (proxy(api._http), proxy(api._others[0])) == ("http://proxy.example:3128", None)


def tls(api):
    return api._http._transport._inner.tls


def test_certificates_are_verified_unless_the_config_says_otherwise(connected):
    assert tls(connected()).verify_mode is ssl.CERT_REQUIRED
    assert tls(connected()).check_hostname
    assert tls(connected(tls={"insecure_skip_verify": True})).verify_mode is ssl.CERT_NONE


def test_a_ca_file_that_is_none_is_told_in_a_sentence(connected, tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(UsageError, match=r"ca\.pem cannot be used as tls\.ca_file"):
        connected(tls={"ca_file": str(file)})


def test_limits_are_those_of_the_config(connected):
    api = connected()
    assert api.gate.rate == config.Poll().requests_per_second
    assert (api._limits.page, api._limits.attempts) == (50, 3)
    assert isinstance(api._http, httpx.AsyncClient)
