"""Checks whether a locked task still matches the conditions that a store selected it by."""

from collections.abc import Sequence
from typing import Any

from kaiju_tasks.lifecycle import TaskState
from kaiju_tasks.store.base import Condition
from kaiju_tasks.store.columns import storable
from kaiju_tasks.store.condition_tests import condition_test
from kaiju_tasks.store.parts import error_part, label_key, method_of
from kaiju_tasks.store.query import DEFINITION_COLUMNS

_IN_ROW = {"status_reason": "reason"}
OF_DEFINITIONS = frozenset(DEFINITION_COLUMNS)
LONG = frozenset({"description"})
"""Columns whose texts are much longer than an id."""


class TaskMatcher:
    """Conditions on tasks; all must hold.

    :ivar costly: whether a condition on the definition can take so long that it must not be tested
        for many tasks in the manager's loop
    :raises InvalidParams: a list or a pattern is too long
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._tests = [(one.column, condition_test(one)) for one in conditions]
        self._of_rows = [pair for pair in self._tests if pair[0] not in OF_DEFINITIONS]
        self.costly = any(one.op == "like" and one.column in LONG for one in conditions)

    def matches(self, state: TaskState, *, same_definition: bool = False) -> bool:
        """Return whether all conditions hold, with the same result as the statements of the store.

        :param same_definition: the conditions on the definition are known to hold
        """
        tests = self._of_rows if same_definition else self._tests
        return all(test(_value(state, column)) for column, test in tests)


def _value(state: TaskState, column: str) -> Any:
    if column == "method":
        return method_of(state.row, state.definition)
    if column == "error.type":
        return error_part(state.row.error, "type")
    if (key := label_key(column)) is not None:
        return state.definition.labels.get(key)
    name = _IN_ROW.get(column, column)
    source = state.row if hasattr(state.row, name) else state.definition
    value = getattr(source, name)
    return storable(value) if isinstance(value, str) else value
