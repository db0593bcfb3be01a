"""Every switch does what its name says, at run time, and the pages that turn them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from exporter.simulator import (
    BadRecordingError,
    Controls,
    Plan,
    Script,
    Switches,
    build,
    replay,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

NOON = 1_767_323_045.0
ORDERS = "/v1/job/script/orders"
PAGE = f"{ORDERS}/SCT1/batches/1"


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


class Stage:
    """An application that is another one for every test, so that they share a socket."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Stage, httpx.Client]]:
    stage = Stage()
    with running(stage) as url, httpx.Client(base_url=url, headers={"X-Auth-Token": "demo-token"}) as client:
        yield stage, client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> Any:
    script = Script(clock=clock)
    script.ticket("SCT1", [5])
    return build(world=script, clock=clock)


@pytest.fixture
def client(stage: tuple[Stage, httpx.Client], app: ASGIApp) -> httpx.Client:
    stage[0].app = app
    return stage[1]


@pytest.fixture
def controls(app: Any) -> Controls:
    found: Controls = app.state.controls
    return found


def ids(client: httpx.Client, limit: int = 50, marker: int | None = None) -> list[int]:
    query = {"limit": limit} | ({} if marker is None else {"marker": marker})
    return [row["id"] for row in client.get(PAGE, params=query).json()["data"]["execute_instances"]]


def codes(client: httpx.Client, number: int) -> list[int]:
    return [client.get(ORDERS).status_code for _ in range(number)]


def test_a_page_cap_shortens_pages_in_silence(client: httpx.Client, controls: Controls) -> None:
    controls.set(page_cap=2)
    assert len(ids(client)) == 2


def test_descending_pages_go_down(client: httpx.Client, controls: Controls) -> None:
    ascending = ids(client)
    controls.set(descending=True)
    assert ids(client) == ascending[::-1]
    assert ids(client, 2, marker=ascending[3]) == [ascending[2], ascending[1]]


@pytest.mark.parametrize("descending", [False, True])
def test_overlap_repeats_the_last_element(client: httpx.Client, controls: Controls, descending: bool) -> None:
    controls.set(overlap=True, descending=descending)
    first = ids(client, 2)
    assert ids(client, 2, marker=first[-1])[0] == first[-1]


def test_a_stuck_marker_gives_the_first_page_for_ever(client: httpx.Client, controls: Controls) -> None:
    controls.set(stuck_marker=True)
    assert ids(client, 2, marker=ids(client)[-1]) == ids(client, 2)


def test_null_pages_are_null_when_empty(client: httpx.Client, controls: Controls) -> None:
    controls.set(null_pages=True)
    assert client.get(f"{PAGE}?limit=1&marker=2147483647").json()["data"]["execute_instances"] is None
    assert client.get(f"{ORDERS}?status=PAUSED").json()["data"] == {"total": 0, "data": None}
    assert len(ids(client)) == 5


def test_an_unknown_batch_can_be_empty(client: httpx.Client, controls: Controls) -> None:
    controls.set(unknown_batch_empty=True)
    told = client.get(f"{ORDERS}/SCT1/batches/9?limit=1").json()["data"]
    assert told == {"batch_index": 9, "total_instances": 0, "execute_instances": []}


def test_a_lenient_limit_goes_up_to_a_hundred(client: httpx.Client, controls: Controls) -> None:
    controls.set(lenient_limit=True)
    assert client.get(f"{PAGE}?limit=100").status_code == 200
    assert client.get(f"{PAGE}?limit=101").status_code == 400


def test_throttling_takes_its_share_of_the_requests(client: httpx.Client, controls: Controls) -> None:
    controls.set(throttle=0.25)
    assert codes(client, 8).count(429) == 2
    controls.set(throttle=1)
    answer = client.get(ORDERS)
    assert answer.json()["error_code"] == "APIGW.0308"
    assert "retry-after" not in answer.headers
    controls.set(retry_after=30)
    assert client.get(ORDERS).headers["retry-after"] == "30"


def test_errors_are_500_for_their_share(client: httpx.Client, controls: Controls) -> None:
    controls.set(errors=0.5)
    assert codes(client, 4).count(500) == 2


def test_latency_delays_the_answer(client: httpx.Client, controls: Controls) -> None:
    controls.set(latency=30)
    with pytest.raises(httpx.ReadTimeout):
        client.get(ORDERS, timeout=0.02)


def test_an_empty_site_knows_nothing_and_says_so_with_200(client: httpx.Client, controls: Controls) -> None:
    controls.set(empty_site=True)
    assert client.get(ORDERS).json() == {"data": {"total": 0, "data": []}}
    assert client.get(f"{ORDERS}/SCT1").json()["error_code"] == "COC.00040709"


def test_empty_answers_have_no_data(client: httpx.Client, controls: Controls) -> None:
    controls.set(empty_answers=True)
    assert (client.get(PAGE).status_code, client.get(PAGE).text) == (200, "{}")


def test_html_answers_are_html(client: httpx.Client, controls: Controls) -> None:
    controls.set(html=True)
    assert client.get(ORDERS).headers["content-type"] == "text/html"


def test_an_api_that_is_down_answers_503_or_hangs_up(client: httpx.Client, controls: Controls) -> None:
    controls.set(api_down="503")
    assert codes(client, 1) == [503]
    controls.set(api_down="close")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(ORDERS)
    controls.set(api_down="off")
    assert codes(client, 1) == [200]


def test_a_locked_key_is_refused_whatever_it_signs(client: httpx.Client, controls: Controls) -> None:
    controls.set(locked_key=True)
    claim = "SDK-HMAC-SHA256 Access=DEMOACCESSKEY0000001, SignedHeaders=x-sdk-date, Signature=00"
    answer = client.get(ORDERS, headers={"Authorization": claim})
    assert answer.json()["error_msg"].endswith("AK access failed to reach the limit,forbidden")


def test_dropped_statistics_disagree_with_the_pages(client: httpx.Client, controls: Controls) -> None:
    controls.set(drop_statistics=True)
    told = client.get(f"{ORDERS}/SCT1/statistics").json()["data"]
    assert told["total_instance"] == 5
    assert sum(row["instance_count"] for row in told["execute_statistics"]) == 0


def test_revoking_kills_every_token_but_not_the_next_one(client: httpx.Client, controls: Controls) -> None:
    user = {"name": "demo-user", "password": "demo-password", "domain": {"name": "demo-domain"}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}

    def fresh() -> dict[str, str]:
        return {"X-Auth-Token": client.post("/v3/auth/tokens", json=body).headers["x-subject-token"]}

    old = fresh()
    controls.set(revoked_tokens=1)
    assert client.get(ORDERS, headers=old).status_code == 401
    assert client.get(ORDERS).status_code == 401
    assert client.get(ORDERS, headers=fresh()).status_code == 200


def test_a_clock_offset_shows_in_the_date(client: httpx.Client, controls: Controls) -> None:
    controls.set(clock_offset=-65)
    assert client.get(ORDERS).headers["date"] == "Fri, 02 Jan 2026 03:03:00 GMT"


def test_a_failure_wave_makes_runs_fail_while_it_is_on(client: httpx.Client, stage: Any, clock: Clock) -> None:
    stage[0].app = app = build(Plan(failure_share=0), clock=clock)
    world, controls = app.state.world, app.state.controls

    def failed() -> int:
        return sum(ticket.counts.get("ABNORMAL", (0, []))[0] for ticket in world.tickets(clock.now))

    assert failed() == 0
    client.post("/-/switches/failure_wave/1")
    clock.now += 120
    during = failed()
    assert during > 0
    client.post("/-/switches/failure_wave/0")
    assert failed() == during
    assert [tuple(wave) for wave in controls.as_json()["waves"]] == [(NOON, NOON + 120, 1.0)]


def test_switches_are_read_and_turned_as_json(client: httpx.Client, controls: Controls) -> None:
    shown = client.get("/-/switches").json()
    assert shown["throttle"] == 0
    shown |= {"throttle": 0.5, "waves": [[1, None, 0.5]], "api_down": "503"}
    assert client.put("/-/switches", json=shown).json() == shown | {"failure_wave": 0.5}
    assert controls.switches.throttle == 0.5
    assert client.post("/-/reset").json()["throttle"] == 0
    assert controls.failure_wave == 0


@pytest.mark.parametrize(
    "path", ["nonsense/1", "throttle/2", "throttle/x", "throttle/nan", "html/maybe", "api_down/404", "waves/1"]
)
def test_a_switch_that_cannot_stand_so_is_400_and_changes_nothing(
    client: httpx.Client, controls: Controls, path: str
) -> None:
    assert client.post(f"/-/switches/{path}").status_code == 400
    name, value = path.split("/")
    assert client.put("/-/switches", json={"html": True, name: value}).status_code == 400
    assert controls.switches == Switches()


@pytest.mark.parametrize("body", [b"", b"7", b"{", b"\xff", b'{"waves": 7}', b'{"waves": [[1]]}'])
def test_a_body_that_is_no_set_of_switches_is_400(client: httpx.Client, body: bytes) -> None:
    assert client.put("/-/switches", content=body).status_code == 400


def test_the_page_has_a_button_for_every_switch_and_escapes_what_it_shows(client: httpx.Client, app: Any) -> None:
    app.state.world.ticket("SCT2", name="<script>alert(1)</script>")
    page = client.get("/").text
    for name in client.get("/-/switches").json().keys() - {"waves"}:
        assert f'action="/-/switches/{name}/' in page
    assert "SCT1" in page
    assert "<script>" not in page


def test_the_documentation_lists_every_switch(client: httpx.Client) -> None:
    page = (Path(__file__).parent.parent / "docs" / "simulator.md").read_text(encoding="utf-8")
    table = page.partition("| switch | values |")[2].partition("\n\n")[0]
    listed = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert listed == client.get("/-/switches").json().keys() - {"waves"}


def test_a_browser_that_turns_a_switch_comes_back_to_the_page(client: httpx.Client) -> None:
    answer = client.post("/-/switches/html/on", headers={"Accept": "text/html"}, follow_redirects=True)
    assert answer.url.path == "/"


def test_requests_are_counted_and_listed_in_order(client: httpx.Client, app: Any) -> None:
    client.get(f"{PAGE}?limit=3")
    client.get(f"{ORDERS}/SCT9")
    assert client.get("/-/requests").json() == {"batch_page": 1, "ticket": 1}
    assert app.state.requests.total() == 2
    assert [(r.operation, r.query, r.status) for r in app.state.log] == [
        ("batch_page", "limit=3", 200),
        ("ticket", "", 400),
    ]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    answer = {"method": "GET", "path": PAGE, "query": "limit=50&marker=3", "status": 200, "body": {"data": 1}}
    (tmp_path / "0001.json").write_text(json.dumps(answer))
    failed = {"path": ORDERS, "status": 429, "body": {"error_code": "APIGW.0308"}}
    (tmp_path / "0002.json").write_text(json.dumps(failed))
    return tmp_path


def test_a_recording_is_served_without_sign_in_and_whatever_the_querys_order(
    stage: tuple[Stage, httpx.Client], recording: Path
) -> None:
    stage[0].app, client = replay(recording), stage[1]
    assert client.get(f"{PAGE}?marker=3&limit=50", headers={"X-Auth-Token": ""}).json() == {"data": 1}
    assert client.get(ORDERS).status_code == 429
    assert "date" in client.get(ORDERS).headers


def test_what_was_not_recorded_is_400(stage: tuple[Stage, httpx.Client], recording: Path) -> None:
    stage[0].app = replay(recording)
    answer = stage[1].get(f"{PAGE}?limit=1")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "COC.00040709")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"path": "/x"}', '{"path": 7, "body": {}, "status": "x"}'])
def test_a_file_that_is_no_recorded_answer_is_named(recording: Path, text: str) -> None:
    (recording / "0003.json").write_text(text)
    with pytest.raises(BadRecordingError, match=r"0003\.json"):
        replay(recording)


def test_an_empty_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(BadRecordingError, match="no recorded answers"):
        replay(tmp_path)
