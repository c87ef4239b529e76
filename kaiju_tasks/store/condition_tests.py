"""Tests conditions in memory, with the same meaning as in the queries of the stores."""

import operator
import re
from collections.abc import Callable
from typing import Any

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.rights.globs import any_matches
from kaiju_tasks.store.base import Condition
from kaiju_tasks.store.query import LIST_LIMIT, PATTERN_LIMIT

Test = Callable[[Any], bool]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TOKEN = re.compile(r"(?s)\\(.)|(.)")


def condition_test(condition: Condition) -> Test:
    """Build a test of whether a column's value meets a condition.

    :raises InvalidParams: a list or a pattern is too long
    """
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
    if op == "glob":
        return lambda value: value is not None and any_matches(wanted, value)
    order = _ORDERS[op]
    return lambda value: value is not None and wanted is not None and order(value, wanted)


def _too_long(column: str, problem: str) -> InvalidParams:
    field = f"conditions.{column}"
    return InvalidParams(f"`{field}`: {problem}", field=field)


def _like(pattern: str) -> re.Pattern[str]:
    """Compile a LIKE pattern. Each part after a `%` matches at its first occurrence, in an atomic
    group, which prevents backtracking and keeps the match time short."""
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
