"""Paging survives every order and trick of a listing, and never shows less than there is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from conftest import run
from hypothesis import given
from hypothesis import strategies as st

from exporter.api import paging
from exporter.errors import Incomplete


@dataclass(frozen=True)
class Item:
    id: int
    told: int = 0


def listing(ids, *, cap, total=None, overlap=0):
    """A server that starts after the marker in its own order; ``overlap`` repeats elements before it."""
    order = [Item(number) for number in ids]

    async def fetch(marker):
        places = [place for place, item in enumerate(order) if item.id == marker]
        start = max(0, places[0] + 1 - overlap) if places else 0
        return paging.Page(len(order) if total is None else total, order[start : start + cap])

    return fetch


@given(ids=st.lists(st.integers(0, 2**63 - 1), unique=True, max_size=60), cap=st.integers(1, 60))
def test_every_element_is_held_once_in_any_order_whatever_the_server_caps(ids, cap):
    total, items = run(paging.whole(listing(ids, cap=cap)))
    assert (total, [item.id for item in items]) == (len(ids), ids)


@given(cap=st.integers(2, 9), overlap=st.integers(1, 3))
def test_elements_repeated_across_pages_count_once(cap, overlap):
    _, items = run(paging.whole(listing(range(20), cap=cap + overlap, overlap=overlap)))
    assert [item.id for item in items] == list(range(20))


def test_the_last_telling_of_a_repeated_element_counts():
    async def fetch(marker):
        return paging.Page(2, [Item(1, told=1)] if marker is None else [Item(1, told=2), Item(2)])

    assert run(paging.whole(fetch))[1] == [Item(1, told=2), Item(2)]


def test_a_marker_that_does_not_move_ends_in_incomplete_after_two_pages():
    asked = []

    async def fetch(marker):
        asked.append(marker)
        return paging.Page(9, [Item(1), Item(2)])

    with pytest.raises(Incomplete, match="2 of 9"):
        run(paging.whole(fetch))
    assert asked == [None, 2]


def test_pages_that_end_before_the_total_are_incomplete():
    with pytest.raises(Incomplete) as raised:
        run(paging.whole(listing(range(3), cap=2, total=4)))
    assert str(raised.value) == (
        "The pages ended after 3 of 4 instances; the last whole data is kept, the next poll tries again."
    )


def test_a_batch_that_grows_between_pages_is_read_to_its_new_end():
    order = [Item(number) for number in range(4)]

    async def fetch(marker):
        page = paging.Page(len(order), order[:2] if marker is None else order[marker + 1 :][:2])
        if marker is None:
            order.append(Item(4))
        return page

    total, items = run(paging.whole(fetch))
    assert (total, len(items)) == (5, 5)


def test_a_short_page_is_not_the_end():
    _, items = run(paging.whole(listing(range(5), cap=1)))
    assert len(items) == 5


def test_nothing_is_asked_beyond_the_total():
    asked = []
    inner = listing(range(4), cap=2)

    async def fetch(marker):
        asked.append(marker)
        return await inner(marker)

    run(paging.whole(fetch))
    assert asked == [None, 1]


def test_an_endless_listing_stops_after_a_thousand_pages():
    async def fetch(marker):
        return paging.Page(10**6, [Item(0 if marker is None else marker + 1)])

    with pytest.raises(Incomplete, match="1000 of 1000000"):
        run(paging.whole(fetch))


def test_a_listing_without_a_total_ends_with_the_first_page_that_brings_nothing_new():
    async def fetch(marker):
        return paging.Page(None, [Item(1)] if marker is None else [])

    async def gather():
        return [new async for _, new in paging.pages(fetch)]

    assert run(gather()) == [[Item(1)], []]
