"""Tests whether an event meets the conditions of a subscription."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.store.base import Condition
from kaiju_tasks.store.condition_tests import Test, condition_test
from kaiju_tasks.store.parts import label_key
from kaiju_tasks.types import TaskEvent

EVENT_COLUMNS: dict[str, type] = {
    "event": str,
    "id": str,
    "job_id": str,
    "app_name": str,
    "status": str,
    "status_reason": str,
    "stage": int,
    "stages": int,
    "retries": int,
    "exit_code": int,
    "executor_id": str,
    "priority": int,
    "parent_id": str,
    "group": str,
    "group_id": str,
    "user_id": str,
    "time": float,
    "manager_id": str,
}
"""The columns that conditions on events may use, and the types of their values."""


class Matcher:
    """A list of conditions on events. An event matches if all of them hold.

    :raises InvalidParams: a list or a pattern is too long, or events do not have a column
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._ids: frozenset[str] | None = None
        self._tests: list[tuple[Callable[[TaskEvent], Any], Test]] = []
        for condition in conditions:
            self._add(condition)

    def _add(self, condition: Condition) -> None:
        column = condition.column
        key = label_key(column)
        if column not in EVENT_COLUMNS and key is None:
            raise InvalidParams(f"events have no column `{column:.100}`", field=column)
        if column == "id" and condition.op in ("eq", "in"):
            value = condition.value
            ids = frozenset(value if condition.op == "in" else [value])
            self._ids = ids if self._ids is None else self._ids & ids
        value = attrgetter(column) if key is None else partial(_label, key)
        self._tests.append((value, condition_test(condition)))

    def of_task(self, task_id: str) -> bool:
        """Whether events of this task can match at all. This is a cheap test."""
        return self._ids is None or task_id in self._ids

    def matches(self, event: TaskEvent) -> bool:
        return all(test(value_of(event)) for value_of, test in self._tests)


def _label(key: str, event: TaskEvent) -> str | None:
    return event.labels.get(key)
