"""Does a task still match? The conditions that the stores select by, on a locked row."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from kaiju_tasks.lifecycle import TaskState
from kaiju_tasks.store.base import Condition
from kaiju_tasks.store.columns import storable

_IN_ROW = {"status_reason": "reason"}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
}
_ANY, _ONE = object(), object()


def matches(state: TaskState, conditions: Sequence[Condition]) -> bool:
    """Whether all conditions hold, as `Store.ids` decides it."""
    return all(_holds(one, _value(state, one.column)) for one in conditions)


def _value(state: TaskState, column: str) -> Any:
    name = _IN_ROW.get(column, column)
    source = state.row if hasattr(state.row, name) else state.definition
    value = getattr(source, name)
    return storable(value) if isinstance(value, str) else value


def _holds(one: Condition, value: Any) -> bool:
    if one.op == "eq":
        return bool(value == one.value)
    if one.op == "in":
        return value in one.value
    if value is None or one.value is None:
        return False
    if one.op == "like":
        return _like(value, _pattern(one.value))
    return _ORDERS[one.op](value, one.value)


@lru_cache(maxsize=64)
def _pattern(like: str) -> tuple[Any, ...]:
    """Letters, _ONE and _ANY."""
    parts: list[Any] = []
    letters = iter(like)
    for letter in letters:
        if letter == "\\":
            parts.append(next(letters, "\\"))
        else:
            parts.append({"%": _ANY, "_": _ONE}.get(letter, letter))
    return tuple(parts)


def _like(text: str, pattern: Sequence[Any]) -> bool:
    """At most len(text) times len(pattern) steps: only the last `%` is ever widened."""
    at = part = 0
    any_part = any_at = -1
    while at < len(text):
        wanted = pattern[part] if part < len(pattern) else None
        if wanted is _ANY:
            any_part, any_at = part, at
            part += 1
        elif wanted is _ONE or wanted == text[at]:
            at, part = at + 1, part + 1
        elif any_part >= 0:
            any_at += 1
            at, part = any_at, any_part + 1
        else:
            return False
    return all(rest is _ANY for rest in pattern[part:])
