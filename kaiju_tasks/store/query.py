"""Translates conditions, sorting and keyset paging to SQL, for both databases.

The SQL text contains only allow-listed columns. Every value is a placeholder.
"""

import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from kaiju_tasks.errors import InvalidParams, TooLarge
from kaiju_tasks.rights import Sight
from kaiju_tasks.rights.globs import is_literal
from kaiju_tasks.store.base import (
    AUDIT_COLUMNS,
    BULK_COLUMNS,
    COUNT_LIMIT,
    NEVER_NULL,
    NOTIFICATION_COLUMNS,
    TASK_COLUMNS,
    Condition,
    PageQuery,
    TaskQuery,
)
from kaiju_tasks.store.bulk_columns import BULK_COLUMNS as BULK_SELECTED
from kaiju_tasks.store.columns import AUDIT_COLUMNS as AUDIT_SELECTED
from kaiju_tasks.store.columns import NOTIFICATION_COLUMNS as NOTIFICATION_SELECTED
from kaiju_tasks.store.columns import storable
from kaiju_tasks.store.parts import LABEL, label_key
from kaiju_tasks.types import Reason, RunOutcome, TaskStatus

LIST_LIMIT = 10_000
READ_BYTES_MAX = 16 * 1024 * 1024
"""The bytes of definitions, results and messages that one read loads. A single row is read whatever
its size, which other limits bound."""
STREAM = "app_name"
"""The column with the stream of a task, also of what belongs to a task."""
PATTERN_LIMIT = 1_000
READ_SECONDS = 10.0
"""The time that a read for a client may take in the database."""
CREATED_SECONDS = 0.001
"""How exactly `seconds_of` converts a time on every database."""
_INTEGER_MAX = 2**63 - 1
_LIKE_OF = str.maketrans({"*": "%", "?": "_", "%": "\\%", "_": "\\_", "\\": "\\\\"})
_STATUSES = frozenset(map(str, (*TaskStatus, *RunOutcome)))
_IMPLIED = {
    "EXECUTED": "t.executor_id IS NOT NULL",
    "QUEUED": "(t.ready = 1 OR t.ready = 2 OR t.gate IS NOT NULL "
    "OR t.ready = 0 AND t.gate IS NULL)",
}
"""What is true of every task with a status, as the conditions of partial indexes."""
_FEW = frozenset({"EXECUTED", "FAILED", "QUEUED", "SUSPENDED", "WAITING"})
"""The statuses that have partial indexes. Most tasks have others."""
_SPARSE = frozenset(
    {"cron", "every", "executor_id", "group", "next_run", "next_task", "parent_id", "user_id"}
)
"""The columns with nulls that have an index of the tasks with a value."""
_COMMON = frozenset({"group", "user_id"})
"""Those of them that most tasks may have. With a status that few tasks have, these are sorted:
perhaps all of them stand at the end of the index."""
_ORDERS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}

DEFINITION_COLUMNS = {
    "created": "created",
    "cron": "cron",
    "every": "every_seconds",
    "next_task": "next_task",
    "system": "system",
    "notify": "notify",
    "group": "group_name",
    "group_id": "group_id",
    "user_id": "user_id",
    "parent_id": "parent_id",
    "description": "description",
}
_TASK_SQL = {
    name: f"d.{DEFINITION_COLUMNS[name]}" if name in DEFINITION_COLUMNS else f"t.{name}"
    for name in TASK_COLUMNS
}

NEEDED = "needed"
"""Whether other tasks need an ended task: an open run has created it or waits for it, or a task
that has not ended for good starts it by `next_task`, also after up to 15 others. Not for clients.
"""
_NEXT_DEPTH = 16
_ENDED = "('FINISHED', 'FAILED')"
# Scalar subqueries: of EXISTS, PostgreSQL may read and hash all tasks for a few rows.
_NEEDED_SQL = (
    "coalesce((SELECT TRUE FROM tasks o WHERE o.id = d.parent_id AND o.run_open), "
    "(SELECT TRUE FROM children c JOIN tasks o ON o.id = c.parent_id AND o.job_id = c.parent_job "
    "WHERE c.child_id = t.id AND NOT c.made AND o.run_open LIMIT 1), "
    "(WITH RECURSIVE before (id, depth) AS (SELECT t.id, 0 UNION SELECT n.task_id, b.depth + 1 "
    f"FROM before b JOIN definitions n ON n.next_task = b.id WHERE b.depth < {_NEXT_DEPTH}) "
    f"SELECT TRUE FROM before b JOIN tasks o ON o.id = b.id WHERE o.status NOT IN {_ENDED} "
    "LIMIT 1), FALSE)"
)


class Dialect(Protocol):
    """The differences between the databases.

    :ivar join_in_order: a join whose left table is read first, if the database would have to be
        asked for it
    :ivar reads_index_alone: whether reading only an index is much cheaper than reading its rows
    :ivar failed_method: the column with the method of failed tasks, if there is one
    """

    join_in_order: str
    reads_index_alone: bool
    failed_method: str | None

    def placeholder(self, number: int, kind: type) -> str:
        """The placeholder of a value, by its number from 1."""
        ...

    def differs(self, left: str, right: str) -> str:
        """A test of whether two values differ, where null counts as a value."""
        ...

    def one_of(self, column: str, number: int, kind: type) -> str:
        """A test of whether a column is in a list, which `pack` has converted to one value."""
        ...

    def pack(self, values: list[Any], kind: type) -> Any:
        """Convert a list to one value for `one_of`."""
        ...

    def bytes_of(self, column: str) -> str:
        """The size of a text in bytes; 0 of null."""
        ...

    def item_of(self, column: str, index: str) -> str:
        """An item of a JSON list of texts that are not empty, by its index from 0; null if there
        is none."""
        ...

    def label(self, key: str) -> str:
        """The value of a label in `d.labels`, by its key, which needs no quoting."""
        ...

    def label_is(self, key: str, value: str) -> str:
        """A test of whether a label in `d.labels` has a value, which can read an index."""
        ...

    def seconds_of(self, column: str) -> str:
        """UNIX seconds of an ISO-8601 time in UTC."""
        ...

    def error_type(self, column: str) -> str:
        """The type of an error, which its JSON begins with. It never fails, whatever is stored."""
        ...


class Query:
    """Builds the text of a statement and collects its values.

    :param sorted_by: expressions to sort by in place of those of some columns
    """

    def __init__(
        self,
        dialect: Dialect,
        columns: Mapping[str, str],
        kinds: Mapping[str, type],
        never_null: Container[str] = (),
        unestimated: Container[str] = (),
        labelled: bool = False,
        implied: Mapping[str, str] | None = None,
        sorted_by: Mapping[str, str] | None = None,
    ) -> None:
        self.values: list[Any] = []
        self._dialect = dialect
        self._columns = columns
        self._kinds = kinds
        self._never_null = never_null
        self._unestimated = unestimated
        self._labelled = labelled
        self._implied = implied or {}
        self._sorted_by = sorted_by or {}

    def bind(self, value: Any, kind: type) -> str:
        self.values.append(value)
        return self._dialect.placeholder(len(self.values), kind)

    def column(self, name: str) -> str:
        if self._labelled and (key := label_key(name)) is not None:
            return self._dialect.label(key)
        if name not in self._columns:
            raise InvalidParams(f"there is no column `{name:.100}`", field=name)
        return self._columns[name]

    def _key(self, name: str) -> str:
        """What is sorted for a column."""
        return self._sorted_by.get(name) or self.column(name)

    def _kind(self, name: str) -> type:
        return self._kinds.get(name, str)

    def where(self, conditions: Sequence[Condition]) -> str:
        """The conditions joined by AND, or `TRUE` if there are none."""
        return " AND ".join(self._expected(one) for one in conditions) or "TRUE"

    def _expected(self, one: Condition) -> str:
        """A condition. PostgreSQL expects that next to no row meets one on an expression, and would
        read and sort all rows instead of the first of an index; of `coalesce`, it expects that
        every second row does."""
        test = self._condition(one)
        return f"coalesce({test}, FALSE)" if one.column in self._unestimated else test

    def _condition(self, one: Condition) -> str:
        if one.op == "in" and isinstance(one.value, list | tuple) and len(one.value) == 1:
            one = Condition(one.column, "eq", one.value[0])  # which can read a partial index
        column, kind = self.column(one.column), self._kind(one.column)
        if one.op == "in":
            return self._in(one, column, kind)
        if one.value is None:
            nulls = {"eq": f"{column} IS NULL", "ne": f"{column} IS NOT NULL"}
            return nulls.get(one.op, "FALSE")
        if one.op == "like":
            return self._like(one, column, kind)
        if one.op == "glob":
            return self._glob(one, column)
        if one.op == "eq" and one.column == "status" and one.value in _STATUSES:
            return self._status(one.value)
        value = self.bind(_fitting(one.column, kind, one.value), kind)
        if one.op == "eq" and one.column not in self._columns:
            return self._dialect.label_is(one.column.removeprefix(LABEL), value)
        if one.op == "eq":
            return f"{column} = {value}"
        if one.op == "ne":
            return self._dialect.differs(column, value)
        if one.op in _ORDERS:
            return f"{column} {_ORDERS[one.op]} {value}"
        raise InvalidParams(
            f"`{one.op:.100}` is not an operator: use eq, ne, in, gt, ge, lt, le or like",
            field=one.column,
        )

    def _status(self, status: str) -> str:
        same = f"{self.column('status')} = '{status}'"  # a literal, for the partial indexes
        implied = self._implied.get(status)
        return same if implied is None else f"{same} AND {implied}"

    def _in(self, one: Condition, column: str, kind: type) -> str:
        if not isinstance(one.value, list | tuple | set | frozenset):
            raise InvalidParams(
                f"`in` requires a list of values for `{one.column}`", field=one.column
            )
        if len(one.value) > LIST_LIMIT:
            raise InvalidParams(
                f"the list for `{one.column}` may have at most {LIST_LIMIT} items",
                field=one.column,
            )
        few = one.column == "status" and one.value and _FEW.issuperset(one.value)
        if self._implied and few:
            return f"({' OR '.join(self._status(one) for one in sorted(set(one.value)))})"
        values = [_fitting(one.column, kind, v) for v in one.value if v is not None]
        self.values.append(self._dialect.pack(values, kind))
        found = self._dialect.one_of(column, len(self.values), kind)
        return f"({found} OR {column} IS NULL)" if None in one.value else found

    def _like(self, one: Condition, column: str, kind: type) -> str:
        if kind is not str or not isinstance(one.value, str):
            raise InvalidParams(
                f"`like` requires a text column and a text pattern, not `{one.column}` and "
                f"{one.value!r:.100}",
                field=one.column,
            )
        if len(one.value) > PATTERN_LIMIT:
            raise InvalidParams(
                f"a pattern may have at most {PATTERN_LIMIT} characters", field=one.column
            )
        pattern = storable(one.value)
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            pattern += "\\"
        return f"{column} LIKE {self.bind(pattern, str)} ESCAPE '\\'"

    def _glob(self, one: Condition, column: str) -> str:
        globs = one.value
        self.values.append(self._dialect.pack([glob for glob in globs if is_literal(glob)], str))
        tests = [self._dialect.one_of(column, len(self.values), str)]
        for glob in globs:
            if not is_literal(glob):
                tests.append(f"{column} LIKE {self.bind(like_of(glob), str)} ESCAPE '\\'")
        return f"({' OR '.join(tests)})"

    def order(self, keys: Sequence[tuple[str, bool]]) -> str:
        return ", ".join(
            f"{self._key(name)} {'DESC' if descending else 'ASC'}{self._nulls(name)}"
            for name, descending in keys
        )

    def _nulls(self, name: str) -> str:
        return "" if name in self._never_null else " NULLS LAST"

    def after(
        self, keys: Sequence[tuple[str, bool]], values: Sequence[Any], *, in_order: bool = True
    ) -> str:
        """A test of whether a row comes after the row with these key values, nulls last.

        :param in_order: whether an index of the first key may be read from there
        """
        if len(keys) != len(values):
            raise InvalidParams("the cursor does not belong to this sort", field="cursor")
        either, same = [], []
        for (name, descending), value in zip(keys, values, strict=True):
            column, kind = self._key(name), self._kinds[name]
            if value is None:
                same.append(f"{column} IS NULL")
                continue
            bound = self.bind(_fitting(name, kind, value), kind)
            sign = "<" if descending else ">"
            later = f"({column} {sign} {bound} OR {column} IS NULL)"
            either.append(" AND ".join([*same, later]))
            same.append(f"{column} = {bound}")
        if not either:
            return "FALSE"
        bound = self._bound(keys[0], values[0]) if in_order else ""
        return f"{bound}({' OR '.join(f'({one})' for one in either)})"

    def _bound(self, key: tuple[str, bool], value: Any) -> str:
        """A condition on the first key, so that an index can be read from there."""
        name, descending = key
        if name not in self._never_null or value is None:
            return ""
        bound = self.bind(_fitting(name, self._kinds[name], value), self._kinds[name])
        return f"{self._key(name)} {'<=' if descending else '>='} {bound} AND "


def _fitting(name: str, kind: type, value: Any) -> Any:
    """Convert a value to the type of a column. Numbers out of range become the nearest limit."""
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


def like_of(glob: str) -> str:
    """The LIKE pattern, escaped by backslashes, that matches what a glob matches."""
    return storable(glob).translate(_LIKE_OF)


def sight_conditions(sight: Sight) -> list[Condition]:
    """The conditions on tasks, and on what belongs to tasks, that a sight stands for."""
    found = [] if sight.owner is None else [Condition("user_id", "eq", sight.owner)]
    return found + [Condition(STREAM, "glob", globs) for globs in sight.streams]


def _real(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def task_query(
    dialect: Dialect,
    never_null: Container[str] = NEVER_NULL,
    *,
    failed: bool = False,
    of_definitions: bool = False,
) -> Query:
    """A query over tasks `t` and their definitions `d`.

    :param never_null: the columns without nulls in the tasks that are read
    :param failed: whether only failed tasks are read
    :param of_definitions: whether only `d` is read
    """
    columns = _TASK_SQL | {
        # a subquery: a join would read all definitions first, because nothing estimates its rows
        "method": f"(SELECT {dialect.item_of('m.methods', 't.stage')} FROM definitions m "
        "WHERE m.task_id = t.id)",
        "error.type": dialect.error_type("t.error"),
        NEEDED: _NEEDED_SQL,
    }
    if of_definitions:
        columns["id"] = "d.task_id"
    kinds = TASK_COLUMNS | {NEEDED: bool}
    # a sort reads the methods of all tasks that match, for which a join takes half the time
    method = dialect.item_of("d.methods", "t.stage")
    if failed and dialect.failed_method is not None:
        method = dialect.failed_method
    return Query(
        dialect,
        columns,
        kinds,
        never_null,
        ("method",),
        labelled=True,
        implied=_IMPLIED,
        sorted_by={"method": method},
    )


def _source(*parts: str) -> str:
    """The tables that these parts of a query over tasks need."""
    text = " ".join(parts)
    if not re.search(r"\bd\.", text):
        return "tasks t"
    return "tasks t JOIN definitions d ON d.task_id = t.id"


def _counted_source(where: str) -> str:
    """As `_source`, for rows that are only counted: each definition has its task."""
    of_task, of_definition = (re.search(rf"\b{table}\.", where) for table in "td")
    return "definitions d" if of_definition and not of_task else _source(where)


def page(dialect: Dialect, query: TaskQuery, task_columns: str) -> tuple[str, list[Any]]:
    """A statement for one page of tasks, with the rev and the body of their definitions, and the
    number of tasks in the page, of which those beyond READ_BYTES_MAX are left out."""
    made, ids, order = _page_ids(dialect, query)
    limit, offset = made.bind(query.limit, int), made.bind(query.offset, int)
    most = made.bind(READ_BYTES_MAX, int)
    size = _task_size(dialect, query.with_results)
    return (
        f"WITH page AS MATERIALIZED ({ids(limit, offset)}), "
        f"sized AS (SELECT t.id AS sized_id, {running_size(size, order)} "
        "FROM page JOIN tasks t ON t.id = page_id JOIN definitions d ON d.task_id = page_id) "
        f"SELECT {task_columns}, d.rev, d.body, (SELECT count(*) FROM page) FROM sized "
        "JOIN tasks t ON t.id = sized_id JOIN definitions d ON d.task_id = sized_id "
        f"WHERE {within_bytes(most)} ORDER BY {order}",
        made.values,
    )


def _page_ids(dialect: Dialect, query: TaskQuery) -> tuple[Query, Callable[[str, str], str], str]:
    """The query of a page, a SELECT of its ids by its limit and offset, and its order.

    If the first column of the sort has an index of the tasks with a value, these are read in its
    order, and the others, which come last, only if they do not fill the page.
    """
    keys = keys_of(query.sort)
    first, conditions = keys[0][0], query.conditions
    valued = any(_needs_value(one) for one in conditions if one.column == first)
    sorted_whole = first in _COMMON and any(map(_is_of_few, conditions))
    by_parts = first in _SPARSE and not valued and not sorted_whole
    never_null = NEVER_NULL | {first} if valued or by_parts else NEVER_NULL
    failed = any(map(_is_failed, conditions))
    alone = _needs_only_definitions([one.column for one in conditions], keys)

    def made_for(never_null: Container[str]) -> Query:
        return task_query(dialect, never_null, failed=failed, of_definitions=alone)

    made = made_for(never_null)
    where = made.where(conditions)
    after = None if query.after is None else key_values(query.sort, query.after)

    def chosen(where: str, order: str, limit: str) -> str:
        source = "definitions d" if alone else _source(where, order)
        return (
            f"SELECT {made.column('id')} AS page_id FROM {source} WHERE {where} "
            f"ORDER BY {order} {limit}"
        )

    def following(keys: Sequence[tuple[str, bool]], after: Sequence[Any] | None) -> str:
        return where if after is None else f"({where}) AND {made.after(keys, after)}"

    if not by_parts:
        order, limited = made.order(keys), following(keys, after)

        def ids(limit: str, offset: str) -> str:
            return chosen(limited, order, f"LIMIT {limit} OFFSET {offset}")

        return made, ids, order
    parts = []
    if after is None or after[0] is not None:
        with_value = f"({following(keys, after)}) AND {made.column(first)} IS NOT NULL"
        parts.append((with_value, made.order(keys)))
        after = None
    rest = keys[1:]
    without = following(rest, None if after is None else after[1:])
    parts.append((f"({without}) AND {made.column(first)} IS NULL", made.order(rest)))

    def ids_of_parts(limit: str, offset: str) -> str:
        read = " UNION ALL ".join(
            f"SELECT page_id FROM ({chosen(where, order, f'LIMIT {limit} + {offset}')}) AS part{n}"
            for n, (where, order) in enumerate(parts)
        )
        return f"SELECT page_id FROM ({read}) AS parts LIMIT {limit} OFFSET {offset}"

    return made, ids_of_parts, made_for(NEVER_NULL).order(keys)


def _needs_value(one: Condition) -> bool:
    """Whether no task without a value meets a condition."""
    if one.op == "in":
        return None not in _allowed(one)
    return one.value is None if one.op == "ne" else one.value is not None


def _is_of_few(one: Condition) -> bool:
    """Whether only tasks with statuses that few tasks have meet a condition."""
    return one.column == "status" and bool(allowed := _allowed(one)) and allowed <= _FEW


def _is_failed(one: Condition) -> bool:
    """Whether only failed tasks meet a condition."""
    return one.column == "status" and _allowed(one) == {TaskStatus.FAILED}


def _allowed(one: Condition) -> set[Any]:
    """The values that a condition lists."""
    if one.op == "in" and isinstance(one.value, list | tuple | set | frozenset):
        return set(one.value)
    return {one.value} if one.op == "eq" else set()


def _needs_only_definitions(names: Sequence[str], keys: Sequence[tuple[str, bool]]) -> bool:
    """Whether a page can be found in the definitions alone: each definition has its task."""
    columns = {*names, *(name for name, _ in keys)}
    read = {one for one in columns if one in DEFINITION_COLUMNS or label_key(one) is not None}
    return bool(read) and columns - read <= {"id"}


def with_progress(task_columns: str) -> str:
    """The columns of tasks, and the progress of their running stages."""
    return (
        f"{task_columns}, CASE WHEN t.executor_id IS NOT NULL THEN (SELECT p.body FROM progress p "
        "WHERE p.task_id = t.id AND p.job_id = t.job_id AND p.epoch = t.epoch "
        "AND p.stage = t.stage) END AS progress"
    )


def _task_size(dialect: Dialect, with_results: bool) -> str:
    """The bytes that are read of a task."""
    return dialect.bytes_of("d.body") + (" + t.result_bytes" if with_results else "")


def running_size(size: str, order: str) -> str:
    """The size of a row, and the size of all rows up to it."""
    rows = f"(ORDER BY {order} ROWS UNBOUNDED PRECEDING)"
    return f"{size} AS size, sum({size}) OVER {rows} AS read_bytes"


def within_bytes(most: str) -> str:
    """A test of whether all rows up to this one have few enough bytes. The first row always has."""
    return f"(read_bytes <= {most} OR read_bytes = size)"


def keys_of(sort: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """The sort keys without duplicates, ending with the id as the tie-breaker."""
    keys: list[tuple[str, bool]] = []
    for name, descending in sort:
        if all(name != known for known, _ in keys):
            keys.append((name, descending))
    return keys if any(name == "id" for name, _ in keys) else [*keys, ("id", False)]


def key_values(sort: Sequence[tuple[str, bool]], after: Sequence[Any]) -> list[Any]:
    """The values of `keys_of`, taken from the values of the given sort and the id."""
    names = [*(name for name, _ in sort), "id"]
    if len(names) != len(after):
        raise InvalidParams("the cursor does not belong to this sort", field="cursor")
    first: dict[str, Any] = {}
    for name, value in zip(names, after, strict=True):
        first.setdefault(name, value)
    return [first[name] for name, _ in keys_of(sort)]


def bounded_count(dialect: Dialect, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """A statement that counts matching tasks, up to COUNT_LIMIT + 1."""
    made = task_query(dialect)
    where = made.where(conditions)
    limit = made.bind(COUNT_LIMIT + 1, int)
    inner = f"SELECT 1 AS one FROM {_counted_source(where)} WHERE {where} LIMIT {limit}"
    return f"SELECT count(*) FROM ({inner}) AS counted", made.values


def count(dialect: Dialect, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """A statement that counts matching tasks."""
    made = task_query(dialect)
    where = made.where(conditions)
    return f"SELECT count(*) FROM {_counted_source(where)} WHERE {where}", made.values


def situations(dialect: Dialect, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """A statement that counts matching tasks by their `Situation`."""
    made = task_query(dialect)
    where = made.where(conditions)
    last = "CASE WHEN t.stage < t.stages THEN t.stage ELSE t.stages - 1 END"
    held = (
        f"CASE WHEN (t.status = '{TaskStatus.SUSPENDED}' OR t.hold_next) "
        f"AND coalesce(t.status_reason, '') <> '{Reason.USER}' THEN 1 ELSE 0 END"
    )
    return (
        f"SELECT t.status, t.run_open, t.exit_code, {last}, {held}, count(*) "
        f"FROM {_source(where)} WHERE {where} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5",
        made.values,
    )


def next_ids(
    dialect: Dialect, conditions: Sequence[Condition], after: str | None, limit: int
) -> tuple[str, list[Any]]:
    """A statement for the next matching tasks, in the order of their ids: id, rev, version."""
    made = task_query(dialect)
    where = made.where(conditions)
    if after is not None:
        where = f"({where}) AND t.id > {made.bind(after, str)}"
    size = made.bind(limit, int)
    return (
        f"SELECT t.id, t.rev, t.version FROM {_source(where)} WHERE {where} "
        f"ORDER BY t.id LIMIT {size}",
        made.values,
    )


def tasks(
    dialect: Dialect,
    task_columns: str,
    ids: list[str],
    conditions: Sequence[Condition],
    results: bool,
) -> tuple[str, list[Any]]:
    """A statement that reads tasks by their ids; see `page`.

    :param conditions: more conditions
    :param results: whether their results will be read, too
    """
    where = dialect.one_of("t.id", 1, str)
    joined = "tasks t JOIN definitions d ON d.task_id = t.id"
    few = f"SELECT {task_columns}, d.rev, d.body, 1 FROM {joined} WHERE "
    if len(ids) < 2 and not conditions:
        return few + where, [dialect.pack(ids, str)]
    made = task_query(dialect)
    made.values.append(dialect.pack(ids, str))
    if conditions:
        where = f"{where} AND {made.where(conditions)}"
    if len(ids) < 2:
        return few + where, made.values
    most = made.bind(READ_BYTES_MAX, int)
    size = running_size(_task_size(dialect, results), "t.id")
    return (
        f"WITH sized AS MATERIALIZED (SELECT t.id AS sized_id, {size} FROM {joined} WHERE {where}) "
        f"SELECT {task_columns}, d.rev, d.body, (SELECT count(*) FROM sized) FROM sized "
        "JOIN tasks t ON t.id = sized_id JOIN definitions d ON d.task_id = sized_id "
        f"WHERE {within_bytes(most)}",
        made.values,
    )


def too_costly() -> TooLarge:
    """The error of a read that has spent its budget of time."""
    return TooLarge(
        f"this was read for more than {READ_SECONDS:g} seconds: ask for less, with conditions that "
        "fewer tasks meet",
        limit=READ_SECONDS,
    )


def too_large() -> TooLarge:
    """The error of a read whose rows have more than READ_BYTES_MAX bytes."""
    return TooLarge(
        f"this would read more than {READ_BYTES_MAX} bytes: ask for fewer at once, or without "
        "results",
        limit=READ_BYTES_MAX,
    )


def stage_records(
    dialect: Dialect, columns: str, job_id: str, conditions: Sequence[Condition]
) -> tuple[str, list[Any]]:
    """A statement for the ended attempts of a run, if its task meets the conditions, and their
    number, of which those beyond READ_BYTES_MAX are left out."""
    made = task_query(dialect)
    of_run, most = f"s.job_id = {made.bind(job_id, str)}", made.bind(READ_BYTES_MAX, int)
    size, order = dialect.bytes_of("s.result"), "s.cycle, s.stage, s.attempt"
    seen = ""
    if conditions:
        seen = (
            " AND EXISTS (SELECT 1 FROM tasks t JOIN definitions d ON d.task_id = t.id "
            f"WHERE t.id = s.task_id AND {made.where(conditions)})"
        )
    return (
        f"SELECT {columns}, s.page_rows FROM (SELECT s.*, count(*) OVER () AS page_rows, "
        f"{running_size(size, order)} FROM stages s WHERE {of_run}{seen}) s "
        f"WHERE {within_bytes(most)} ORDER BY {order}",
        made.values,
    )


class Table(Struct, frozen=True):
    """A table that is listed in pages, newest first unless a sort is given.

    :param task_id: the column with the id of the task that a row is about
    :param large: the columns that can be large
    :param about_task: a test of whether a row is about a task
    """

    name: str
    selected: Sequence[str]
    kinds: Mapping[str, type]
    newest_first: tuple[tuple[str, bool], ...]
    task_id: str
    large: Sequence[str]
    about_task: str = "TRUE"

    def query(self, dialect: Dialect) -> Query:
        """The stream is that of the task that a row is about: one with the same id that was created
        later is another task, of which nothing is known here."""
        columns = {name: f"r.{name}" for name in self.kinds}
        time, _ = self.newest_first[0]
        same = f"d.created <= r.{time}"
        if self.kinds[time] is float:
            same = f"{dialect.seconds_of('d.created')} <= r.{time} + {CREATED_SECONDS}"
        columns[STREAM] = (
            "(SELECT t.app_name FROM tasks t JOIN definitions d ON d.task_id = t.id "
            f"WHERE t.id = r.{self.task_id} AND {same} AND {self.about_task})"
        )
        return Query(dialect, columns, {**self.kinds, STREAM: str})


NOTIFICATIONS = Table(
    "notifications",
    NOTIFICATION_SELECTED,
    NOTIFICATION_COLUMNS,
    (("created", True),),
    "task_id",
    ("kws", "result", "error"),
)
AUDIT = Table(
    "audit",
    AUDIT_SELECTED,
    AUDIT_COLUMNS,
    (("at", True),),
    "target",
    ("data",),
    "r.action LIKE 'tasks.%'",
)
BULKS = Table(
    "bulks", BULK_SELECTED, BULK_COLUMNS, (("started", True),), "id", ("body", "progress")
)


def rows(dialect: Dialect, table: Table, query: PageQuery) -> tuple[str, list[Any]]:
    """A statement for one page of a table, and the number of its rows, of which those beyond
    READ_BYTES_MAX are left out."""
    made = table.query(dialect)
    sort = query.sort or table.newest_first
    keys = keys_of(sort)
    where = made.where(query.conditions)
    if query.after is not None:
        where = f"({where}) AND {made.after(keys, key_values(sort, query.after))}"
    limit, offset = made.bind(query.limit, int), made.bind(query.offset, int)
    most, order = made.bind(READ_BYTES_MAX, int), made.order(keys)
    selected = ", ".join(f"r.{name}" for name in table.selected)
    size = " + ".join(dialect.bytes_of(f"r.{name}") for name in table.large)
    return (
        f"SELECT {selected}, r.page_rows FROM (SELECT r.*, count(*) OVER () AS page_rows, "
        f"{running_size(size, order)} FROM (SELECT r.* FROM {table.name} r WHERE {where} "
        f"ORDER BY {order} LIMIT {limit} OFFSET {offset}) r) r "
        f"WHERE {within_bytes(most)} ORDER BY {order}",
        made.values,
    )


def marks(
    dialect: Dialect, start: float, end: float, limit: int, sight: Sight
) -> tuple[str, list[Any]]:
    """A statement for the marks of a time that a sight sees, the last first. Marks of all streams
    are always seen."""
    made = Query(dialect, {"at": "m.at", STREAM: "m.app_name"}, {"at": float})
    where = made.where([Condition("at", "ge", start), Condition("at", "lt", end)])
    if sight.streams:
        seen = made.where([Condition(STREAM, "glob", globs) for globs in sight.streams])
        where = f"{where} AND (m.app_name IS NULL OR {seen})"
    return (
        f"SELECT m.id, m.at, m.label, m.app_name, m.user_id FROM marks m WHERE {where} "
        f"ORDER BY m.at DESC, m.id LIMIT {made.bind(limit, int)}",
        made.values,
    )


def row_count(
    dialect: Dialect, table: Table, conditions: Sequence[Condition]
) -> tuple[str, list[Any]]:
    """A statement that counts matching rows of a table."""
    made = table.query(dialect)
    return f"SELECT count(*) FROM {table.name} r WHERE {made.where(conditions)}", made.values
