"""Circles of `next_task`: refused if none of their tasks can wait, and broken where they run."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from kaiju_tasks.define import circles, waits, without_wait
from kaiju_tasks.errors import TooManyTasks
from kaiju_tasks.lifecycle import Cause, Command, Definition, Row, cause_of, descend
from kaiju_tasks.lifecycle.lineage import chained
from tests.core.lifecycle_kit import command, message, tasks, timer

FEW = 12


def defined(task_id: str, *commands: Command, **fields: Any) -> Definition:
    kws = Raw(msgspec.json.encode(fields.pop("kws", {})))
    listed = list(commands) or [command()]
    return Definition(
        id=task_id, app_name="default", commands=listed, created="2026", kws=kws, **fields
    )


graphs = st.integers(1, FEW).flatmap(
    lambda size: st.lists(st.none() | st.integers(0, size), min_size=size, max_size=size)
)
"""The next task of each task. The last number is a task that does not exist."""


def on_a_circle(next_of: list[int | None], task: int) -> bool:
    at = next_of[task]
    for _ in next_of:
        if at is None or at >= len(next_of) or at == task:
            break
        at = next_of[at]
    return at == task


@given(graphs, st.sets(st.integers(0, FEW)))
def test_exactly_the_circles_with_new_tasks_are_found(
    next_of: list[int | None], new: set[int]
) -> None:
    names = [None if one is None else str(one) for one in next_of]
    made = {str(i): defined(str(i), next_task=names[i]) for i in new if i < len(next_of)}
    known = {str(i): name for i, name in enumerate(names) if str(i) not in made}
    found = list(circles(made, known))
    members = [one for circle in found for one in circle]
    for circle in found:
        assert [names[int(one)] for one in circle] == [*circle[1:], circle[0]]
        assert not made.keys().isdisjoint(circle)
    for one in made:
        assert members.count(one) == on_a_circle(next_of, int(one))


@given(graphs, st.integers(0, FEW))
def test_a_chain_of_starts_ends_exactly_if_it_is_a_circle(
    next_of: list[int | None], start: int
) -> None:
    at: int | None = start % len(next_of)
    cause = Cause(str(at), "root", 0)
    refused = False
    for _ in range(4 * FEW):
        at = next_of[at] if at is not None and at < len(next_of) else None
        if at is None or at >= len(next_of):
            break
        chain = chained(cause, str(at))
        if chain is None:
            refused = True
            assert on_a_circle(next_of, at)
            break
        cause = cause_of(Row(id=str(at), chain=chain), defined(str(at)))
    else:
        raise AssertionError("a circle was not found")
    assert refused == (at is not None and at < len(next_of))


@pytest.mark.parametrize(
    ("commands", "kws", "can_wait"),
    [
        ([command()], {}, False),
        ([timer(0.99)], {}, False),
        ([timer(1)], {}, True),
        ([command(), timer(60.0), command()], {}, True),
        ([timer("[kws.pause]")], {"pause": 0.05}, False),
        ([timer("[kws.pause]")], {"pause": 5}, True),
        ([timer("[kws.pause]")], {}, False),
        ([timer("[0.value]")], {}, True),
        ([timer(3600, condition={"0.more": {"eq": True}})], {}, True),
        ([message()], {}, True),
        ([message(max_timeout=0.5)], {}, False),
        ([tasks(ids=["other"])], {}, True),
        ([tasks(ids=["other"], max_timeout=0.2)], {}, False),
    ],
)
def test_a_circle_can_wait_if_one_of_its_tasks_can(
    commands: list[Command], kws: dict[str, Any], can_wait: bool
) -> None:
    made = {"a": defined("a"), "b": defined("b", *commands, kws=kws)}
    assert waits(["a", "b"], made) is can_wait


def test_a_retry_delay_and_a_schedule_are_no_waits() -> None:
    fields: dict[str, Any] = {"retry_delay": 60.0, "max_retries": 10, "every": 3600.0}
    assert not waits(["a"], {"a": defined("a", **fields)})


def test_the_problem_names_the_circle_and_shortens_a_long_one() -> None:
    assert "'a' → 'b' → 'a'" in without_wait(["a", "b"])
    long = without_wait([f"t{i}" for i in range(1000)])
    assert "'t9' → … → 't0'" in long
    assert len(long) < 300


def test_a_family_is_bounded_in_depth() -> None:
    row, definition = Row(id="t", job_id="job"), defined("t")
    for depth in range(1, 17):
        child = defined("t")
        descend(child, cause_of(row, definition), 16)
        assert (child.root_id, child.depth, child.parent_id) == ("job", depth, "t")
        row, definition = Row(id="t", job_id=f"job{depth}"), child
    with pytest.raises(TooManyTasks, match="max_family_depth") as error:
        descend(defined("t"), cause_of(row, definition), 16)
    assert error.value.data["root_id"] == "job"
    assert error.value.code == 429


def test_a_start_hands_on_the_family_but_never_makes_a_task_less_deep() -> None:
    deep = Cause("creator", "root", 7)
    started = Row(id="x", job_id="mine", chain=chained(deep, "x"))
    assert cause_of(started, defined("x")).root == "root"
    assert cause_of(started, defined("x")).depth == 7
    assert cause_of(started, defined("x", root_id="other", depth=9)).depth == 9
