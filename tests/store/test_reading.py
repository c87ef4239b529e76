"""Conditions, sorting, paging: the same answers from both stores."""

import random
from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Command, StageFailed
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import TASK_COLUMNS, Condition, Store, TaskQuery, TaskView
from kaiju_tasks.store.base import COUNT_LIMIT
from kaiju_tasks.types import ErrorType, TaskError
from tests.store.making import (
    acquire,
    add,
    connect,
    definition,
    finish,
    happen,
    lease_of,
    new_step,
)

TEXTS = ["a", "A", "b", "ä", "Z", "z", "é", "e", "漢", "🦖", "￮", "a_b", "a%b", "a\\b", "10", "9"]


async def fill(store: Store, count: int = 60, seed: int = 1) -> None:
    """Tasks whose columns have duplicates, nulls and letters that collations disagree on."""
    dice = random.Random(seed)
    async with store.transaction() as tx:
        steps = []
        for number in range(count):
            task = definition(
                f"t{dice.choice(TEXTS)}{number}",
                priority=dice.choice([-3, 0, 0, 5]),
                group=dice.choice([None, *TEXTS]),
                description=dice.choice([None, "x", "X", "y"]),
                system=dice.random() < 0.5,
                created=f"2026-01-0{dice.randint(1, 9)}T00:00:00+00:00",
            )
            step = new_step(task, tx.now)
            step.row.next_run = dice.choice([None, 1.5, 2.5])
            step.row.exit_code = dice.choice([None, 0, 1])
            steps.append(step)
        await tx.insert(steps)


async def found(store: Store, *conditions: Condition, **query: Any) -> list[str]:
    page = await store.find(TaskQuery(conditions=conditions, limit=10_000, **query), ALL_SIGHT)
    assert page.total == len(page.tasks)
    return [view.row.id for view in page.tasks]


def value_of(view: TaskView, column: str) -> Any:
    name = {"status_reason": "reason"}.get(column, column)
    source = view.row if name in type(view.row).__struct_fields__ else view.definition
    return getattr(source, name)


def sorted_as_said(views: list[TaskView], sort: list[tuple[str, bool]]) -> list[str]:
    """The order that is promised: nulls last both ways, text by code point, id at the end."""
    ordered = sorted(views, key=lambda view: view.row.id)
    for column, descending in reversed(sort):
        there = [view for view in ordered if value_of(view, column) is not None]
        absent = [view for view in ordered if value_of(view, column) is None]
        there.sort(key=lambda view: value_of(view, column), reverse=descending)
        ordered = there + absent
    return [view.row.id for view in ordered]


SORTED_BY = ["priority", "group", "description", "next_run", "exit_code", "id", "system"]


@pytest.mark.parametrize("seed", range(12))
async def test_sorting_offset_and_keyset_paging_equal_what_is_promised(
    store: Store, seed: int
) -> None:
    await fill(store, seed=seed)
    whole = (await store.find(TaskQuery(limit=1000), ALL_SIGHT)).tasks
    dice = random.Random(seed)
    sort = [(name, dice.random() < 0.5) for name in dice.sample(SORTED_BY, seed % 4)]
    size = dice.randint(3, 25)
    promised = sorted_as_said(whole, sort)
    by_offset: list[str] = []
    by_key: list[str] = []
    after: list[Any] | None = None
    while (
        page := await store.find(TaskQuery(sort=sort, limit=size, after=after), ALL_SIGHT)
    ).tasks:
        assert page.total == len(whole)
        by_key += [view.row.id for view in page.tasks]
        last = page.tasks[-1]
        after = [*(value_of(last, column) for column, _ in sort), last.row.id]
        query = TaskQuery(sort=sort, limit=size, offset=len(by_offset))
        by_offset += [view.row.id for view in (await store.find(query, ALL_SIGHT)).tasks]
    assert by_offset == promised
    assert by_key == promised


@pytest.mark.parametrize(
    ("column", "op", "value", "expected"),
    [
        ("priority", "eq", 5, "b"),
        ("priority", "ne", 5, "acd"),
        ("priority", "gt", 0, "b"),
        ("priority", "ge", 0, "abd"),
        ("priority", "lt", 0, "c"),
        ("priority", "le", 0, "acd"),
        ("priority", "in", [5, -3], "bc"),
        ("priority", "in", [], ""),
        ("priority", "lt", 10**40, "abcd"),
        ("priority", "gt", -(10**40), "abcd"),
        ("queued_at", "lt", 10**400, "abc"),
        ("group", "eq", None, "d"),
        ("group", "ne", None, "abc"),
        ("group", "gt", None, ""),
        ("group", "eq", "Alpha", "a"),
        ("group", "ne", "Alpha", "bcd"),
        ("group", "in", ["Alpha", None], "ad"),
        ("group", "in", [None], "d"),
        ("group", "gt", "Zulu", "bc"),
        ("group", "like", "al%", "b"),
        ("group", "like", "Al%", "a"),
        ("group", "like", "%ä%", "c"),
        ("group", "like", "alph_", "b"),
        ("group", "like", "alph\\_", ""),
        ("group", "like", "100\\%%", ""),
        ("group", "like", "ends with\\", ""),
        ("description", "like", "10\\%", "b"),
        ("description", "eq", "nul\0", "a"),
        ("description", "like", "nul%", "a"),
        ("system", "eq", True, "c"),
        ("system", "ne", True, "abd"),
        ("enabled", "in", [False], "d"),
        ("status", "in", ["IDLE", "QUEUED"], "abcd"),
        ("created", "ge", "2026-01-02", "abcd"),
        ("user_id", "eq", "' OR 1=1 --", ""),
        ("user_id", "eq", "\ud800", ""),
    ],
)  # fmt: skip
async def test_conditions_select(
    store: Store, column: str, op: str, value: Any, expected: str
) -> None:
    await add(
        store,
        definition("a", group="Alpha", description="nul\0"),
        definition("b", group="alpha", priority=5, description="10%"),
        definition("c", group="ä", priority=-3, system=True),
    )
    await add(store, "d", enabled=False)
    condition = Condition(column, op, value)
    assert "".join(await found(store, condition)) == expected
    assert await store.count([condition], ALL_SIGHT) == len(expected)


async def test_tasks_are_found_by_the_method_where_they_stand(store: Store) -> None:
    two = [Command("first"), Command("second")]
    await connect(store)
    await add(store, definition("a", commands=two), definition("b", commands=two[:1]))
    await finish(store, await acquire(store))
    await add(store, definition("c", commands=two))
    assert await found(store, Condition("method", "eq", "first")) == ["c"]
    assert await found(store, Condition("method", "like", "sec%")) == ["a"]
    assert await found(store, Condition("method", "eq", None)) == ["b"]
    assert await found(store, sort=[("method", False)]) == ["c", "a", "b"]


async def test_tasks_are_found_by_why_they_failed(store: Store) -> None:
    await connect(store)
    await add(store, "a", "b", definition("c", every=60.0))
    for row in await acquire(store, 2):
        kind = ErrorType.ABORT if row.id == "a" else ErrorType.EXECUTION
        error = TaskError(kind, "it is late")
        await happen(store, row.id, StageFailed(lease=lease_of(row), stage=0, error=error))
    why, status = Condition("error.type", "eq", "abort"), Condition("status", "eq", "FAILED")
    assert await found(store, why, status) == ["a"]
    assert await found(store, Condition("error.type", "ne", "abort")) == ["b", "c"]
    assert await found(store, Condition("error.type", "eq", None)) == ["c"]
    assert await found(store, Condition("every", "eq", 60.0)) == ["c"]


async def test_conditions_are_anded(store: Store) -> None:
    await add(store, definition("a", group="g"), definition("b", group="g", priority=3), "c")
    both = [Condition("group", "eq", "g"), Condition("priority", "eq", 3)]
    assert await found(store, *both) == ["b"]


@pytest.mark.parametrize("column", TASK_COLUMNS)
async def test_every_column_can_be_asked_for_and_sorted_by(store: Store, column: str) -> None:
    await fill(store, 5)
    value = {str: "x", int: 1, float: 1.5, bool: True}[TASK_COLUMNS[column]]
    for op in ("eq", "ne", "gt", "ge", "lt", "le"):
        await store.count([Condition(column, op, value)], ALL_SIGHT)
    await store.count([Condition(column, "in", [value, None])], ALL_SIGHT)
    assert len(await found(store, sort=[(column, True)])) == 5


@pytest.mark.parametrize(
    "condition",
    [
        Condition("commands", "eq", "x"),
        Condition("id; DROP TABLE tasks", "eq", "x"),
        Condition("id", "regexp", "x"),
        Condition("id", "eq", 5),
        Condition("priority", "eq", "5"),
        Condition("priority", "eq", True),
        Condition("priority", "like", "5"),
        Condition("enabled", "eq", 1),
        Condition("queued_at", "lt", "now"),
        Condition("id", "in", "abc"),
        Condition("id", "in", ["x"] * 10_001),
        Condition("id", "like", "%" * 1_001),
    ],
    ids=lambda condition: f"{condition.column}-{condition.op}",
)
async def test_a_wrong_condition_is_refused_with_its_column(
    store: Store, condition: Condition
) -> None:
    with pytest.raises(InvalidParams) as raised:
        await store.count([condition], ALL_SIGHT)
    assert raised.value.field == condition.column


async def test_a_cursor_of_another_sort_is_refused(store: Store) -> None:
    with pytest.raises(InvalidParams, match="cursor"):
        await store.find(TaskQuery(sort=[("priority", False)], after=["a"]), ALL_SIGHT)


async def test_results_come_with_a_page_when_asked_for(store: Store) -> None:
    await add(store, "a", "b")
    await connect(store)
    await finish(store, await acquire(store, 1), b'"r"')
    page = await store.find(TaskQuery(with_results=True), ALL_SIGHT)
    results = {view.row.id: view.results for view in page.tasks}
    assert {id: [bytes(one) for one in got or []] for id, got in results.items()} == {
        "a": [b'"r"'],
        "b": [],
    }
    assert (await store.find(TaskQuery(), ALL_SIGHT)).tasks[0].results is None


async def test_all_ids_come_in_order_and_in_batches(store: Store) -> None:
    await add(store, *(f"t{n}" for n in range(7)), definition("x", group="g"))
    batches = [batch async for batch in store.ids([Condition("group", "eq", None)], ALL_SIGHT, 3)]
    assert batches == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]
    assert [batch async for batch in store.ids([Condition("id", "eq", "no")], ALL_SIGHT, 3)] == []


async def test_the_total_is_exact_up_to_its_limit(store: Store) -> None:
    for first in range(0, COUNT_LIMIT, 2000):
        await add(store, *(f"t{n:05}" for n in range(first, first + 2000)))
    page = await store.find(TaskQuery(limit=1), ALL_SIGHT)
    assert (page.total, page.more) == (COUNT_LIMIT, False)
    await add(store, "one-more")
    page = await store.find(TaskQuery(limit=1), ALL_SIGHT)
    assert (page.total, page.more) == (COUNT_LIMIT, True)
    assert await store.count([], ALL_SIGHT) == COUNT_LIMIT + 1


async def test_tasks_are_counted_by_stream_and_status(store: Store) -> None:
    await add(store, "a", "b", definition("c", app_name="x"))
    await connect(store)
    await acquire(store, 1)
    assert await store.status_counts(ALL_SIGHT) == {
        ("default", "EXECUTED"): 1,
        ("default", "QUEUED"): 1,
        ("x", "QUEUED"): 1,
    }
