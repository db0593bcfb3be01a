"""Any bytes at every place where bytes come in: a hundred here, as many as one likes by ``python tests/fuzz``."""

from __future__ import annotations

import pytest
from fuzz.targets import ANSWERS, TARGETS, api_answer, kept_cases, spoilt
from hypothesis import given, settings
from hypothesis import strategies as st

UNHURRIED = settings(deadline=None, max_examples=60)
PATTERNS = st.text(alphabet="ab.*+?()[]{}|^$\\1i:<>-,=!", max_size=30)


@pytest.mark.parametrize(("name", "data"), kept_cases())
def test_a_kept_case_holds(name, data):
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@UNHURRIED
@given(data=st.binary(max_size=300))
def test_any_bytes_are_answered(name, data):
    TARGETS[name](data)


@UNHURRIED
@given(seed=st.integers(0, 2**32), number=st.integers(0, len(ANSWERS) - 1))
def test_an_answer_with_nonsense_in_it_is_read_or_refused(seed, number):
    api_answer(spoilt(seed, number))


@UNHURRIED
@given(pattern=PATTERNS, text=st.text(max_size=200))
def test_any_pattern_is_refused_or_finds_its_reason(pattern, text):
    TARGETS["failure_pattern"](f"{pattern}\n{text}".encode())


@UNHURRIED
@given(
    st.lists(
        st.sampled_from([b"text/plain", b"*/*", b";q=", b"0.5", b",", b";version=", b"1.0.0", b'"', b"\n", b"gzip"])
    )
)
def test_any_wish_gets_an_answer(pieces):
    TARGETS["accept"](b"".join(pieces))
