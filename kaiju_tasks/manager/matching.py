"""Conditions on events, tested in memory: what the stores' queries mean, without a database."""

import operator
import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.store.base import Condition
from kaiju_tasks.store.query import LIST_LIMIT, PATTERN_LIMIT
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
"""Columns that conditions on events may name, and the type of their values."""

Test = Callable[[Any], bool]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TOKEN = re.compile(r"(?s)\\(.)|(.)")


class Matcher:
    """Conditions, all of which must hold.

    :raises InvalidParams: a list or a pattern is too long, or a column is not known
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._ids: frozenset[str] | None = None
        self._tests: list[tuple[Callable[[TaskEvent], Any], Test]] = []
        for condition in conditions:
            self._add(condition)

    def _add(self, condition: Condition) -> None:
        column = condition.column
        if column not in EVENT_COLUMNS:
            raise InvalidParams(f"events have no column `{column:.100}`", field=column)
        if column == "id" and condition.op in ("eq", "in"):
            value = condition.value
            ids = frozenset(value if condition.op == "in" else [value])
            self._ids = ids if self._ids is None else self._ids & ids
        self._tests.append((attrgetter(column), _test(condition)))

    def of_task(self, task_id: str) -> bool:
        """Whether events of a task can match at all; cheap."""
        return self._ids is None or task_id in self._ids

    def matches(self, event: TaskEvent) -> bool:
        return all(test(value_of(event)) for value_of, test in self._tests)


def _test(condition: Condition) -> Test:
    op, wanted = condition.op, condition.value
    if op == "in":
        if len(wanted) > LIST_LIMIT:
            raise _too_long(condition.column, f"the list may have at most {LIST_LIMIT} items")
        return frozenset(wanted).__contains__
    if op == "eq":
        return lambda value: bool(value == wanted)
    if op == "like":
        if len(wanted) > PATTERN_LIMIT:
            raise _too_long(
                condition.column, f"a pattern may have at most {PATTERN_LIMIT} characters"
            )
        like = _like(wanted)
        return lambda value: value is not None and like.fullmatch(value) is not None
    order = _ORDERS[op]
    return lambda value: value is not None and order(value, wanted)


def _too_long(column: str, said: str) -> InvalidParams:
    field = f"conditions.{column}"
    return InvalidParams(f"`{field}`: {said}", field=field)


def _like(pattern: str) -> re.Pattern[str]:
    """A LIKE pattern; each part after a `%` is found where it first stands, and no earlier choice
    is made again (an atomic group), so that no pattern takes long."""
    parts = [""]
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        pattern += "\\"
    for escaped, plain in _TOKEN.findall(pattern):
        if plain == "%":
            parts.append("")
        else:
            parts[-1] += "." if plain == "_" else re.escape(escaped or plain)
    first, *middle = parts
    if not middle:
        return re.compile(f"(?s:{first})")
    last = middle.pop()
    return re.compile(f"(?s:{first}{''.join(f'(?>.*?{part})' for part in middle)}.*{last})")
