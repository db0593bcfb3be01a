"""Which tickets are watched: filters, order, caps, and listings that go either way."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from conftest import run
from rigs import account

from exporter.api import Listed, Page
from exporter.snapshot import Watch
from exporter.sources import Followed, find, matches

NOW = 1_700_000_000.0
ORDER = Listed(1, "SCT1", "nightly-openssl", "PROCESSING", "ops-bot", NOW - 60, None)


class Api:
    """A listing of these pages; ``filters`` is what it was asked for and ``read`` how many pages were."""

    def __init__(self, *pages, total=None):
        self._pages, self._total = pages, total
        self.read = 0

    async def list_tickets(self, filters):
        self.filters = filters
        for page in self._pages:
            self.read += 1
            yield Page(self._total, page)


def orders(*ids, **fields):
    return [replace(ORDER, id=number, execute_uuid=f"SCT{number}", **fields) for number in ids]


def found(api, discovery, *, tickets=(), followed=(), keep_finished=3600.0):
    known = account("https://coc.example", tickets=list(tickets), discovery=discovery)
    return run(find(known, api, NOW, keep_finished=keep_finished, followed=followed))


def uuids(found):
    return [watch.execute_uuid for watch in found.watches]


def wanted(**discovery):
    return account("https://coc.example", discovery=discovery).discovery


@pytest.mark.parametrize(
    ("discovery", "order", "passes"),
    [
        ({}, {}, True),
        ({"status": ["PROCESSING"]}, {}, True),
        ({"status": ["ABNORMAL"]}, {}, False),
        ({"creator": "ops-bot"}, {}, True),
        ({"creator": "ops"}, {}, False),
        ({"name_regex": "^nightly-"}, {}, True),
        ({"name_regex": "openssl$"}, {}, True),
        ({"name_regex": "^weekly-"}, {}, False),
        ({"name_regex": "^(?!nightly)"}, {}, False),
        ({"name_regex": "运"}, {"name": "运维"}, True),
        ({"created_within": "1m"}, {}, True),
        ({"created_within": "59s"}, {}, False),
        ({"created_within": "59s"}, {"created": None}, True),
        ({"created_within": "59s"}, {"created": NOW + 3600}, True),
    ],
)
def test_a_filter_is_applied_here_whatever_the_apis_own_do(discovery, order, passes):
    assert matches(replace(ORDER, **order), wanted(**discovery), NOW) is passes


def test_no_name_can_make_a_pattern_hang():
    began = time.monotonic()
    assert not matches(replace(ORDER, name="a" * 199 + "!"), wanted(name_regex="^(a+)+$"), NOW)
    assert time.monotonic() - began < 1


def test_only_the_creator_is_asked_of_the_api():
    api = Api(orders(1))
    found(api, {"creator": "ops-bot", "status": ["PROCESSING"], "created_within": "1h"})
    assert api.filters == {"creator": "ops-bot"}


def test_without_discovery_nothing_is_asked():
    known = account("https://coc.example", tickets=[{"execute_uuid": "A"}])
    told = run(find(known, None, NOW, keep_finished=0))
    assert (uuids(told), told.listed, told.stated) == (["A"], None, None)


def test_the_newest_are_chosen_and_the_rest_is_counted():
    api = Api([replace(order, created=NOW - order.id) for order in orders(5, 1, 3, 2, 4)])
    told = found(api, {"max_tickets": 2})
    assert (uuids(told), told.omitted) == (["SCT1", "SCT2"], 3)


def test_of_the_same_age_the_higher_id_is_newer_and_an_unknown_age_is_oldest():
    api = Api([*orders(1, 2), replace(ORDER, id=9, execute_uuid="SCT9", created=None)])
    assert uuids(found(api, {"max_tickets": 2})) == ["SCT2", "SCT1"]


def test_listed_tickets_are_neither_doubled_nor_counted_against_the_cap():
    told = found(Api(orders(1, 2)), {"max_tickets": 1}, tickets=[{"execute_uuid": "SCT1", "name": "mine"}])
    assert [(watch.execute_uuid, watch.name, watch.listed) for watch in told.watches] == [
        ("SCT1", "mine", True),
        ("SCT2", "nightly-openssl", False),
    ]
    assert told.omitted == 0


def test_a_followed_ticket_is_kept_and_newest_first_holds_for_all():
    followed = [
        Followed(Watch("prod", "OLD", listed=False), NOW - 999),
        Followed(Watch("prod", "NEW", listed=False), NOW),
    ]
    told = found(Api(orders(1)), {"max_tickets": 2}, followed=followed)
    assert (uuids(told), told.omitted) == (["NEW", "SCT1"], 1)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"status": "FINISHED", "finished": NOW - 3601}, False),
        ({"status": "FINISHED", "finished": NOW - 3599}, True),
        ({"status": "FINISHED", "finished": None, "created": NOW - 9999}, False),
        ({"status": "FINISHED", "finished": None, "created": None}, True),
        ({"status": "ABNORMAL", "finished": NOW - 9999}, True),
        ({"status": "PROCESSING", "created": NOW - 1e7}, True),
    ],
)
def test_a_ticket_that_is_long_over_is_not_found(fields, kept):
    assert bool(uuids(found(Api(orders(1, **fields)), {}))) is kept


def test_a_listing_from_new_to_old_ends_with_the_first_page_that_is_too_old():
    api = Api(orders(9, 8), orders(7, 6, created=NOW - 9999), orders(5), total=5)
    told = found(api, {"created_within": "1h"})
    assert (uuids(told), api.read) == (["SCT9", "SCT8"], 2)
    assert told.stated is None


def test_a_listing_from_old_to_new_is_read_to_its_end():
    api = Api(orders(1, 2, created=NOW - 9999), orders(3, 4, created=NOW - 9000), orders(5, 6), total=6)
    told = found(api, {"created_within": "1h"})
    assert (uuids(told), api.read) == (["SCT6", "SCT5"], 3)
    assert (told.listed, told.stated) == (6, 6)


def test_what_the_first_page_states_is_what_must_come():
    """A ticket that is created while we read need not come up; one that was there must."""

    class Growing(Api):
        async def list_tickets(self, _filters):
            yield Page(3, orders(3, 2))
            yield Page(4, orders(1))

    told = found(Growing(), {})
    assert (told.listed, told.stated) == (3, 3)
