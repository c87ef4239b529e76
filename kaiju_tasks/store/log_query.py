"""The statement that reads log lines, for both databases."""

from collections.abc import Sequence
from typing import Any

from kaiju_tasks.store.base import Condition
from kaiju_tasks.store.logs import LogQuery
from kaiju_tasks.store.query import Dialect, task_query

__all__ = ["chunks"]


def chunks(
    dialect: Dialect, query: LogQuery, seen: Sequence[Condition], limit: int
) -> tuple[str, list[Any]]:
    """A statement for the first chunks of a query, in the order of their lines.

    :param seen: conditions on the task
    """
    made = task_query(dialect)
    tests = [f"l.job_id = {made.bind(query.job_id, str)}"]
    if query.stage is not None:
        tests.append(f"l.stage = {made.bind(query.stage, int)}")
    if query.attempt is not None:
        tests.append(f"l.attempt = {made.bind(query.attempt, int)}")
    if query.above:
        tests.append(f"l.last > {made.bind(query.above, int)}")
    if query.after is not None:
        place = ", ".join(made.bind(value, int) for value in query.after)
        tests.append(f"(l.cycle, l.stage, l.attempt, l.last) > ({place})")
    if seen:
        tests.append(
            "EXISTS (SELECT 1 FROM tasks t JOIN definitions d ON d.task_id = t.id "
            f"WHERE t.id = l.task_id AND {made.where(seen)})"
        )
    return (
        "SELECT l.job_id, l.cycle, l.stage, l.attempt, l.last, l.body FROM logs l "
        f"WHERE {' AND '.join(tests)} ORDER BY l.cycle, l.stage, l.attempt, l.n "
        f"LIMIT {made.bind(limit, int)}",
        made.values,
    )
