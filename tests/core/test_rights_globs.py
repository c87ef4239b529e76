"""Globs of the rights: they match whole names, literally but for `*` and `?`."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.rights import covers, matches
from kaiju_tasks.rights.globs import any_covers, is_literal

LETTERS = "ab*?"
NAMES = st.text("ab", max_size=8)
GLOBS = st.text(LETTERS, max_size=8)


@pytest.mark.parametrize(
    ("glob", "name", "matched"),
    [
        ("billing", "billing", True),
        ("billing", "billing2", False),
        ("billing", "xbilling", False),
        ("billing.*", "billing.eu", True),
        ("billing.*", "billingXeu", False),
        ("billing.*", "billing", False),
        ("*", "", True),
        ("?", "", False),
        ("?", "é", True),
        ("", "", True),
        ("", "a", False),
        ("a*b*c", "abbbc", True),
        ("a*b*c", "acb", False),
        ("Billing", "billing", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a|b", "a", False),
        ("a{1}", "a", False),
        (r"a\*", "a*", False),
        (r"a\*", r"a\bc", True),
        ("%", "anything", False),
        ("_", "a", False),
        ("a*", "a\nb", True),
    ],
)
def test_a_glob_matches_whole_names(glob: str, name: str, matched: bool) -> None:
    assert matches(glob, name) is matched


@given(st.text().filter(is_literal))
def test_text_without_wildcards_matches_itself_and_nothing_longer(text: str) -> None:
    assert matches(text, text)
    assert not matches(text, text + "x")
    assert not matches(text, "x" + text)


@given(st.text(string.printable, max_size=10), st.text(string.printable, max_size=10))
def test_a_glob_matches_what_the_same_regular_expression_does(glob: str, name: str) -> None:
    parts = {"*": ".*", "?": "."}
    pattern = "".join(parts.get(symbol, re.escape(symbol)) for symbol in glob)
    assert matches(glob, name) == bool(re.fullmatch(pattern, name, re.DOTALL))


@given(GLOBS, GLOBS, NAMES)
def test_what_a_covered_glob_matches_is_matched(wide: str, narrow: str, name: str) -> None:
    if covers(wide, narrow) and matches(narrow, name):
        assert matches(wide, name)


@given(GLOBS)
def test_a_glob_covers_itself_and_all_is_covered_by_a_star(glob: str) -> None:
    assert covers(glob, glob)
    assert covers("*", glob)


@given(GLOBS, NAMES)
def test_a_glob_covers_a_name_if_it_matches_it(glob: str, name: str) -> None:
    assert covers(glob, name) == matches(glob, name)


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("a*", "a?", True),
        ("a?", "a*", False),
        ("a*", "*", False),
        ("*?", "?*", True),
        ("?*", "*?", True),
        ("?*", "*", False),
        ("a?c", "abc", True),
        ("abc", "a?c", False),
        ("*a*", "ba*", True),
    ],
)
def test_which_globs_are_covered(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) is covered


def test_each_narrow_glob_needs_a_wide_one() -> None:
    assert any_covers(["a*", "b"], ["ab", "b"])
    assert not any_covers(["a*", "b"], ["ab", "c"])
    assert not any_covers([], ["a"])
    assert any_covers([], [])


def test_many_stars_cost_little() -> None:
    assert not matches("*a" * 120 + "b", "a" * 255)
    assert not covers("*a" * 120 + "b", "a" * 255)
