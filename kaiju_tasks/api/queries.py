"""Checks of `conditions`, `sort` and `cursor` of a list call."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from kaiju_tasks.api.filters import CHOICES, GROUPS, ISO_TIMES, OPERATORS, UNIX_TIMES
from kaiju_tasks.api.params import PageParams
from kaiju_tasks.cron import parse_time
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.rights import Sight
from kaiju_tasks.store.base import TASK_COLUMNS, Condition, PageQuery, Store
from kaiju_tasks.store.columns import storable_ids
from kaiju_tasks.store.parts import label_key

LAST_SECOND = 253_402_300_799  # of the year 9999
DEFAULT_SORT: tuple[tuple[str, bool], ...] = (("created", True),)
Sort = tuple[tuple[str, bool], ...]
Key = str | int | float | bool | None
_decode_cursor = msgspec.json.Decoder(tuple[Sort, list[Key]]).decode


def read_conditions(
    conditions: dict[str, Any] | None,
    columns: Mapping[str, type] = TASK_COLUMNS,
    choices: Mapping[str, Any] = CHOICES,
    *,
    labelled: bool = True,
) -> list[Condition]:
    """Check `conditions`: a value, a list of values, or `{gt, ge, lt, le, like}` by column.

    Times are read by `cron.parse_time`.

    :param choices: columns with a fixed set of values
    :param labelled: whether `label.KEY` is a column, too
    :raises InvalidParams: a condition is invalid; the error contains the column and its values
    """
    read: list[Condition] = []
    for column, value in (conditions or {}).items():
        field = f"conditions.{column}"
        label = labelled and label_key(column) is not None
        if column not in columns and not label:
            known = sorted(columns) + ["label.KEY"] * labelled
            raise InvalidParams(
                f"`{field}` is not a column to filter by; columns are {', '.join(known)}",
                field=field,
            )
        kind = str if label else columns[column]
        read += _column_conditions(_Column(column, kind, choices), value, field)
    return read


class _Column(NamedTuple):
    name: str
    kind: type
    choices: Mapping[str, Any]


def _column_conditions(column: _Column, value: Any, field: str) -> list[Condition]:
    if isinstance(value, list):
        return [Condition(column.name, "in", [_value(item, column, field) for item in value])]
    if not isinstance(value, dict):
        return [Condition(column.name, "eq", _value(value, column, field))]
    if not value:
        raise InvalidParams(
            f"`{field}` must be a value, a list, or an object with {', '.join(OPERATORS)}",
            field=field,
        )
    read = []
    for operator, operand in value.items():
        if operator not in OPERATORS:
            raise InvalidParams(
                f"`{field}.{operator}` is not an operator; operators are {', '.join(OPERATORS)}",
                field=f"{field}.{operator}",
            )
        if operand is None:
            raise InvalidParams(f"`{field}.{operator}` needs a value", field=f"{field}.{operator}")
        if operator == "like" and column.kind is not str:
            raise InvalidParams(
                f"`{field}.like` needs a column with text, and `{column.name}` has none",
                field=f"{field}.like",
            )
        found = _value(operand, column, f"{field}.{operator}")
        read.append(Condition(column.name, operator, found))
    return read


def _value(value: Any, of: _Column, field: str) -> Any:
    if value is None:
        return None
    column, kind = of.name, of.kind
    if column in GROUPS and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if column in UNIX_TIMES | ISO_TIMES and not field.endswith(".like"):
        return _time(column, value, field)
    choices = of.choices.get(column)
    if choices is not None and not field.endswith(".like") and value not in list(choices):
        raise InvalidParams(f"`{field}` must be one of {', '.join(choices)}", field=field)
    ok = {
        str: isinstance(value, str),
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
        float: _is_number(value),
    }[kind]
    if not ok:
        words = {str: "text", bool: "true or false", int: "an integer", float: "a number"}
        raise InvalidParams(f"`{field}` must be {words[kind]}", field=field)
    if kind is str and "\x00" in value:
        raise InvalidParams(f"`{field}` must not contain NUL", field=field)
    return float(value) if kind is float else value


def _time(column: str, value: Any, field: str) -> float | str:
    """Convert a time to the form of its column.

    Any number is allowed: a time outside the years 1970-9999 is before or after all rows.
    """
    seconds = value if _is_number(value) else parse_time(value, field=field)
    if column in UNIX_TIMES:
        return float(seconds)
    bounded = max(0, min(LAST_SECOND, seconds))
    return datetime.fromtimestamp(bounded, UTC).isoformat(timespec="microseconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_sort(
    sort: list[Any] | None,
    columns: Mapping[str, type] = TASK_COLUMNS,
    default: Sort = DEFAULT_SORT,
) -> Sort:
    """Check `sort`: `"column"`, `"-column"` (descending), `{"desc": "column"}` or
    `{"column": "desc"}`.

    :raises InvalidParams: an item is invalid; `field` is its path
    """
    if not sort:
        return default
    return tuple(_sort_key(item, f"sort.{index}", columns) for index, item in enumerate(sort))


def _sort_key(item: Any, field: str, columns: Mapping[str, type]) -> tuple[str, bool]:
    column, descending = item, False
    if isinstance(item, str) and item.startswith("-"):
        column, descending = item[1:], True
    elif isinstance(item, dict) and len(item) == 1:
        ((key, value),) = item.items()
        if key in ("asc", "desc"):
            column, descending = value, key == "desc"
        elif value in ("asc", "desc"):
            column, descending = key, value == "desc"
    if not isinstance(column, str) or column not in columns:
        raise InvalidParams(
            f'`{field}` must be a column ("created", or "-created" for descending); '
            f"columns are {', '.join(sorted(columns))}",
            field=field,
        )
    return column, descending


def read_page(params: PageParams, columns: Mapping[str, type], sort: Sort) -> PageQuery:
    """Check `conditions`, `offset`, `cursor` and `limit` of a list call.

    :raises InvalidParams: a parameter is invalid; `field` is its path
    """
    return PageQuery(
        conditions=read_conditions(params.conditions, columns, labelled=False),
        sort=sort,
        offset=params.offset,
        limit=params.limit,
        after=read_after(params.cursor, params.offset, sort, columns),
    )


def next_cursor(rows: Sequence[Any], query: PageQuery, *, cut: bool = False) -> str | None:
    """Return the cursor of the page after these rows; None if they are the last.

    :param cut: whether the page ends early
    """
    if len(rows) < query.limit and not cut:
        return None
    sort = tuple(query.sort)
    return write_cursor(sort, [*(getattr(rows[-1], column) for column, _ in sort), rows[-1].id])


def read_after(
    cursor: str | None, offset: int, sort: Sort, columns: Mapping[str, type] = TASK_COLUMNS
) -> list[Any] | None:
    """Return the keys of the last row of the previous page, if a cursor is given.

    :raises InvalidParams: the cursor is invalid, or an offset is given too
    """
    if cursor is not None and offset:
        raise InvalidParams("`offset`: give either `offset` or `cursor`, not both", field="offset")
    return None if cursor is None else read_cursor(cursor, sort, columns)


async def ids_in_sight(store: Store, ids: Sequence[str], sight: Sight) -> set[str]:
    """Which of these tasks exist and are seen, without their definitions."""
    found: set[str] = set()
    if wanted := storable_ids(ids):
        async for batch in store.ids([Condition("id", "in", wanted)], sight, len(wanted)):
            found.update(batch)
    return found


def write_cursor(sort: Sort, values: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([sort, values])).decode()


def read_cursor(cursor: str, sort: Sort, columns: Mapping[str, type]) -> list[Any]:
    """Return the keys of the last row of the previous page.

    :raises InvalidParams: the cursor is invalid, or belongs to another `sort`
    """
    try:
        was, values = _decode_cursor(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        was, values = (), []
    kinds = [*(columns[column] for column, _ in sort), str]
    if was != sort or not _are_keys(values, kinds) or write_cursor(sort, values) != cursor:
        raise InvalidParams(
            "`cursor` must be the cursor of a result with the same `sort`", field="cursor"
        )
    return values


def _are_keys(values: list[Key], kinds: list[type]) -> bool:
    """Whether these are the sort keys and the id of a row."""
    if len(values) != len(kinds) or values[-1] is None:
        return False
    return all(
        value is None or type(value) is kind or (kind is float and type(value) is int)
        for value, kind in zip(values, kinds, strict=True)
    )
