"""Foreign text, numbers and questions: nothing odd gets through, and nothing odd raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pages import query, text, words

ANY = st.text(st.characters(exclude_categories=()), max_size=300)


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("one\ntwo\n", "one\ntwo"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07plain", "red plain"),
        ("10%\r99%\r\ndone", "10%\n99%\ndone"),
        ("bell\x07 nul\x00 del\x7f", "bell<U+0007> nul<U+0000> del<U+007F>"),
        ("half \udc80", "half \ufffd"),
        ("\u202egnp.exe", "<U+202E>gnp.exe"),
        ("磁盘空间不足", "磁盘空间不足"),
    ],
)
def test_a_log_is_shown_without_terminal_sequences_and_with_visible_controls(log: str, shown: str) -> None:
    assert text.log_tail(log) == shown


def test_of_a_log_of_a_megabyte_without_a_newline_its_last_4_kib_are_shown() -> None:
    assert text.log_tail("x" * 1_000_000 + "end") == "x" * 4093 + "end"


@given(ANY)
def test_a_shown_log_is_at_most_4_kib_of_valid_utf_8_without_controls(log: str) -> None:
    shown = text.log_tail(log * 60)
    assert len(shown.encode()) <= text.LOG_BYTES
    assert not {character for character in shown if ord(character) < 0x20} - {"\n", "\t"}


@given(ANY)
def test_a_name_is_one_line_of_at_most_300_characters(name: str) -> None:
    shown = text.line(name)
    assert len(shown) <= 300
    assert not {character for character in shown if ord(character) < 0x20}
    shown.encode()


@pytest.mark.parametrize(
    ("log", "last"),
    [
        ("write error: No space left\nexit status 1\n\n", "write error: No space left"),
        ("trouble\nscript exited with a non-zero exit code: 3\n", "trouble"),
        ("exit status 7\n", "exit status 7"),
        ("exit strategy 1 failed\n", "exit strategy 1 failed"),
        (" \n\n", ""),
    ],
)
def test_the_last_line_is_the_last_that_says_more_than_an_exit_code(log: str, last: str) -> None:
    assert text.last_line(log) == last


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "\u2013"),
        (float("inf"), "\u2013"),
        (0, "0 s"),
        (0.84, "0.8 s"),
        (59.9, "59 s"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (93784, "1 d 2 h"),
        (-5, "0 s"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float | None, shown: str) -> None:
    assert words.duration(seconds) == shown


@pytest.mark.parametrize("moment", [None, 1e300, -1e300, float("nan"), float("inf")])
def test_a_time_that_no_calendar_knows_is_a_dash(moment: float | None) -> None:
    assert words.when(moment) == "\u2013"


@pytest.mark.parametrize("page", ["-1", "0", "abc", "", "1e3", "٣", "9" * 5000, "1.5", "\x00"])
def test_a_page_that_is_no_number_is_the_first(page: str) -> None:
    assert query.overview_query({"page": page}).page == 1
    assert query.ticket_query({"page": page, "batch": page}) == query.TicketQuery()


def test_unknown_filters_and_orders_are_as_if_not_said() -> None:
    given_ = {"sort": "x", "order": "sideways", "state": "<b>", "refresh": "maybe", "other": "1"}
    assert query.overview_query(given_) == query.OverviewQuery()


def test_a_link_says_only_what_differs_and_a_new_filter_begins_at_page_one() -> None:
    asked = query.OverviewQuery(state="abnormal", page=7, refresh="off")
    assert query.link("/", asked, sort="name") == "/?state=abnormal&sort=name&refresh=off"
    assert query.link("/", asked, refresh="on") == "/?state=abnormal&page=7&refresh=on"
    assert query.link("/", asked, state="", refresh="") == "/"


def test_a_link_quotes_an_account_with_any_name() -> None:
    link = query.link("/", query.OverviewQuery(account='a&b="<\udc80'))
    assert link == "/?account=a%26b%3D%22%3C%3F"
