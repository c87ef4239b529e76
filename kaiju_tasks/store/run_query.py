"""Statements for the runs of all tasks. A run has the stream and group that its task has now."""

import re
from collections.abc import Sequence
from typing import Any

from kaiju_tasks.store.base import COUNT_LIMIT, RUN_COLUMNS, Condition, PageQuery
from kaiju_tasks.store.parts import label_key
from kaiju_tasks.store.query import (
    READ_BYTES_MAX,
    Dialect,
    Query,
    key_values,
    keys_of,
    running_size,
    within_bytes,
)

__all__ = ["LAST_ENDED", "bounded_count", "is_rare", "page"]

LAST_ENDED: tuple[tuple[str, bool], ...] = (("ended_at", True),)
_NEVER_NULL = frozenset(
    {"id", "task_id", "status", "ended_at", "retries", "stage", "stages", "app_name"}
)
_ELSEWHERE = {
    "app_name": "t.app_name",
    "cron": "d.cron",
    "every": "d.every_seconds",
    "group": "d.group_name",
    "group_id": "d.group_id",
    "user_id": "d.user_id",
    "parent_id": "d.parent_id",
    "rev": "r.version",
}
_OF_TASK = {name for name, column in _ELSEWHERE.items() if not column.startswith("r.")}
_OF_MANY = frozenset({"app_name", "user_id"})
"""Columns of tasks that many tasks share."""
_LAST = LAST_ENDED[0]
_COLUMNS = {name: _ELSEWHERE.get(name, f"r.{name}") for name in RUN_COLUMNS} | {"id": "r.run_id"}
_KINDS = {**RUN_COLUMNS, "id": str}
_TASK = " JOIN tasks t ON t.id = r.task_id"
_DEFINITION = " JOIN definitions d ON d.task_id = r.task_id"
_SELECTED = (
    "r.run_id, r.task_id, r.job_id, r.status, r.scheduled_at, r.queued_at, r.started_at, "
    "r.ended_at, r.exit_code, r.error, r.retries, r.stage, r.stages, r.executor_id, r.note, "
    "r.version, "
    "t.app_name, d.group_name, d.group_id, d.parent_id, d.labels"
)


def is_rare(conditions: Sequence[Condition], total: int) -> bool:
    """Whether the tasks that meet a condition on a label have few runs, so that these are sorted
    instead of all runs being read in order."""
    return total <= COUNT_LIMIT and any(label_key(one.column) is not None for one in conditions)


def page(dialect: Dialect, query: PageQuery, *, rare: bool = False) -> tuple[str, list[Any]]:
    """A statement for one page of runs, and their number, of which those beyond READ_BYTES_MAX are
    left out. The values are those of `kaiju_tasks.store.columns.found_run_of`.

    :param rare: whether the tasks that meet the conditions are read first, see `is_rare`
    """
    made = _query(dialect)
    sort = query.sort or LAST_ENDED
    keys = keys_of(sort)
    few = dialect.reads_index_alone and _of_few(query) and keys[0] == _LAST
    where = selected = made.where(query.conditions)
    if query.after is not None:  # between two bounds, PostgreSQL would read the runs of all tasks
        after = made.after(keys, key_values(sort, query.after), in_order=not few)
        where = f"({where}) AND {after}"
    if few:
        where = f"{where} AND r.ended_at >= {_bound(made, selected, query)}"
    order = made.order(keys)
    limit, offset = made.bind(query.limit, int), made.bind(query.offset, int)
    most, size = made.bind(READ_BYTES_MAX, int), dialect.bytes_of("r.error")
    source = _source(where, order)
    if rare:
        source = f"definitions d {dialect.join_in_order} runs r ON r.task_id = d.task_id{_TASK}"
    return (
        f"WITH page AS MATERIALIZED (SELECT r.run_id AS page_id FROM {source} "
        f"WHERE {where} ORDER BY {order} LIMIT {limit} OFFSET {offset}), "
        f"sized AS (SELECT r.run_id AS sized_id, {running_size(size, order)} "
        f"FROM page JOIN runs r ON r.run_id = page_id{_TASK}{_DEFINITION}) "
        f"SELECT {_SELECTED}, (SELECT count(*) FROM page) "
        f"FROM sized JOIN runs r ON r.run_id = sized_id{_TASK}{_DEFINITION} "
        f"WHERE {within_bytes(most)} ORDER BY {order}",
        made.values,
    )


def _of_few(query: PageQuery) -> bool:
    """Whether these are the runs of few tasks."""
    names = [one.column for one in query.conditions]
    of_tasks = all(name in _OF_TASK or label_key(name) is not None for name in names)
    return of_tasks and not _OF_MANY.issuperset(names)


def _bound(made: Query, where: str, query: PageQuery) -> str:
    """A time before which no run of a page has ended. An index has the times of the runs of a task;
    so only the runs of the page, and those that come before it, are read from the table.

    :param where: the conditions of the query
    """
    if query.after is not None:  # those that ended at the same time are on the page in any case
        earlier = made.where([Condition("ended_at", "lt", query.after[0])])
        where = f"({where}) AND {earlier}"
    most = made.bind(query.limit + query.offset, int)
    return (
        f"coalesce((SELECT min(b.ended_at) FROM (SELECT r.ended_at FROM {_source(where)} "
        f"WHERE {where} ORDER BY r.ended_at DESC LIMIT {most}) b), 0)"
    )


def bounded_count(dialect: Dialect, conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """A statement that counts matching runs, up to COUNT_LIMIT + 1."""
    made = _query(dialect)
    where = made.where(conditions)
    limit = made.bind(COUNT_LIMIT + 1, int)
    inner = f"SELECT 1 AS one FROM {_source(where)} WHERE {where} LIMIT {limit}"
    return f"SELECT count(*) FROM ({inner}) AS counted", made.values


def _query(dialect: Dialect) -> Query:
    columns = _COLUMNS | {"error.type": dialect.error_type("r.error")}
    return Query(dialect, columns, _KINDS, _NEVER_NULL, ("error.type",), labelled=True)


def _source(*parts: str) -> str:
    """The tables that these parts of a statement need."""
    text = " ".join(parts)
    task = _TASK if re.search(r"\bt\.", text) else ""
    definition = _DEFINITION if re.search(r"\bd\.", text) else ""
    return f"runs r{task}{definition}"
