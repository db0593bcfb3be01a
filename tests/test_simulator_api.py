"""Endpoints A to E over a real socket: envelopes, bounds, filters, paging and the API's refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest

from exporter.simulator import Plan, Script, build, running
from exporter.simulator.model import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from exporter.simulator import World

NOON = 1_767_323_045.0
ORDERS = "/v1/job/script/orders"


class Play(Protocol):
    """Put a world on the stage and get a client that is signed in."""

    def __call__(self, world: World | None = None, plan: Plan | None = None) -> httpx.Client: ...


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
def play(stage: tuple[Stage, httpx.Client]) -> Play:
    def play(world: World | None = None, plan: Plan | None = None) -> httpx.Client:
        stage[0].app = build(plan, world=world, clock=lambda: NOON)
        return stage[1]

    return play


@pytest.fixture
def script() -> Script:
    return Script(clock=lambda: NOON)


def data(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["data"]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert len(answer.headers["x-request-id"]) == 32
    assert 2 <= len(body["error_msg"]) <= 512
    return answer.status_code, body["error_code"]


def pages(client: httpx.Client, path: str, limit: int, key: str, rows: str) -> list[int]:
    """Page as the official Terraform provider does: marker is the last element's, until a page is empty."""
    found: list[int] = []
    while page := data(client.get(path, params={"limit": limit} | ({"marker": found[-1]} if found else {})))[rows]:
        found += [row[key] for row in page]
    return found


def test_the_listing_is_newest_first_in_data_data_with_the_total(play: Play, script: Script) -> None:
    script.ticket("SCT1", name="patch")
    script.ticket("SCT2", name="rotate", region_ids="cn-north-4")
    listed = data(play(script).get(ORDERS))
    assert listed["total"] == 2
    assert listed["data"][0] == {
        "order_id": 2,
        "order_name": "rotate",
        "execute_uuid": "SCT2",
        "gmt_created": 1767323045000,
        "gmt_finished": None,
        "execute_costs": None,
        "creator": "ops-bot",
        "status": "PROCESSING",
        "properties": {"region_ids": "cn-north-4"},
    }


def test_the_listing_pages_by_order_id_without_loss_or_double(play: Play) -> None:
    client = play(plan=Plan(tickets=57))
    found = pages(client, ORDERS, 10, "order_id", "data")
    assert len(found) == 57
    assert found == sorted(set(found), reverse=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=ABNORMAL", ["SCT1"]),
        ("creator=li.wei", ["SCT2"]),
        ("name_like=night", ["SCT3"]),
        ("start_time=1767323100", ["SCT3"]),
        ("end_time=1767323100", ["SCT2", "SCT1"]),
        ("status=READY", []),
    ],
)
def test_the_listing_is_filtered(play: Play, script: Script, query: str, expected: list[str]) -> None:
    script.ticket("SCT1", status="ABNORMAL")
    script.ticket("SCT2", creator="li.wei")
    script.ticket("SCT3", name="nightly", created=NOON + 100)
    listed = data(play(script).get(f"{ORDERS}?{query}"))
    assert [row["execute_uuid"] for row in listed["data"]] == expected
    assert listed["total"] == len(expected)


def test_basic_information_holds_the_scripts_own_parameters(play: Play, script: Script) -> None:
    script.ticket("SCT1", [1], timeout=900, success_rate=95.0)
    told = data(play(script).get(f"{ORDERS}/SCT1"))
    assert told["status"] == "PROCESSING"
    assert told["properties"]["execute_param"]["timeout"] == 900
    assert told["properties"]["execute_param"]["success_rate"] == 95.0
    assert told["properties"]["current_execute_batch_index"] == 1


def test_statistics_list_five_rows_with_zeros_and_the_singular_total(play: Play, script: Script) -> None:
    ticket = script.ticket("SCT1", [3, 2])
    ticket.set(ticket.ids(2)[0], "ABNORMAL")
    told = data(play(script).get(f"{ORDERS}/SCT1/statistics"))
    assert told["total_instance"] == 5
    assert [tuple(row.values()) for row in told["execute_statistics"]] == [
        ("READY", 4, [1, 2]),
        ("PROCESSING", 0, []),
        ("ABNORMAL", 1, [2]),
        ("CANCELED", 0, []),
        ("FINISHED", 0, []),
    ]


def test_statistics_have_a_sixth_row_once_something_was_rolled_back(play: Play, script: Script) -> None:
    ticket = script.ticket("SCT1", [1])
    ticket.set(ticket.ids()[0], "ROLLBACKED")
    told = data(play(script).get(f"{ORDERS}/SCT1/statistics"))
    assert told["execute_statistics"][5]["instance_status"] == "ROLLBACKED"


def test_batches_are_a_bare_array(play: Play, script: Script) -> None:
    script.ticket("SCT1", [3, 2], strategies=["CONTINUE", "PAUSE"])
    assert data(play(script).get(f"{ORDERS}/SCT1/batches")) == [
        {"batch_index": 1, "total_instances": 3, "rotation_strategy": "CONTINUE"},
        {"batch_index": 2, "total_instances": 2, "rotation_strategy": "PAUSE"},
    ]


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_a_batch_of_a_thousand_pages_ascending_without_loss_or_double(play: Play, limit: int) -> None:
    client = play(plan=Plan(tickets=1, batches=1, instances=60 if limit == 1 else 1000, exact=True))
    uuid = data(client.get(ORDERS))["data"][0]["execute_uuid"]
    path = f"{ORDERS}/{uuid}/batches/1"
    found = pages(client, path, limit, "id", "execute_instances")
    assert len(found) == data(client.get(f"{path}?limit=1"))["total_instances"]
    assert found == sorted(set(found))


def test_a_filtered_page_still_tells_the_whole_batchs_total(play: Play, script: Script) -> None:
    ticket = script.ticket("SCT1", [3])
    ticket.set(ticket.ids()[1], "FINISHED", log="done")
    told = data(play(script).get(f"{ORDERS}/SCT1/batches/1?limit=50&status=FINISHED"))
    assert told["total_instances"] == 3
    assert [row["id"] for row in told["execute_instances"]] == [ticket.ids()[1]]


def test_a_marker_beyond_the_end_gives_an_empty_page(play: Play, script: Script) -> None:
    script.ticket("SCT1", [3])
    told = data(play(script).get(f"{ORDERS}/SCT1/batches/1?limit=50&marker=2147483647"))
    assert told == {"batch_index": 1, "total_instances": 3, "execute_instances": []}


def test_marker_zero_is_the_first_page(play: Play, script: Script) -> None:
    ticket = script.ticket("SCT1", [3])
    told = data(play(script).get(f"{ORDERS}/SCT1/batches/1?limit=2&marker=0"))
    assert [row["id"] for row in told["execute_instances"]] == ticket.ids()[:2]


@pytest.mark.parametrize(
    "path",
    [
        "SCT1/batches/1",
        "SCT1/batches/1?limit=0",
        "SCT1/batches/1?limit=51",
        "SCT1/batches/1?limit=ten",
        "SCT1/batches/1?limit=%F0%9F%98%80",
        "SCT1/batches/1?limit=10&marker=-1",
        "SCT1/batches/1?limit=10&marker=2147483648",
        "SCT1/batches/1?limit=10&status=ROLLBACKED",
        "SCT1/batches/0?limit=10",
        "SCT1/batches/21?limit=10",
        "SCT1/batches/one?limit=10",
        "SCT456789012345678901234567",
        "?limit=101",
        "?marker=0",
        "?start_time=1767323045000",
        "?status=ROLLBACKED",
    ],
)
def test_a_parameter_out_of_bounds_is_refused(play: Play, script: Script, path: str) -> None:
    script.ticket("SCT1", [3])
    separator = "" if path.startswith("?") else "/"
    assert refusal(play(script).get(f"{ORDERS}{separator}{path}")) == (400, "COC.00010002")


@pytest.mark.parametrize("path", ["", "/statistics", "/batches", "/batches/1?limit=10"])
def test_a_missing_ticket_is_400_with_its_own_code(play: Play, script: Script, path: str) -> None:
    assert refusal(play(script).get(f"{ORDERS}/SCT404{path}")) == (400, "COC.00040709")


def test_a_batch_that_the_ticket_does_not_have_is_400(play: Play, script: Script) -> None:
    script.ticket("SCT1", [3])
    assert refusal(play(script).get(f"{ORDERS}/SCT1/batches/2?limit=10")) == (400, "COC.00040709")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs"),
        ("POST", ORDERS),
        ("GET", f"{ORDERS}/SCT1/batches/1/x"),
        ("GET", "/v2"),
        ("PUT", "/x"),
    ],
)
def test_what_is_not_published_is_404_from_the_gateway(play: Play, script: Script, method: str, path: str) -> None:
    answer = play(script).request(method, path)
    assert refusal(answer) == (404, "APIGW.0101")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_every_answer_has_one_date_and_its_own_request_id(play: Play, script: Script) -> None:
    client = play(script)
    answers = [client.get(path).headers for path in (ORDERS, ORDERS, "/v1/x")]
    assert [headers.get_list("date") for headers in answers] == [["Fri, 02 Jan 2026 03:04:05 GMT"]] * 3
    assert len({headers["x-request-id"] for headers in answers}) == 3


def test_statistics_equal_the_pages_of_a_living_world(play: Play) -> None:
    client = play(plan=Plan(tickets=12))
    for row in data(client.get(ORDERS, params={"limit": 100}))["data"]:
        path = f"{ORDERS}/{row['execute_uuid']}"
        counted = {
            r["instance_status"]: r["instance_count"]
            for r in data(client.get(f"{path}/statistics"))["execute_statistics"]
        }
        seen = [
            instance["status"]
            for batch in data(client.get(f"{path}/batches"))
            for instance in data(client.get(f"{path}/batches/{batch['batch_index']}?limit=50"))["execute_instances"]
        ]
        assert {status: number for status, number in counted.items() if number} == {
            status: seen.count(status) for status in set(seen)
        }


def test_a_script_is_what_the_test_makes_it(play: Play, script: Script) -> None:
    ticket = script.ticket("SCT1", [2])
    one, two = ticket.ids()
    client = play(script)

    def row(instance_id: int) -> dict[str, Any]:
        rows = data(client.get(f"{ORDERS}/SCT1/batches/1?limit=50"))["execute_instances"]
        return next(row for row in rows if row["id"] == instance_id)

    ticket.set(one, "PROCESSING", at=NOON + 1)
    assert (row(one)["gmt_created"], row(one)["gmt_finished"]) == (1767323046000, None)
    ticket.set(one, "ABNORMAL", at=NOON + 4.5, log="No space left on device")
    assert (row(one)["execute_costs"], row(one)["message"]) == (3500, "No space left on device")
    ticket.retry(one, at=NOON + 60)
    assert (row(one)["status"], row(one)["message"]) == ("PROCESSING", None)
    ticket.set(two, "FINISHED", began=NOON, at=NOON + 8, execute_costs="NaN")
    assert row(two)["execute_costs"] == "NaN"
    ticket.host(two, provider=None, properties=None)
    assert row(two)["target_instance"]["properties"] is None
    three = ticket.add(1, "PROCESSING")
    assert row(three)["status"] == "PROCESSING"
    ticket.drop(two)
    assert ticket.ids() == [one, three]
    ticket.finish(at=NOON + 90)
    assert data(client.get(f"{ORDERS}/SCT1"))["execute_costs"] == 90000
    assert count(ticket) == {"FINISHED": (2, [1])}
    script.remove("SCT1")
    assert refusal(client.get(f"{ORDERS}/SCT1")) == (400, "COC.00040709")


def test_a_script_can_say_what_no_api_should(play: Play, script: Script) -> None:
    ticket = script.ticket("SCT1", [1])
    ticket.status("SLEEPING", gmt_created="yesterday")
    ticket.set(ticket.ids()[0], "EXPLODED", id=None)
    client = play(script)
    assert data(client.get(f"{ORDERS}/SCT1"))["gmt_created"] == "yesterday"
    assert data(client.get(f"{ORDERS}/SCT1/batches/1?limit=1"))["execute_instances"][0]["id"] is None
    rows = data(client.get(f"{ORDERS}/SCT1/statistics"))["execute_statistics"]
    assert sum(row["instance_count"] for row in rows) == 0
