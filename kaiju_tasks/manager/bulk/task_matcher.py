"""Checks whether a locked task still matches the conditions that a store selected it by."""

from collections.abc import Sequence
from typing import Any

from kaiju_tasks.lifecycle import TaskState
from kaiju_tasks.store.base import Condition
from kaiju_tasks.store.columns import storable
from kaiju_tasks.store.condition_tests import condition_test
from kaiju_tasks.store.parts import error_part, method_of

_IN_ROW = {"status_reason": "reason"}


class TaskMatcher:
    """Conditions on tasks; all must hold.

    :raises InvalidParams: a list or a pattern is too long
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._tests = [(one.column, condition_test(one)) for one in conditions]

    def matches(self, state: TaskState) -> bool:
        """Return whether all conditions hold, with the same result as `Store.ids`."""
        return all(test(_value(state, column)) for column, test in self._tests)


def _value(state: TaskState, column: str) -> Any:
    if column == "method":
        return method_of(state.row, state.definition)
    if column == "error.type":
        return error_part(state.row.error, "type")
    name = _IN_ROW.get(column, column)
    source = state.row if hasattr(state.row, name) else state.definition
    value = getattr(source, name)
    return storable(value) if isinstance(value, str) else value
