"""Conditions, sorting and keyset paging as SQL, for both databases.

Only allow-listed columns get into the text; every value is a placeholder.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.store.base import (
    AUDIT_COLUMNS,
    COUNT_LIMIT,
    NOTIFICATION_COLUMNS,
    TASK_COLUMNS,
    Condition,
    PageQuery,
    TaskQuery,
)
from kaiju_tasks.store.columns import AUDIT_COLUMNS as AUDIT_SELECTED
from kaiju_tasks.store.columns import NOTIFICATION_COLUMNS as NOTIFICATION_SELECTED
from kaiju_tasks.store.columns import storable

LIST_LIMIT = 10_000
PATTERN_LIMIT = 10_000
_INTEGER_MAX = 2**63 - 1
_ORDERS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}

_DEFINITION_COLUMNS = {
    "created": "created",
    "cron": "cron",
    "next_task": "next_task",
    "system": "system",
    "notify": "notify",
    "group": "group_name",
    "group_id": "group_id",
    "user_id": "user_id",
    "parent_id": "parent_id",
    "description": "description",
}
TASK_SQL = {
    name: f"d.{_DEFINITION_COLUMNS[name]}" if name in _DEFINITION_COLUMNS else f"t.{name}"
    for name in TASK_COLUMNS
}


class Dialect(Protocol):
    """In what the databases differ."""

    def placeholder(self, number: int, kind: type) -> str:
        """The `number`-th value, from 1."""
        ...

    def differs(self, left: str, right: str) -> str:
        """True where the two are not the same, null counted as a value."""
        ...

    def one_of(self, column: str, number: int, kind: type) -> str:
        """True where the column is in the `number`-th value, which `pack` made of a list."""
        ...

    def pack(self, values: list[Any]) -> Any:
        """A list as one value for `one_of`."""
        ...


class Query:
    """A text and its values in the making."""

    def __init__(
        self, dialect: Dialect, columns: Mapping[str, str], kinds: Mapping[str, type]
    ) -> None:
        self.values: list[Any] = []
        self._dialect = dialect
        self._columns = columns
        self._kinds = kinds

    def bind(self, value: Any, kind: type) -> str:
        self.values.append(value)
        return self._dialect.placeholder(len(self.values), kind)

    def column(self, name: str) -> str:
        if name not in self._columns:
            raise InvalidParams(f"there is no column `{name:.100}` to select by", field=name)
        return self._columns[name]

    def where(self, conditions: Sequence[Condition]) -> str:
        """ANDed conditions, `TRUE` when there are none."""
        return " AND ".join(self._condition(one) for one in conditions) or "TRUE"

    def _condition(self, one: Condition) -> str:
        column, kind = self.column(one.column), self._kinds[one.column]
        if one.op == "in":
            return self._in(one, column, kind)
        if one.value is None:
            nulls = {"eq": f"{column} IS NULL", "ne": f"{column} IS NOT NULL"}
            return nulls.get(one.op, "FALSE")
        if one.op == "like":
            return self._like(one, column, kind)
        value = self.bind(_fitting(one.column, kind, one.value), kind)
        if one.op == "eq":
            return f"{column} = {value}"
        if one.op == "ne":
            return self._dialect.differs(column, value)
        if one.op in _ORDERS:
            return f"{column} {_ORDERS[one.op]} {value}"
        raise InvalidParams(
            f"`{one.op:.100}` is no operator: use eq, ne, in, gt, ge, lt, le or like",
            field=one.column,
        )

    def _in(self, one: Condition, column: str, kind: type) -> str:
        if not isinstance(one.value, list | tuple | set | frozenset):
            raise InvalidParams(f"`{one.column}` in needs a list", field=one.column)
        if len(one.value) > LIST_LIMIT:
            raise InvalidParams(
                f"the list for `{one.column}` may have at most {LIST_LIMIT} items",
                field=one.column,
            )
        values = [_fitting(one.column, kind, v) for v in one.value if v is not None]
        self.values.append(self._dialect.pack(values))
        found = self._dialect.one_of(column, len(self.values), kind)
        return f"({found} OR {column} IS NULL)" if None in one.value else found

    def _like(self, one: Condition, column: str, kind: type) -> str:
        if kind is not str or not isinstance(one.value, str):
            raise InvalidParams("`like` compares text with text", field=one.column)
        if len(one.value) > PATTERN_LIMIT:
            raise InvalidParams(
                f"a pattern may have at most {PATTERN_LIMIT} characters", field=one.column
            )
        pattern = storable(one.value)
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            pattern += "\\"
        return f"{column} LIKE {self.bind(pattern, str)} ESCAPE '\\'"

    def order(self, keys: Sequence[tuple[str, bool]]) -> str:
        return ", ".join(
            f"{self.column(name)} {'DESC' if descending else 'ASC'} NULLS LAST"
            for name, descending in keys
        )

    def after(self, keys: Sequence[tuple[str, bool]], values: Sequence[Any]) -> str:
        """True for rows that come after the one with these key values, nulls last."""
        if len(keys) != len(values):
            raise InvalidParams("the cursor does not belong to this sort", field="cursor")
        either, same = [], []
        for (name, descending), value in zip(keys, values, strict=True):
            column, kind = self.column(name), self._kinds[name]
            if value is None:
                same.append(f"{column} IS NULL")
                continue
            bound = self.bind(_fitting(name, kind, value), kind)
            sign = "<" if descending else ">"
            later = f"({column} {sign} {bound} OR {column} IS NULL)"
            either.append(" AND ".join([*same, later]))
            same.append(f"{column} = {bound}")
        return "(" + " OR ".join(f"({one})" for one in either) + ")" if either else "FALSE"


def _fitting(name: str, kind: type, value: Any) -> Any:
    """A value as the column's type takes it, out-of-range numbers at the edge of the range."""
    if kind is str and isinstance(value, str):
        return storable(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return max(-_INTEGER_MAX, min(_INTEGER_MAX, value))
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _real(value)
    raise InvalidParams(
        f"`{name}` must be compared with {_KINDS[kind]}, not {value!r:.100}", field=name
    )


_KINDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def _real(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _task_query(dialect: Dialect) -> Query:
    return Query(dialect, TASK_SQL, TASK_COLUMNS)


def _source(*parts: str) -> str:
    """The tables that some parts of a query over tasks need."""
    if any("d." in part for part in parts):
        return "tasks t JOIN definitions d ON d.task_id = t.id"
    return "tasks t"


def page(dialect: Dialect, query: TaskQuery, task_columns: str) -> tuple[str, list[Any]]:
    """One page of tasks with rev and body of their definitions, as one statement."""
    made = _task_query(dialect)
    keys = _keys(query.sort)
    where = made.where(query.conditions)
    if query.after is not None:
        where = f"({where}) AND {made.after(keys, _key_values(query.sort, query.after))}"
    order = made.order(keys)
    limit, offset = made.bind(query.limit, int), made.bind(query.offset, int)
    return (
        f"WITH page AS MATERIALIZED (SELECT t.id AS page_id FROM {_source(where, order)} "
        f"WHERE {where} ORDER BY {order} LIMIT {limit} OFFSET {offset}) "
        f"SELECT {task_columns}, d.rev, d.body FROM page JOIN tasks t ON t.id = page_id "
        f"JOIN definitions d ON d.task_id = page_id ORDER BY {order}",
        made.values,
    )


def _keys(sort: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """The sort keys, each column once, up to the id, which decides between equals."""
    keys: list[tuple[str, bool]] = []
    for name, descending in sort:
        if all(name != known for known, _ in keys):
            keys.append((name, descending))
    return keys if any(name == "id" for name, _ in keys) else [*keys, ("id", False)]


def _key_values(sort: Sequence[tuple[str, bool]], after: Sequence[Any]) -> list[Any]:
    """Values of `_keys`, out of those of the given sort and the id."""
    names = [*(name for name, _ in sort), "id"]
    if len(names) != len(after):
        raise InvalidParams("the cursor does not belong to this sort", field="cursor")
    first: dict[str, Any] = {}
    for name, value in zip(names, after, strict=True):
        first.setdefault(name, value)
    return [first[name] for name, _ in _keys(sort)]


def bounded_count(dialect: Dialect, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """How many tasks match, counted up to one more than COUNT_LIMIT."""
    made = _task_query(dialect)
    where = made.where(conditions)
    limit = made.bind(COUNT_LIMIT + 1, int)
    inner = f"SELECT 1 AS one FROM {_source(where)} WHERE {where} LIMIT {limit}"
    return f"SELECT count(*) FROM ({inner}) AS counted", made.values


def count(dialect: Dialect, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """How many tasks match."""
    made = _task_query(dialect)
    where = made.where(conditions)
    return f"SELECT count(*) FROM {_source(where)} WHERE {where}", made.values


def next_ids(
    dialect: Dialect, conditions: Sequence[Condition], after: str | None, limit: int
) -> tuple[str, list[Any]]:
    """The next ids that match, in order."""
    made = _task_query(dialect)
    where = made.where(conditions)
    if after is not None:
        where = f"({where}) AND t.id > {made.bind(after, str)}"
    size = made.bind(limit, int)
    return (
        f"SELECT t.id FROM {_source(where)} WHERE {where} ORDER BY t.id LIMIT {size}",
        made.values,
    )


class Table(Struct, frozen=True):
    """Rows that are listed page by page, the newest first unless a sort is given."""

    name: str
    selected: Sequence[str]
    kinds: Mapping[str, type]
    newest_first: tuple[tuple[str, bool], ...]

    def query(self, dialect: Dialect) -> Query:
        return Query(dialect, {name: f"r.{name}" for name in self.kinds}, self.kinds)


NOTIFICATIONS = Table(
    "notifications", NOTIFICATION_SELECTED, NOTIFICATION_COLUMNS, (("created", True),)
)
AUDIT = Table("audit", AUDIT_SELECTED, AUDIT_COLUMNS, (("at", True),))


def rows(dialect: Dialect, table: Table, query: PageQuery) -> tuple[str, list[Any]]:
    """One page of a table."""
    made = table.query(dialect)
    sort = query.sort or table.newest_first
    keys = _keys(sort)
    where = made.where(query.conditions)
    if query.after is not None:
        where = f"({where}) AND {made.after(keys, _key_values(sort, query.after))}"
    limit, offset = made.bind(query.limit, int), made.bind(query.offset, int)
    selected = ", ".join(f"r.{name}" for name in table.selected)
    return (
        f"SELECT {selected} FROM {table.name} r WHERE {where} "
        f"ORDER BY {made.order(keys)} LIMIT {limit} OFFSET {offset}",
        made.values,
    )


def row_count(
    dialect: Dialect, table: Table, conditions: Sequence[Condition]
) -> tuple[str, list[Any]]:
    """How many rows of a table match."""
    made = table.query(dialect)
    return f"SELECT count(*) FROM {table.name} r WHERE {made.where(conditions)}", made.values
