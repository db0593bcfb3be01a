"""TLS as the web config file orders it, spoken to by a real client."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509
from test_server_kit import Authority, FakeBoard, Served, running, site

from exporter.exposition import Format
from exporter.server import Limits, WebConfigError, WebConfigFile, tls

if TYPE_CHECKING:
    from pathlib import Path

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
CLIENTS = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
SANS = {
    "dns": x509.DNSName("prometheus.example.com"),
    "ip4": x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
    "ip6": x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    "mail": x509.RFC822Name("ops@example.com"),
    "uri": x509.UniformResourceIdentifier("spiffe://example.com/prometheus"),
}


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    authority = Authority.made(tmp_path)
    authority.issue("server")
    authority.issue("client", SANS["dns"], client=True)
    return tmp_path


def web_file(folder: Path, content: str) -> WebConfigFile:
    path = folder / "web.yml"
    path.write_text(content)
    return WebConfigFile(path)


def trusting(folder: Path, authority: str = "ca", certificate: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=folder / f"{authority}.crt")
    if certificate:
        made.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
    return made


def status(server: Served, client: ssl.SSLContext) -> int:
    with server.client(verify=client) as session:
        return session.get("/metrics").status_code


def refused(server: Served, client: ssl.SSLContext) -> bool:
    """Tell whether the connection is ended before an answer; with TLS 1.3 the client learns of it late."""
    with pytest.raises(httpx.TransportError):
        status(server, client)
    return True


def handshake(server: Served, client: ssl.SSLContext) -> ssl.SSLSocket:
    return client.wrap_socket(server.connect(), server_hostname="127.0.0.1")


def test_tls_is_served_and_plain_http_is_not(pki: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with running(web_config=web_file(pki, TLS + "http_server_config: {http2: true}")) as server:
        assert status(server, trusting(pki)) == 200
        assert server.tell(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    said = {record.message: record.__dict__ for record in caplog.records}
    assert said["Listening on"]["address"].startswith("127.0.0.1:")
    assert said["TLS is enabled."]["http2"] is False
    assert "HTTP/1.1 is served; http2 has no effect here." in said


def test_a_large_body_over_tls(pki: Path) -> None:
    body = bytes(range(256)) * 16384
    shown = site(board=FakeBoard({Format.TEXT: body}))
    with running(shown, web_config=web_file(pki, TLS)) as server, server.client(verify=trusting(pki)) as client:
        assert client.get("/metrics", headers={"Accept-Encoding": "identity"}).content == body


def test_http_1_is_what_is_agreed_on(pki: Path) -> None:
    client = trusting(pki)
    client.set_alpn_protocols(["h2", "http/1.1"])
    with running(web_config=web_file(pki, TLS)) as server, handshake(server, client) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_old_tls_is_refused(pki: Path) -> None:
    client = trusting(pki)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with running(web_config=web_file(pki, TLS)) as server, handshake(server, client) as connection:
        assert connection.version() == "TLSv1.2"
    with running(web_config=web_file(pki, TLS + "  min_version: TLS13\n")) as server:
        assert refused(server, client)


def test_no_common_cipher(pki: Path) -> None:
    client = trusting(pki)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES256-SHA")
    chosen = TLS + "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"
    with running(web_config=web_file(pki, chosen)) as server:
        assert refused(server, client)


@pytest.mark.parametrize(("preferred", "expected"), [("true", "256"), ("false", "128")])
def test_whose_order_of_ciphers_counts(pki: Path, preferred: str, expected: str) -> None:
    client = trusting(pki)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    names = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    chosen = f"{TLS}  cipher_suites: [{', '.join(names)}]\n  prefer_server_cipher_suites: {preferred}\n"
    with running(web_config=web_file(pki, chosen)) as server, handshake(server, client) as connection:
        cipher = connection.cipher()
        assert cipher is not None
        assert f"AES{expected}-" in cipher[0]


def test_the_curve_counts(pki: Path) -> None:
    other = trusting(pki)
    other.set_ecdh_curve("prime256v1")
    same = trusting(pki)
    same.set_ecdh_curve("secp384r1")
    with running(web_config=web_file(pki, TLS + "  curve_preferences: [CurveP384]\n")) as server:
        assert status(server, same) == 200
        assert refused(server, other)


def test_what_openssl_lacks_is_refused(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    for known in ("NO-SUCH-CIPHER", "NO-SUCH-CIPHER:ECDHE-RSA-AES256-SHA"):
        monkeypatch.setitem(tls.CIPHERS, name, known)
        with pytest.raises(WebConfigError, match="OpenSSL on this machine has no NO-SUCH-CIPHER"):
            web_file(pki, TLS + f"  cipher_suites: [{name}]\n")
    monkeypatch.setitem(tls.CURVES, "X25519", "no-such-curve")
    with pytest.raises(WebConfigError, match="OpenSSL on this machine has no X25519"):
        web_file(pki, TLS + "  curve_preferences: [X25519]\n")


def test_without_a_client_authority_the_systems_own_count(pki: Path) -> None:
    """As in Go: required and verified, by whom the machine trusts; ours is not among them."""
    content = TLS + "  client_auth_type: RequireAndVerifyClientCert\n"
    with running(web_config=web_file(pki, content)) as server:
        assert refused(server, trusting(pki, certificate="client"))


def test_a_client_certificate_is_required(pki: Path) -> None:
    stranger = Authority.made(pki, "stranger")
    stranger.issue("intruder", SANS["dns"], client=True)
    with running(web_config=web_file(pki, CLIENTS)) as server:
        assert status(server, trusting(pki, certificate="client")) == 200
        assert refused(server, trusting(pki))
        assert refused(server, trusting(pki, certificate="intruder"))


def test_a_servers_certificate_is_no_clients(pki: Path) -> None:
    with running(web_config=web_file(pki, CLIENTS)) as server:
        assert refused(server, trusting(pki, certificate="server"))


def test_a_client_certificate_is_verified_if_given(pki: Path) -> None:
    stranger = Authority.made(pki, "stranger")
    stranger.issue("intruder", client=True)
    with running(
        web_config=web_file(pki, CLIENTS.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"))
    ) as server:
        assert status(server, trusting(pki)) == 200
        assert status(server, trusting(pki, certificate="client")) == 200
        assert refused(server, trusting(pki, certificate="intruder"))


ALLOWED = {
    "dns": "prometheus.example.com",
    "ip4": "192.0.2.7",
    "ip6": "2001:db8::1",
    "mail": "ops@example.com",
    "uri": "spiffe://example.com/prometheus",
}


@pytest.mark.parametrize("kind", SANS)
def test_only_allowed_names(pki: Path, kind: str) -> None:
    folder = Authority.made(pki)
    folder.issue("server")
    folder.issue("named", SANS[kind], client=True)
    folder.issue("other", x509.DNSName("prometheus.example.com.evil"), client=True)
    content = CLIENTS + f"  client_allowed_sans: ['{ALLOWED[kind]}', 'another.example.com']\n"
    with running(web_config=web_file(pki, content)) as server:
        assert status(server, trusting(pki, certificate="named")) == 200
        assert refused(server, trusting(pki, certificate="other"))


def test_no_name_is_allowed_by_an_empty_list(pki: Path) -> None:
    with running(web_config=web_file(pki, CLIENTS + "  client_allowed_sans: []\n")) as server:
        assert refused(server, trusting(pki, certificate="client"))


def serial(server: Served, client: ssl.SSLContext) -> int:
    with handshake(server, client) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def test_a_renewed_certificate_is_served_without_restart(pki: Path) -> None:
    authority = Authority.made(pki)
    authority.issue("server")
    with running(web_config=web_file(pki, TLS)) as server:
        client = trusting(pki)
        before = serial(server, client)
        with server.client(verify=client) as kept:
            kept.get("/metrics")
            authority.issue("new")
            shutil.move(pki / "new.crt", pki / "server.crt")
            # Half renewed: the key is still the old one, and so is what is served.
            assert serial(server, client) == before
            shutil.move(pki / "new.key", pki / "server.key")
            assert serial(server, client) != before
            assert kept.get("/metrics").status_code == 200


def test_another_client_authority_counts_at_once(pki: Path) -> None:
    """What cannot be changed within one context is changed by taking a new one."""
    with running(web_config=web_file(pki, CLIENTS)) as server:
        assert status(server, trusting(pki, certificate="client")) == 200
        Authority.made(pki, "stranger")
        shutil.copy(pki / "ca.crt", pki / "old.crt")
        shutil.move(pki / "stranger.crt", pki / "ca.crt")
        assert refused(server, trusting(pki, "old", certificate="client"))


def test_a_handshake_that_is_never_done_is_cut(pki: Path) -> None:
    limits = Limits(handshake_time=0.2)
    with running(web_config=web_file(pki, TLS), limits=limits) as server, server.connect() as connection:
        assert connection.recv(1) == b""


def test_a_stuck_handshake_holds_nobody_up(pki: Path) -> None:
    with running(web_config=web_file(pki, TLS)) as server:
        stuck = [server.connect() for _ in range(20)]
        assert status(server, trusting(pki)) == 200
        for connection in stuck:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
