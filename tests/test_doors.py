"""Who comes in by which door: every path, asked by somebody who means harm, of an exporter whose API means harm too."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlsplit

import bcrypt
import pytest
from test_server_kit import Authority
from tools import ROOT, exporter, listening, running, until

from exporter import simulator

PATHS = (
    "/",
    "/metrics",
    "/config",
    "/tickets/prod/SCT-1",
    "/tickets/prod/SCT-none",
    "/api/v1/tickets",
    "/api/v1/tickets/prod/SCT-1",
    "/api/v1/openapi.json",
    "/static/pages.css",
    "/-/healthy",
    "/-/ready",
    "/-/reload",
    "/nowhere",
)
OURS = {path.name for path in (ROOT / "exporter").rglob("*.py")}
MARK = "xss7f3a"
HOSTILE = (
    f"""'"><script>{MARK}()</script><img src=x onerror={MARK}()><svg/onload={MARK}()>javascript:{MARK}{{{{7*7}}}}"""
)
FORGED = 'ok"\ntime=2020-01-01T00:00:00Z level=error source=x:1 msg=forged7f3a\r\x1b[31m\u2028'
CONFIG = """
accounts:
  - name: prod
    endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    console_url: "https://console.example.com/?q={{execute_uuid}}"
    tickets: [{{execute_uuid: SCT-1}}]
    discovery: {{}}
poll: {{interval: 1s, request_timeout: 2s, max_attempts: 1}}
"""


@contextmanager
def served(folder, *flags):
    """Run an exporter against a hostile API; yield its address, its process and the simulator."""
    script = simulator.Script()
    for uuid, text in {"SCT-1": HOSTILE, "SCT-2": FORGED}.items():
        ticket = script.ticket(uuid, batches=[3], name=text, creator=text, script_name=text)
        for row in ticket.ids()[:2]:
            ticket.set(row, "ABNORMAL", log=f"{text}\n{text}")
            names = dict.fromkeys(("host_name", "fixed_ip", "application", "group", "zone_id", "region_id"), text)
            ticket.host(row, resource_id=text, properties=names)
        ticket.set(ticket.ids()[2], text)
    app = simulator.build(world=script)
    with simulator.running(app) as url:
        file = folder / "config.yaml"
        file.write_text(CONFIG.format(url=url))
        command = exporter(
            "serve", f"--config.file={file}", "--web.listen-address=127.0.0.1:0", "--log.level=debug", *flags
        )
        # As users run it: asyncio's debug mode tells more of clients.
        with running([command[0], *command[command.index("-m") :]], folder / "log") as process:
            parts = urlsplit(listening(process))
            yield (parts.hostname, parts.port), process, app


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    with served(tmp_path_factory.mktemp("doors"), "--web.enable-lifecycle") as (address, process, app):
        until(lambda: b"coc_abnormal_instance_info{" in ask(address, "/metrics").body, "the first poll")
        yield address, process, app


class Answered:
    """An answer, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if raw else 0
        self.headers = [tuple(line.lower().split(": ", 1)) for line in lines[1:]]

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")


def sources(process):
    """Return the files whose code wrote lines of the log."""
    return set(re.findall(r"^time=\S+ level=\w+ source=([^:]+):", process.text(), re.MULTILINE))


def said(address, raw):
    """Return what comes back for these bytes until the exporter closes the connection, as we do with our half."""
    with socket.create_connection(address, 10) as connection:
        pieces = []
        with suppress(ConnectionError):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                pieces.append(piece)
    return b"".join(pieces)


def ask(address, target, method="GET", headers=(), tls=None):
    """Send a request line as it stands, for no client would send some of these."""
    lines = [f"{method} {target} HTTP/1.1", *headers, "Connection: close"]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.insert(1, f"Host: {address[0]}:{address[1]}")
    with socket.create_connection(address, 10) as raw:
        connection = raw if tls is None else tls.wrap_socket(raw, server_hostname="localhost")
        with connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8"))
            pieces = []
            with suppress(ConnectionResetError):
                while piece := connection.recv(1 << 16):
                    pieces.append(piece)
    return Answered(b"".join(pieces))


# Basic auth and TLS.


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locked")
    authority = Authority.made(folder)
    authority.issue("server")
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    web = folder / "web.yaml"
    web.write_text(
        f"tls_server_config: {{cert_file: server.crt, key_file: server.key}}\nbasic_auth_users: {{ops: '{hashed}'}}\n"
    )
    with served(folder, "--web.enable-lifecycle", f"--web.config.file={web}") as (address, process, _):
        yield address, ssl.create_default_context(cafile=folder / "ca.crt"), process


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_no_path_answers_without_a_password(locked, path, method):
    """Health paths too, as in Prometheus itself."""
    address, tls, _ = locked
    for header in ([], ["Authorization: Basic b3BzOndyb25n"], ["Authorization: Bearer b3BzOnJpZ2h0"]):
        answer = ask(address, path, method, header, tls)
        assert (answer.status, answer.header("www-authenticate")) == (401, "basic")
        assert answer.body == b"Unauthorized\n"


@pytest.mark.parametrize("path", PATHS)
def test_no_path_answers_without_tls(locked, path):
    address, _, process = locked
    assert ask(address, path).status == 0
    assert sources(process) <= OURS, "anybody could fill the log"


def test_the_right_password_opens(locked):
    address, tls, _ = locked
    assert ask(address, "/-/healthy", headers=["Authorization: Basic b3BzOnJpZ2h0"], tls=tls).status == 200


def test_handshakes_that_nobody_ends_take_little_memory(locked):
    address, tls, process = locked
    folder = Path(f"/proc/{process.popen.pid}")

    def descriptors():
        return len(list((folder / "fd").iterdir()))

    def resident():
        return int(re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())[1]) // 1024

    before = resident()
    with ExitStack() as stack:
        for _ in range(400):
            connection = stack.enter_context(socket.create_connection(address, 10))
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        until(lambda: descriptors() >= 400, "the connections")
        assert ask(address, "/-/healthy", headers=["Authorization: Basic b3BzOnJpZ2h0"], tls=tls).status == 200
        assert resident() - before < 75, "MiB"


# Requests that a proxy before us could read in another way.

HIDDEN = b"GET /config HTTP/1.1\r\nHost: a\r\n\r\n"
AMBIGUOUS = {
    "a length with a sign": b"Content-Length: +%d\r\n\r\n%b",
    "a negative length": b"Content-Length: -%d\r\n\r\n%b",
    "a length in another base": b"Content-Length: 0x%x\r\n\r\n%b",
    "a list of lengths": b"Content-Length: %d, 0\r\n\r\n%b",
    "two lengths": b"Content-Length: %d\r\nContent-Length: 0\r\n\r\n%b",
    "a blank before the colon": b"Content-Length : %d\r\n\r\n%b",
    "a folded length": b"Content-Length:\r\n %d\r\n\r\n%b",
    "length and chunks": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%b",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%b",
    "chunked, but not in the end": b"X: %d\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n%b",
    "chunked by another name": b"X: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n%b",
    "chunked twice": b"X: %d\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%b",
    "chunked behind a control character": b"X: %d\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n%b",
    "a chunk with a sign": b"X: %d\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n%b",
    "a chunk of lines alone": b"X: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n%b",
    "a chunk beyond all numbers": b"X: %d\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff0\r\n\r\n%b",
    "lines alone": b"X: %d\n\n%b",
    "a NUL in a name": b"Content-Length\x00: %d\r\n\r\n%b",
    "a NUL in a value": b"Content-Length: %d\x00\r\n\r\n%b",
    "another host": b"Host: b\r\nX: %d\r\n\r\n%b",
}


@pytest.mark.parametrize("rest", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_request_of_two_readings_is_refused_and_the_connection_closed(hostile, rest):
    address, _, _ = hostile
    begin = b"POST /nowhere HTTP/1.1\r\nHost: a\r\n"
    answer = said(address, begin + rest % (len(HIDDEN), HIDDEN))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"accounts:" not in answer


def test_what_stands_in_a_body_is_no_request(hostile):
    address, _, _ = hostile
    begin = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    for rest in (
        b"Content-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
    ):
        answer = said(address, begin + rest)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 ") == 1


def test_a_header_behind_the_body_is_none(locked):
    """Else whoever writes the end of a request could sign in for its beginning."""
    address, tls, _ = locked
    chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0"
    assert ask(address, "/-/healthy", headers=[chunked, "Authorization: Basic b3BzOnJpZ2h0"], tls=tls).status == 401


def test_nonsense_leaves_no_line_in_the_log(hostile):
    """Else anybody could fill it: whatever a library says of a client would be one of its own files."""
    address, process, _ = hostile
    for rest in AMBIGUOUS.values():
        said(address, b"POST /nowhere HTTP/1.1\r\nHost: a\r\n" + rest % (len(HIDDEN), HIDDEN))
    for nonsense in (b"\x00" * 100, b"\x16\x03\x01", b"GET / HTTP/1.1\r\n" + b"a" * 20_000, b"PRI * HTTP/2.0\r\n\r\n"):
        said(address, nonsense)
    assert sources(process) <= OURS


def test_twenty_reloads_at_once_are_all_done_and_scrapes_go_on(hostile):
    address, process, _ = hostile
    before = process.text().count("Config loaded again")
    with ThreadPoolExecutor(20) as pool:
        reloads = [pool.submit(ask, address, "/-/reload", "POST") for _ in range(20)]
        scrapes = [pool.submit(ask, address, "/metrics") for _ in range(20)]
        assert {reload.result().status for reload in reloads} == {200}
        assert {scrape.result().status for scrape in scrapes} == {200}
    assert process.text().count("Config loaded again") == before + 20
    assert b'coc_ticket_up{account="prod",execute_uuid="SCT-1"} 1.0' in ask(address, "/metrics").body


# Paths and headers.


@pytest.mark.parametrize(
    "target",
    [
        "/static/../config.yaml",
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/static/..%5c..%5cetc%5cpasswd",
        "/static//etc/passwd",
        "//etc/passwd",
        "/static/pages.css/../../render.py",
        "/static/pages.css%00.png",
        "/static/%c0%ae%c0%ae/etc/passwd",
        "/tickets/../../etc/passwd",
        "/tickets/prod/..%2f..%2fetc%2fpasswd",
        "/api/v1/tickets/../../../etc/passwd",
        "file:///etc/passwd",
    ],
)
def test_no_path_leads_out(hostile, target):
    address, _, _ = hostile
    answer = ask(address, target)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize("injected", ["%0d%0ax-forged: 1", "%0d%0a%0d%0a<html>", "%E5%98%8A%E5%98%8Dx-forged:1"])
@pytest.mark.parametrize(
    "target",
    ["/{}", "/metrics?name[]={}", "/tickets/{}/SCT-1", "/tickets/prod/{}", "/?sort={}", "/api/v1/tickets/a/{}"],
)
def test_no_header_is_injected(hostile, target, injected):
    address, _, _ = hostile
    answer = ask(address, target.format(injected.replace(" ", "%20")))
    assert answer.status in (200, 400, 404)
    assert not [name for name, *_ in answer.headers if "forged" in name]


def test_no_answer_repeats_the_host_or_what_a_proxy_claims(hostile):
    address, _, _ = hostile
    claims = ["Host: evil7f3a.example", "X-Forwarded-Host: evil7f3a.example", "Forwarded: host=evil7f3a.example"]
    for path in (*PATHS, "/tickets/", "/metrics/", "/config/"):
        answer = ask(address, path, headers=claims)
        assert b"evil7f3a" not in answer.body
        assert "evil7f3a" not in str(answer.headers)
        assert not 300 <= answer.status < 400


# What is shown of a hostile API.


class Page(HTMLParser):
    """Collects what a browser would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.live: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "style", "iframe", "object", "embed", "base", "form", "img", "foreignobject", "use"):
            self.live.append(tag)
        for name, value in attrs:
            link = (value or "").strip().lower()
            scheme = urlsplit(link).scheme if name in ("href", "src", "xlink:href", "action") else ""
            if name.startswith("on") or name == "style" or scheme not in ("", "https", "data"):
                self.live.append(f"{tag} {name}={value}")
            if scheme == "data" and not link.startswith("data:image/svg+xml"):
                self.live.append(f"{tag} {name}={value}")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tickets/prod/SCT-1",
        "/tickets/prod/SCT-2",
        f"/tickets/prod/{quote(HOSTILE, safe='')}",
        f"/tickets/{quote(HOSTILE, safe='')}/SCT-1",
        f"/?q={quote(HOSTILE)}&sort={quote(HOSTILE)}&status={quote(HOSTILE)}&page={quote(HOSTILE)}",
        f"/tickets/prod/SCT-1?status={quote(HOSTILE)}&batch={quote(HOSTILE)}&q={quote(HOSTILE)}",
    ],
)
def test_no_page_runs_what_the_api_or_a_request_says(hostile, path):
    address, _, _ = hostile
    answer = ask(address, path)
    text = answer.body.decode()
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert Page(text).live == []
    assert "49" not in re.findall(rf"javascript:{MARK}(\S\S)", text), "a template was evaluated"
    policy = answer.header("content-security-policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert answer.header("x-content-type-options") == "nosniff"


def test_the_hostile_names_are_there_as_text(hostile):
    address, _, _ = hostile
    assert MARK in ask(address, "/").body.decode()
    assert MARK in ask(address, "/tickets/prod/SCT-1").body.decode()


@pytest.mark.parametrize(
    "path", [path for path in PATHS if path not in ("/", "/-/reload") and not path.startswith("/tickets/")]
)
def test_what_is_no_page_is_never_taken_for_one(hostile, path):
    address, _, _ = hostile
    answer = ask(address, path)
    assert not answer.header("content-type").startswith("text/html")
    assert answer.header("x-content-type-options") == "nosniff"
    if "json" in answer.header("content-type"):
        assert b"<" not in answer.body


# Requests that would make us do something.


@pytest.mark.parametrize(
    "headers",
    [
        ["Origin: https://evil.example"],
        ["Origin: null"],
        ["Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-site"],
        ["Origin: https://evil.example", "Content-Type: application/x-www-form-urlencoded"],
        ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
    ],
)
def test_no_page_of_another_site_reloads(hostile, headers):
    address, _, _ = hostile
    assert ask(address, "/-/reload", "POST", headers).status == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_only_post_and_put_reload(hostile, method):
    address, _, _ = hostile
    assert ask(address, "/-/reload", method).status == 405


def test_without_the_flag_nobody_reloads(tmp_path):
    with served(tmp_path) as (address, _, _):
        assert ask(address, "/-/reload", "POST").status == 403


def test_no_url_of_a_request_is_ever_fetched(hostile):
    address, _, _ = hostile
    visits = []
    trap = socket.create_server(("127.0.0.1", 0))
    here = f"127.0.0.1:{trap.getsockname()[1]}"

    def wait():
        with suppress(OSError):
            while True:
                visits.append(trap.accept())

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    url = quote(f"http://{here}/", safe="")
    for path in PATHS:
        ask(address, f"{path}?target={url}&url={url}&module={url}&endpoint={url}&next={url}")
        ask(address, f"http://{here}{path}")
        ask(address, path, headers=[f"Host: {here}", f"X-Forwarded-Host: {here}", f"Referer: http://{here}/"])
    ask(address, f"/tickets/{url}/{url}")
    ask(address, here, "CONNECT")
    trap.shutdown(socket.SHUT_RDWR)
    trap.close()
    thread.join(5)
    assert visits == []


def test_a_request_causes_no_request_to_the_api(hostile):
    address, _, app = hostile
    answer = ask(address, "/tickets/prod/SCT-8f3a1c")
    assert answer.status == 404
    assert not [record for record in app.state.log if "8f3a1c" in record.path]


# The log.


def test_no_text_of_the_api_or_of_a_request_forges_a_line_of_the_log(hostile):
    address, process, app = hostile
    for path in (f"/{quote(FORGED)}", f"/tickets/prod/{quote(FORGED)}", f"/metrics?name[]={quote(FORGED)}"):
        ask(address, path, headers=["User-Agent: x\\n level=error"])
    app.state.controls.set(api_down="503")
    until(lambda: "reason=server_error" in process.text(), "a failure in the log")
    app.state.controls.reset()
    until(lambda: process.text().count("Can be read again"), "recovery in the log")
    text = process.log.read_bytes().decode()
    assert "\x1b" not in text
    assert "\u2028" not in text
    for line in text.rstrip("\n").split("\n"):
        assert re.match(r"time=\S+ level=(debug|info|warn|error) source=\S+ msg=", line), line
        assert not line.startswith("time=2020")
    assert "\r" not in text
