"""What PostgreSQL does with each filter and sort of `tasks.list` and `runs.list`, and with the
statements of the other calls that list or explain: it reads an index.

The columns without an index are named here, so that a new one is decided on.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.store import Condition, PageQuery, TaskQuery, run_query
from kaiju_tasks.store import query as queries
from kaiju_tasks.store.base import RUN_COLUMNS, TASK_COLUMNS
from kaiju_tasks.store.postgres.dialect import PostgresDialect
from kaiju_tasks.store.postgres.saving import SQL
from tests.store.many import explained

DIALECT = PostgresDialect()
NEWEST, LAST_ENDED = (("created", True),), (("ended_at", True),)
MANY_BYTES = 1_000_000
Statement = tuple[str, list[Any]]

TASK_FILTERS: dict[str, tuple[Condition, str]] = {
    "id": (Condition("id", "eq", "t7"), "tasks_pkey"),
    "ids": (Condition("id", "in", ["t7", "t8", "t9"]), "tasks_pkey"),
    "queued": (Condition("status", "eq", "QUEUED"), "tasks_ready"),
    "running": (Condition("status", "eq", "EXECUTED"), "tasks_leased"),
    "waiting": (Condition("status", "eq", "WAITING"), "tasks_waiting"),
    "suspended": (Condition("status", "eq", "SUSPENDED"), "tasks_suspended"),
    "open": (
        Condition("status", "in", ["QUEUED", "EXECUTED", "WAITING", "SUSPENDED"]),
        "tasks_waiting",
    ),
    "executor_id": (Condition("executor_id", "eq", "e7"), "tasks_leased"),
    "created": (Condition("created", "ge", "1970-01-02T03:46:00"), "definitions_created"),
    "cron": (Condition("cron", "eq", "0 9 * * *"), "definitions_cron"),
    "every": (Condition("every", "eq", 60.0), "definitions_every"),
    "group": (Condition("group", "eq", "g7"), "definitions_group"),
    "parent_id": (Condition("parent_id", "eq", "t7"), "definitions_parent"),
    "next_task": (Condition("next_task", "eq", "t7"), "definitions_next"),
    "label.team": (Condition("label.team", "eq", "nobody"), "definitions_labels"),
    "user_id": (Condition("user_id", "eq", "nobody"), "definitions_owner"),
    "next_run": (Condition("next_run", "lt", 500_100.0), "tasks_next_run"),
}
"""Filters that few tasks meet, and the index that finds these."""
WITHOUT_INDEX = {
    "app_name": "app7",
    "status_reason": "retry",
    "enabled": False,
    "priority": 5,
    "stage": 1,
    "stages": 7,
    "method": "mail.send",
    "error.type": "abort",
    "retries": 1,
    "exit_code": 130,
    "job_id": "job7",
    "queued_at": 7.0,
    "exec_deadline": 7.0,
    "wait_deadline": 7.0,
    "scheduled_at": 7.0,
    "status_change": 7.0,
    "system": True,
    "notify": True,
    "group_id": "7",
    "description": "x",
}
"""Columns whose index would slow down every task, because most of them change with every stage.
They are meant to be used beside other filters: if few tasks meet such a condition alone, all tasks
are read."""
FREQUENT = {
    "app_name": ("app7", "definitions_created"),
    "enabled": (True, "definitions_created"),
    "user_id": ("u7", "definitions_owner"),
    "status": ("FAILED", "definitions_created"),
}
"""Conditions that many tasks meet: the newest of these are read in the order of an index."""
SORTS_WITH_INDEX = {
    "created": "definitions_created",
    "id": "tasks_pkey",
    "next_run": "tasks_next_run",
    "cron": "definitions_cron",
    "every": "definitions_every",
    "executor_id": "tasks_leased",
    "group": "definitions_group",
    "next_task": "definitions_next",
    "parent_id": "definitions_parent",
    "user_id": "definitions_owner",
}
"""Other sorts read all tasks, or those that meet a filter with an index."""
FAILED_SORTS: dict[tuple[tuple[str, bool], ...], str] = {
    (("method", False),): "tasks_failed",  # all at one method: they are sorted by id
    (("method", True),): "tasks_failed",
    (("method", False), ("error.type", False)): "tasks_failed_method",
    (("method", False), ("error.type", False), ("status_change", False)): "tasks_failed_method",
}
"""Sorts of failed tasks by their method, without their definitions."""

RUN_FILTERS: dict[str, tuple[Condition, str]] = {
    "id": (Condition("id", "eq", "run7"), "runs_pkey"),
    "task_id": (Condition("task_id", "eq", "t7"), "runs_task"),
    "status": (Condition("status", "eq", "FAILED"), "runs_failed"),
    "app_name": (Condition("app_name", "eq", "app7"), "runs_ended"),
    "ended_at": (Condition("ended_at", "ge", 299_000.0), "runs_ended"),
    "group": (Condition("group", "eq", "g7"), "definitions_group"),
    "label.team": (Condition("label.team", "eq", "nobody"), "definitions_labels"),
    "parent_id": (Condition("parent_id", "eq", "t7"), "definitions_parent"),
    "cron": (Condition("cron", "eq", "0 9 * * *"), "definitions_cron"),
    "every": (Condition("every", "eq", 60.0), "definitions_every"),
    "user_id": (Condition("user_id", "eq", "nobody"), "definitions_owner"),
}


def statements() -> dict[str, Statement]:
    """What is explained, by a name."""
    found: dict[str, Statement] = {}
    for name, (condition, _) in TASK_FILTERS.items():
        found[f"tasks of {name}"] = _tasks(condition)
        found[f"number of tasks of {name}"] = queries.bounded_count(DIALECT, [condition])
    for name, (value, _) in FREQUENT.items():
        found[f"tasks of frequent {name}"] = _tasks(Condition(name, "eq", value))
    for name in SORTS_WITH_INDEX:
        for descending in (False, True):
            query = TaskQuery(sort=((name, descending),), limit=50)
            found[f"tasks by {name} {descending}"] = queries.page(DIALECT, query, "t.id")
    for sort in FAILED_SORTS:
        query = TaskQuery([Condition("status", "eq", "FAILED")], sort, limit=50)
        found[f"failed tasks by {sort}"] = queries.page(DIALECT, query, "t.id")
    for name in TASK_COLUMNS:
        query = TaskQuery([Condition("status", "eq", "WAITING")], ((name, True),), limit=50)
        found[f"waiting tasks by {name}"] = queries.page(DIALECT, query, "t.id")
    for name, (condition, _) in RUN_FILTERS.items():
        found[f"runs of {name}"] = run_query.page(DIALECT, PageQuery([condition], LAST_ENDED))
    return found | OTHERS


def _tasks(condition: Condition) -> Statement:
    return queries.page(DIALECT, TaskQuery([condition], NEWEST, limit=50), "t.id")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


OF_TASK = [Condition("target", "eq", "t7")]
OTHERS: dict[str, Statement] = {
    "audit": queries.rows(DIALECT, queries.AUDIT, PageQuery()),
    "a later page of the audit": queries.rows(
        DIALECT, queries.AUDIT, PageQuery(sort=(("at", True),), after=[50_000.0, "a50000"])
    ),
    "audit of a time": queries.rows(
        DIALECT, queries.AUDIT, PageQuery([Condition("at", "ge", 99_900.0)])
    ),
    "audit of a task": queries.rows(DIALECT, queries.AUDIT, PageQuery(OF_TASK)),
    "size of the audit of a task": queries.row_count(DIALECT, queries.AUDIT, OF_TASK),
    "bulk calls": queries.rows(DIALECT, queries.BULKS, PageQuery()),
    "notifications": queries.rows(DIALECT, queries.NOTIFICATIONS, PageQuery()),
    "marks": queries.marks(DIALECT, 99_000.0, 99_900.0, 100, ALL_SIGHT),
    "marks of a stream": queries.marks(
        DIALECT, 99_000.0, 99_900.0, 100, Sight(streams=(("app7", "mail*"),))
    ),
    "stats of an hour": (SQL["stats"], [60, 0, 3600, 60, _json(["runs.failed"]), None]),
    "stats of hours and a stream": (
        SQL["stats"],
        [60, 0, 21_600, 600, _json(["runs.failed", "stages.seconds"]), _json(["app7"])],
    ),
    "waits of an hour": (SQL["stat_durations"], ["stages.seconds", 86_400]),
    "streams of the stats of an hour": (SQL["stat_streams"], [60, 0, 3600]),
    "schedules by their next run": queries.page(
        DIALECT,
        TaskQuery([Condition("cron", "ne", None)], (("next_run", False),), limit=50),
        "t.id",
    ),
    "coming fires": queries.page(
        DIALECT,
        TaskQuery(
            [
                Condition("enabled", "eq", True),
                Condition("next_run", "ge", 500_100.0),
                Condition("next_run", "lt", 600_000.0),
                Condition("cron", "ne", None),
            ],
            (("next_run", False),),
            limit=101,
        ),
        "t.id",
    ),
    "inbox": (SQL["inbox"], ["t7", MANY_BYTES]),
    "runs of a task": (SQL["runs"], ["t7", 100, MANY_BYTES]),
    "stages of a run": queries.stage_records(DIALECT, "s.job_id", "run7", []),
    "tasks to explain": queries.tasks(
        DIALECT, "t.id", [f"t{number}" for number in range(100)], [], results=False
    ),
    "children to explain": (SQL["children"], ["job7", 1]),
    "family": queries.page(
        DIALECT,
        TaskQuery([Condition("parent_id", "in", ["t7", "t8"])], (("created", False),)),
        "t.id",
    ),
}
OTHER_INDEXES = {
    "audit": "audit_at",
    "a later page of the audit": "audit_at",
    "audit of a time": "audit_at",
    "audit of a task": "audit_target",
    "size of the audit of a task": "audit_target",
    "bulk calls": "bulks_started",
    "notifications": "notifications_created",
    "marks": "marks_at",
    "marks of a stream": "marks_at",
    "stats of an hour": "stats_name",
    "stats of hours and a stream": "stats_name",
    "waits of an hour": "stats_name",
    "streams of the stats of an hour": "stats_pkey",
    "schedules by their next run": "tasks_next_run",
    "coming fires": "tasks_next_run",
    "inbox": "inbox_message",
    "runs of a task": "runs_task",
    "stages of a run": "stages_pkey",
    "tasks to explain": "tasks_pkey",
    "children to explain": "children_pkey",
    "family": "definitions_parent",
}


def indexes() -> dict[str, str]:
    """The index that each statement reads, at least."""
    found = {f"tasks of {name}": index for name, (_, index) in TASK_FILTERS.items()}
    found |= {f"number of {name}": index for name, index in found.items()}
    found |= {f"tasks of frequent {name}": index for name, (_, index) in FREQUENT.items()}
    for name, index in SORTS_WITH_INDEX.items():
        found |= {f"tasks by {name} {descending}": index for descending in (False, True)}
    found |= {f"failed tasks by {sort}": index for sort, index in FAILED_SORTS.items()}
    found |= {f"waiting tasks by {name}": "tasks_waiting" for name in TASK_COLUMNS}
    found |= {f"runs of {name}": index for name, (_, index) in RUN_FILTERS.items()}
    return found | OTHER_INDEXES


def test_every_column_has_an_index_or_is_known_to_have_none() -> None:
    filtered = {condition.column for condition, _ in TASK_FILTERS.values()}
    assert {name for name in filtered if "label" not in name} | WITHOUT_INDEX.keys() == set(
        TASK_COLUMNS
    )
    assert not filtered & WITHOUT_INDEX.keys()
    assert {condition.column for condition, _ in RUN_FILTERS.values()} <= {
        *RUN_COLUMNS,
        "id",
        "label.team",
    }
    assert statements().keys() == indexes().keys()


async def test_every_call_that_lists_reads_an_index(many: Any) -> None:
    wanted, wrong = indexes(), {}
    for name, (text, values) in statements().items():
        plan, _ = await explained(many, text, values)
        (read,) = msgspec.json.decode(plan)
        if f'"{wanted[name]}' not in plan or "Seq Scan" in set(_nodes(read["Plan"])):
            wrong[name] = plan
    assert not wrong, "\n".join(f"{name} should read {wanted[name]}" for name in wrong)


def _nodes(plan: Any) -> Iterator[str]:
    """The kinds of the nodes of a plan that were executed."""
    if plan["Actual Loops"]:
        yield plan["Node Type"]
    for node in plan.get("Plans", ()):
        yield from _nodes(node)
