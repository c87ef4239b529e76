"""Conditions in memory mean what they mean in a query."""

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager.events.event_matcher import EVENT_COLUMNS, Matcher
from kaiju_tasks.store.base import Condition
from kaiju_tasks.types import TaskEvent

LETTERS = "aAü%_\\\n."


def event(**fields: Any) -> TaskEvent:
    empty: dict[str, Any] = dict.fromkeys(TaskEvent.__struct_fields__)
    return TaskEvent(**{**empty, "event": "task.queued", "id": "a", **fields})


def lets_through(column: str, op: str, value: Any, **fields: Any) -> bool:
    return Matcher([Condition(column, op, value)]).matches(event(**fields))


@pytest.mark.parametrize(
    ("op", "value", "fits", "fits_not"),
    [
        ("eq", 3, [3], [2, None]),
        ("eq", None, [None], [0, 1]),
        ("in", [1, 2], [1, 2], [3, None]),
        ("in", [1, None], [1, None], [2]),
        ("in", [], [], [1, None]),
        ("gt", 3, [4], [3, 2, None]),
        ("ge", 3, [3, 4], [2, None]),
        ("lt", 3, [2], [3, None]),
        ("le", 3, [3, 2], [4, None]),
    ],
)
def test_each_operator_lets_through_what_a_query_would(
    op: str, value: Any, fits: list[Any], fits_not: list[Any]
) -> None:
    assert [lets_through("exit_code", op, value, exit_code=code) for code in fits] == [True] * len(
        fits
    )
    assert not any(lets_through("exit_code", op, value, exit_code=code) for code in fits_not)


@given(st.text(LETTERS, max_size=8), st.text(LETTERS, max_size=8))
def test_like_is_sqlites_like(text: str, pattern: str) -> None:
    whole = pattern
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        whole += "\\"
    db = sqlite3.connect(":memory:")
    db.execute("PRAGMA case_sensitive_like = ON")
    ((found,),) = db.execute("SELECT ? LIKE ? ESCAPE '\\'", (text, whole)).fetchall()
    db.close()
    assert lets_through("group", "like", pattern, group=text) is bool(found)


def test_like_never_matches_what_is_not_there() -> None:
    assert not lets_through("group", "like", "%", group=None)


@pytest.mark.parametrize("pattern", ["%a" * 499 + "b", "%a" * 100 + "%b"])
def test_a_pattern_that_would_make_a_backtracking_matcher_hang_ends(pattern: str) -> None:
    assert not Matcher([Condition("group", "like", pattern)]).matches(event(group="a" * 255))


def test_what_is_too_long_is_refused() -> None:
    for op, value in (("in", ["x"] * 10_001), ("like", "x" * 1_001)):
        with pytest.raises(InvalidParams) as refused:
            Matcher([Condition("group", op, value)])
        assert refused.value.field == "conditions.group"


def test_tasks_that_cannot_match_are_known_by_their_id() -> None:
    one = Condition("id", "eq", "a")
    assert Matcher([]).of_task("x")
    assert Matcher([one]).of_task("a")
    assert not Matcher([one]).of_task("b")
    assert not Matcher([one, Condition("id", "in", ["b"])]).of_task("a")
    assert Matcher([Condition("id", "like", "b%")]).of_task("a")


def test_every_field_but_the_data_and_the_labels_is_a_column() -> None:
    assert set(EVENT_COLUMNS) == set(TaskEvent.__struct_fields__) - {"data", "labels"}
