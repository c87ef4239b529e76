"""What a store selects is what a matcher says of the same task: both stores."""

import random
from typing import Any

import pytest

from kaiju_tasks.lifecycle import TaskState
from kaiju_tasks.manager.bulk.task_matcher import TaskMatcher
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import TASK_COLUMNS, Condition, Store, TaskQuery
from tests.store.making import add, definition
from tests.store.test_reading import TEXTS, fill

PATTERNS = ["%", "_", "a%", "%b", "a_b", "a\\_b", "a\\%%", "%\\\\%", "a\\", "", "__", "%a%b%", "É"]


async def states(store: Store) -> list[TaskState]:
    page = await store.find(TaskQuery(limit=1000), ALL_SIGHT)
    return [TaskState(view.row, view.definition) for view in page.tasks]


async def agree(store: Store, *conditions: Condition) -> None:
    page = await store.find(TaskQuery(conditions=conditions, limit=1000), ALL_SIGHT)
    selected = sorted(view.row.id for view in page.tasks)
    matches = TaskMatcher(conditions).matches
    assert selected == sorted(state.row.id for state in await states(store) if matches(state))


def operands(column: str, dice: random.Random) -> list[Any]:
    values: dict[type, list[Any]] = {
        str: [*TEXTS, "x", "IDLE", "QUEUED", "default", "tä1"],
        int: [-3, 0, 1, 5],
        float: [1.5, 2.5, 0.0, 4e9],
        bool: [True, False],
    }
    return dice.sample(values[TASK_COLUMNS[column]], 2)


@pytest.mark.parametrize("column", TASK_COLUMNS)
async def test_conditions_hold_where_the_store_selects(store: Store, column: str) -> None:
    await fill(store, 40)
    dice = random.Random(column)
    for op in ("eq", "gt", "ge", "lt", "le"):
        for value in operands(column, dice):
            await agree(store, Condition(column, op, value))
    await agree(store, Condition(column, "eq", None))
    await agree(store, Condition(column, "in", [None, *operands(column, dice)]))
    await agree(store, Condition(column, "in", []))
    both = [Condition(column, "gt", operands(column, dice)[0]), Condition("id", "like", "%1%")]
    await agree(store, *both)


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_patterns_hold_where_the_store_selects(store: Store, pattern: str) -> None:
    for text in ("nul\0", "two\nlines", "A", "é", "É", "axb", "ab", "a\\"):
        await add(store, definition(f"d-{len(text)}-{text!a}"[:40], description=text))
    await fill(store, 60)
    for column in ("id", "group", "description"):
        await agree(store, Condition(column, "like", pattern))
