"""The pages as they are served: well-formed, escaped, linked, and told again as JSON."""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args, get_type_hints

import httpx
import pytest
from browser import worlds
from browser.worlds import NOW, desk
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from exporter.pages import Desk, live_routes, models, query, routes, text
from exporter.snapshot import Batch, Host, Instance, Snapshot, Ticket

ROOT = Path(__file__).parent.parent
VOID = {"meta", "link", "br", "img", "hr", "input"}
OUR_TAGS = frozenset(
    re.findall(
        r"\w+",
        "a b bdi body br caption code dd details div dl dt em figcaption figure footer h1 h2 h3 head header html li"
        " line link main meta nav ol p path pre rect section small span strong summary svg table tbody td text th"
        " thead time title tr ul",
    )
)
ANY = st.text(st.characters(exclude_categories=()), max_size=60)
# What an instance tells has passed through UTF-8.
TOLD = ANY.map(lambda text: text.encode(errors="replace").decode())
HOSTILE = st.sampled_from(
    ["</title><script>x</script>", "\"><img src=x onerror='x'>", "{{ 7 * 7 }}", "javascript:x", "&lt;b&gt;"]
)
LONE = st.just("\udc80<")


class Page(HTMLParser):
    """A page that closes what it opens, in order, and names nothing twice."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        known = dict(attrs)
        assert len(known) == len(attrs)
        self.attributes |= set(known)
        self.ids += [known["id"] or ""] if "id" in known else []
        self.links += [known["href"] or ""] if "href" in known else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class Client:
    """Ask an application without any socket."""

    def __init__(self, served: list[Mount] | list[Route]) -> None:
        self._app = Starlette(routes=served)

    def request(self, method: str, path: str) -> httpx.Response:
        return asyncio.run(self._request(method, path))

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    async def _request(self, method: str, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as asking:
            return await asking.request(method, path)


def client(known: Desk, prefix: str = "") -> Client:
    return Client([Mount(prefix, routes=routes(known))])


def page(known: Desk, path: str = "/") -> Page:
    answer = client(known).get(path)
    assert answer.status_code == 200
    return Page(answer.text)


@pytest.mark.parametrize("world", worlds.WORLDS)
def test_every_page_of_every_state_is_well_formed_and_made_of_our_tags(world: str) -> None:
    known = desk(worlds.WORLDS[world]())
    paths = ["/", *(row.url for row in seen_rows(known)[:8])]
    for path in paths:
        found = page(known, path)
        assert found.tags <= OUR_TAGS
        assert not {name for name in found.attributes if name.startswith("on") or name == "style"}


def seen_rows(known: Desk) -> list[models.TicketRow]:
    from exporter.pages.digest import digest  # noqa: PLC0415  a helper's own need

    return list(digest(known.current(), known).rows)


@settings(max_examples=60, deadline=None)
@given(name=ANY | HOSTILE | LONE, host=TOLD | HOSTILE, log=TOLD | HOSTILE, reason=TOLD | HOSTILE)
def test_no_name_host_reason_or_log_becomes_markup(name: str, host: str, log: str, reason: str) -> None:
    failed = Instance(1, "ABNORMAL", NOW - 9, NOW, 9.0, Host(host_name=host), reason, log)
    known = Ticket("U", "ABNORMAL", NOW - 20, creator=name, script_name=name, batches=(Batch.of(1, 1, (failed,)),))
    snapshot = Snapshot((worlds.account(),), (worlds.reading(1, known, name=name),), NOW)
    over, one = page(desk(snapshot)), page(desk(snapshot), f"/tickets/prod/{worlds.uuid(1)}")
    assert over.tags | one.tags <= OUR_TAGS
    assert not {each for each in over.attributes | one.attributes if each.startswith("on") or each == "style"}
    assert text.line(name) in one.text
    assert text.line(host) in one.text
    assert text.log_tail(log) in one.text
    assert all(link.startswith(("/", "data:image/svg+xml,", "https://", "#")) for link in over.links + one.links)


def test_a_hostile_log_is_shown_as_text() -> None:
    html = client(desk(worlds.foreign())).get(f"/tickets/产品/٣/{worlds.uuid(3)}").text
    assert "&lt;/pre&gt;&lt;/details&gt;&lt;script&gt;" in html
    assert "<script" not in html
    assert "<img" not in html
    assert "\x1b" not in html


def test_a_log_of_a_megabyte_adds_less_than_10_kb_to_its_page() -> None:
    twins = worlds.foreign()
    assert len(client(desk(twins)).get(f"/tickets/产品/٣/{worlds.uuid(1)}").content) < 30_000


def test_a_log_that_begins_with_a_blank_line_or_markup_keeps_its_first_line() -> None:
    failed = Instance(1, "ABNORMAL", log_tail="  indented\nlast")
    known = Ticket("U", "ABNORMAL", batches=(Batch.of(1, 1, (failed,)),))
    snapshot = Snapshot((worlds.account(),), (worlds.reading(1, known),), NOW)
    assert "\n  indented\nlast</pre>" in client(desk(snapshot)).get(f"/tickets/prod/{worlds.uuid(1)}").text


def test_without_show_logs_neither_page_nor_json_holds_a_log_and_a_note_says_so() -> None:
    snapshot = worlds.busy()
    served = client(desk(snapshot, show_logs=False))
    paths = ["/", "/api/v1/tickets", *(row.url for row in seen_rows(desk(snapshot)))]
    bodies = [served.get(path).text for path in (*paths, *("/api/v1" + path for path in paths[2:]))]
    assert not [body for body in bodies if "No space left" in body or "frontend lock" in body]
    assert "web.show_logs" in served.get(f"/tickets/prod/{worlds.uuid(1)}").text
    assert json.loads(served.get(f"/api/v1/tickets/prod/{worlds.uuid(1)}").text)["logs_shown"] is False


@pytest.mark.parametrize(
    ("external_url", "prefix", "begins"),
    [
        ("", "/", "/"),
        ("", "/coc", "/coc/"),
        ("https://ops.example.com/a/b/", "/coc", "/a/b/"),
        ("https://ops.example.com", "/coc", "/"),
    ],
)
def test_every_link_honours_external_url_and_route_prefix(external_url: str, prefix: str, begins: str) -> None:
    snapshot = worlds.busy()
    known = Desk(lambda: snapshot, lambda: NOW, 30, external_url=external_url, route_prefix=prefix)
    for path in ("/", f"/tickets/prod/{worlds.uuid(1)}", "/tickets/prod/unknown"):
        links = Page(client(known).get(path).text).links
        own = [link for link in links if not link.startswith(("data:", "#"))]
        assert own
        assert all(link.startswith(begins) and not link.startswith("//") for link in own)
    rows = client(known).get("/api/v1/tickets").json()["tickets"]
    assert all(row["url"].startswith(begins) and row["api_url"].startswith(begins) for row in rows)


def test_mounted_below_a_prefix_every_own_link_of_the_overview_leads_somewhere() -> None:
    snapshot = worlds.busy()
    served = client(Desk(lambda: snapshot, lambda: NOW, 30, route_prefix="/coc"), "/coc")
    links = {link for link in Page(served.get("/coc/").text).links if link.startswith("/coc/")}
    elsewhere = {"/coc/metrics", "/coc/config", "/coc/-/healthy", "/coc/-/ready"}
    assert {link: served.get(link).status_code for link in links - elsewhere} == dict.fromkeys(links - elsewhere, 200)


def test_the_console_link_is_the_accounts_template_with_the_ticket() -> None:
    links = page(desk(worlds.busy()), f"/tickets/prod/{worlds.uuid(1)}").links
    assert f"https://console.example.com/coc/?region=cn-north-4#/ticket/{worlds.uuid(1)}" in links


@pytest.mark.parametrize("template", ["javascript:alert({execute_uuid})", "ftp://x/{execute_uuid}", "", "//x/"])
def test_a_console_template_that_is_not_http_makes_no_link(template: str) -> None:
    known = Desk(worlds.busy, lambda: NOW, 30, console_urls={"prod": template})
    assert known.console_url("prod", "SCT1") is None


@pytest.mark.parametrize(
    "path",
    [
        "/tickets/prod/unknown",
        "/tickets/nobody/SCT1",
        "/tickets/../../etc/passwd",
        "/tickets/%2e%2e/%2e%2e%2fetc%2fpasswd",
        "/tickets/<script>/x",
        "/tickets/prod/%00",
        "/tickets/prod/%ff%fe",
        "/static/../desk.py",
        "/static/%2e%2e/desk.py",
    ],
)
def test_an_unknown_ticket_or_path_is_404_and_never_echoes_markup(path: str) -> None:
    served = client(desk(worlds.busy()))
    for prefix in ("", "/api/v1"):
        answer = served.get(prefix + path)
        assert answer.status_code == 404
        assert "<script" not in answer.text


def test_an_unknown_ticket_is_told_in_a_sentence() -> None:
    answer = client(desk(worlds.busy())).get("/tickets/prod/SCT404")
    assert "No ticket SCT404 of account prod is watched." in Page(answer.text).text
    twin = client(desk(worlds.busy())).get("/api/v1/tickets/prod/SCT404")
    assert twin.json() == {"error": "No ticket SCT404 of account prod is watched."}


@pytest.mark.parametrize(
    "asked", ["page=-1", "page=abc", "sort=x&order=y", "state=<b>", "page=%ff", "refresh=1", "&&&="]
)
def test_odd_questions_get_the_ordinary_page(asked: str) -> None:
    served = client(desk(worlds.busy()))
    assert served.get(f"/?{asked}").text == served.get("/").text
    path = f"/tickets/prod/{worlds.uuid(1)}"
    assert served.get(f"{path}?{asked}").text == served.get(path).text


def test_the_overview_refreshes_itself_until_switched_off_and_the_ticket_only_when_switched_on() -> None:
    served = client(desk(worlds.busy()))
    path = f"/tickets/prod/{worlds.uuid(1)}"
    refreshing = [
        each for each in ("/", "/?refresh=off", path, f"{path}?refresh=on") if "http-equiv" in served.get(each).text
    ]
    assert refreshing == ["/", f"{path}?refresh=on"]
    assert "/?refresh=off" in page(desk(worlds.busy())).links


def test_answers_forbid_scripts_and_caching() -> None:
    answer = client(desk(worlds.busy())).get("/")
    assert answer.headers["content-security-policy"].startswith(
        "default-src 'none'; style-src 'self'; img-src 'self' data:;"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_other_methods_are_405_and_head_is_answered() -> None:
    served = client(desk(worlds.busy()))
    assert served.request("POST", "/").status_code == 405
    assert "GET" in served.request("POST", "/").headers["allow"]
    head = served.request("HEAD", "/")
    assert (head.status_code, head.content) == (200, b"")


def test_the_stylesheet_is_the_one_that_pages_name_and_asks_for_nothing_from_outside() -> None:
    served = client(desk(worlds.busy()))
    link = next(each for each in page(desk(worlds.busy())).links if "pages.css" in each)
    sheet = served.get(link)
    assert sheet.headers["content-type"].startswith("text/css")
    assert "url(" not in sheet.text
    assert "@import" not in sheet.text


def test_a_reload_is_seen_by_the_next_request() -> None:
    snapshot = worlds.busy()
    now = {"desk": desk(snapshot)}
    served = Client(live_routes(lambda: now["desk"]))
    assert "No space left" in served.get("/").text
    now["desk"] = desk(snapshot, show_logs=False)
    assert "No space left" not in served.get("/").text


def test_page_and_json_tell_the_same_tickets_in_the_same_order() -> None:
    served = client(desk(worlds.thousands(230)))
    asked = "?state=abnormal&sort=name&order=desc"
    rows = served.get(f"/api/v1/tickets{asked}").json()["tickets"]
    links = [link for link in Page(served.get(f"/{asked}").text).links if re.fullmatch(r"/tickets/[^#]*", link)]
    told = list(dict.fromkeys(links))[: len(rows)]
    assert told == [row["url"] for row in rows]


def test_the_json_of_every_state_is_strict() -> None:
    for world in worlds.WORLDS.values():
        served = client(desk(world()))
        body = served.get("/api/v1/tickets")
        assert body.headers["content-type"] == "application/json"
        json.loads(body.text, parse_constant=pytest.fail)
        for row in body.json()["tickets"][:5]:
            json.loads(served.get(row["api_url"]).text, parse_constant=pytest.fail)


def described(model: type) -> set[str]:
    hints = get_type_hints(model, vars(models) | {"Mapping": dict} | vars(query))
    inner = [kind for hint in hints.values() for kind in (hint, *get_args(hint)) if is_dataclass(kind)]
    return {field.name for field in fields(model)}.union(*(described(kind) for kind in inner if isinstance(kind, type)))


@pytest.mark.parametrize("model", [models.Overview, models.TicketView])
def test_every_key_of_the_json_is_documented(model: type) -> None:
    documented = set(re.findall(r"`([a-z0-9_]+)`", (ROOT / "docs" / "pages.md").read_text()))
    assert described(model) - documented == set()


def test_the_room_imports_neither_api_nor_config_and_no_template_engine_before_it_is_needed() -> None:
    code = "import sys, exporter.pages; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    ours = [name for name in ran.stdout.split() if name.partition(".")[0] in ("exporter", "jinja2")]
    assert {".".join(name.split(".")[:2]) for name in ours} == {"exporter", "exporter.pages", "exporter.snapshot"}
