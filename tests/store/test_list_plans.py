"""What PostgreSQL does with lists of many tasks and runs: it reads an index, and few pages."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kaiju_tasks.store import Condition, PageQuery, TaskQuery, run_query
from kaiju_tasks.store import query as queries
from kaiju_tasks.store.open import migrate
from kaiju_tasks.store.postgres.dialect import PostgresDialect
from kaiju_tasks.store.postgres.saving import SQL
from kaiju_tasks.store.sqlite.dialect import SqliteDialect
from tests.store.many import explained
from tests.store.schema_dump import file_of

DIALECT = PostgresDialect()
FAILED = Condition("status", "eq", "FAILED")
LAST_FAILED = (("status_change", True),)
TASK_LISTS: dict[str, tuple[TaskQuery, str]] = {
    "newest first": (TaskQuery(sort=(("created", True),)), "definitions_created"),
    "a later page": (
        TaskQuery(sort=(("created", True),), after=["1970-01-01T10:00:00", "t36000"]),
        "definitions_created",
    ),
    "failed": (TaskQuery([FAILED], LAST_FAILED), "tasks_failed"),
    "a later page of failed": (
        TaskQuery([FAILED], LAST_FAILED, after=[50_000.0, "t50000"]),
        "tasks_failed",
    ),
    "failed for a reason": (
        TaskQuery([FAILED, Condition("error.type", "eq", "abort")], LAST_FAILED),
        "tasks_failed_type",
    ),
    "failed at a method": (
        TaskQuery([FAILED, Condition("method", "eq", "mail.send")], LAST_FAILED),
        "tasks_failed",
    ),
    "failed, as a list of one": (
        TaskQuery([Condition("status", "in", ["FAILED"])], LAST_FAILED),
        "tasks_failed",
    ),
    "failed in a stream": (
        TaskQuery([FAILED, Condition("app_name", "eq", "app20")], LAST_FAILED),
        "tasks_failed",
    ),
    "running": (
        TaskQuery([Condition("status", "eq", "EXECUTED")], (("status_change", False),)),
        "tasks_leased",
    ),
    "waiting": (TaskQuery([Condition("status", "eq", "WAITING")], LAST_FAILED), "tasks_waiting"),
    "suspended": (
        TaskQuery([Condition("status", "eq", "SUSPENDED")], LAST_FAILED),
        "tasks_suspended",
    ),
    "what a task created": (
        TaskQuery([Condition("parent_id", "in", ["t7"])], (("created", False),)),
        "definitions_parent",
    ),
    "scheduled": (
        TaskQuery([Condition("cron", "ne", None)], (("next_run", False),)),
        "tasks_next_run",
    ),
    "a rare label": (  # of a frequent one, the first rows in order are read instead
        TaskQuery([Condition("label.team", "eq", "nobody")], (("created", True),)),
        "definitions_labels",
    ),
    "a group": (
        TaskQuery([Condition("group", "eq", "g7")], (("created", True),)),
        "definitions_group",
    ),
}


LAST_ENDED = (("ended_at", True),)
RUN_LISTS: dict[str, tuple[PageQuery, str]] = {
    "last ended": (PageQuery(), "runs_ended"),
    "a later page": (PageQuery(sort=LAST_ENDED, after=[100_000.0, "run100000"]), "runs_ended"),
    "of a time": (
        PageQuery([Condition("ended_at", "ge", 1_000.0), Condition("ended_at", "lt", 2_000.0)]),
        "runs_ended",
    ),
    "failed": (PageQuery([FAILED]), "runs_failed"),
    "failed for a reason": (
        PageQuery([FAILED, Condition("error.type", "eq", "abort")]),
        "runs_failed",
    ),
    "of a task": (PageQuery([Condition("task_id", "eq", "t7")]), "runs_task"),
    "of a stream": (PageQuery([Condition("app_name", "eq", "app20")]), "runs_ended"),
    "of a group": (PageQuery([Condition("group", "eq", "g7")]), "definitions_group"),
    "of an owner without tasks": (
        PageQuery([Condition("user_id", "eq", "nobody")]),
        "definitions_owner",
    ),
    "one": (PageQuery([Condition("id", "eq", "run7")]), "runs_pkey"),
    "of a version of a task": (
        PageQuery([Condition("task_id", "eq", "t7"), Condition("rev", "eq", 2)]),
        "runs_task",
    ),
}


async def test_lists_of_runs_read_few_pages_of_an_index(many: Any) -> None:
    for name, (query, index) in RUN_LISTS.items():
        text, values = run_query.page(DIALECT, query)
        plan, pages = await explained(many, text, values)
        assert f'"{index}"' in plan, (name, plan)
        assert '"Seq Scan"' not in plan, (name, plan)
        assert pages < 40_000, (name, pages)  # of the 15,000 failed ones, each is read at most once


@pytest.mark.parametrize(
    ("after", "pages"), [(None, 1), ([280_006.0, "run280006"], 2), ([260_006.0, "run260006"], 3)]
)
async def test_of_the_runs_of_a_group_only_those_up_to_the_page_are_read(
    many: Any, after: list[Any] | None, pages: int
) -> None:
    query = PageQuery([Condition("group", "eq", "g7")], LAST_ENDED, limit=20, after=after)
    text, values = run_query.page(DIALECT, query)
    plan, _ = await explained(many, text, values)
    assert _read_of(msgspec.json.decode(plan)[0]["Plan"]) <= (pages + 2) * 20, plan


def _read_of(node: Any) -> int:
    """How many runs a plan reads from the table, and not only in an index."""
    own = 0
    if node.get("Relation Name") == "runs" and node["Node Type"] != "Index Only Scan":
        own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return own + sum(map(_read_of, node.get("Plans", ())))


async def test_counts_of_streams_read_partial_indexes(many: Any) -> None:
    plan, pages = await explained(many, SQL["streams"], [])
    assert '"Seq Scan"' not in plan, plan
    assert pages < 100
    plan, pages = await explained(many, SQL["recent_waits"], [0.0, 5_000])
    assert '"runs_ended"' in plan, plan
    assert '"Seq Scan"' not in plan, plan
    assert pages < 40_000


async def test_open_tasks_are_counted_without_those_that_have_ended(many: Any) -> None:
    plan, _ = await explained(many, SQL["open_tasks"], [])
    assert '"tasks_next_run"' in plan, plan
    assert _scanned(msgspec.json.decode(plan)[0]["Plan"]).isdisjoint({"tasks"}), plan
    found = await many.fetch(SQL["open_tasks"])
    assert {tuple(row) for row in found} == {(f"u{n}", 500) for n in range(10)}


def _scanned(node: Any) -> set[str]:
    """The tables that a plan reads as a whole."""
    own = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return own.union(*map(_scanned, node.get("Plans", ())))


async def test_versions_of_a_task_read_an_index(many: Any) -> None:
    plan, pages = await explained(many, SQL["versions"], ["t7", 1000, 100, 1_000_000])
    assert '"versions_pkey"' in plan, plan
    assert pages < 20
    progress = queries.with_progress("t.id")
    text, values = queries.tasks(DIALECT, progress, ["t7", "t8"], [], results=True)
    plan, pages = await explained(many, text, values)
    assert '"progress_pkey"' in plan, plan
    assert pages < 50
    plan, pages = await explained(many, SQL["prune_versions"], [500.0, 500, -1.0])
    assert '"versions_replaced"' in plan, plan
    assert '"Seq Scan"' not in plan, plan
    assert pages < 20_000


async def test_tasks_that_others_need_are_found_by_indexes(many: Any) -> None:
    ids = [f"t{20 * n}" for n in range(1, 501)]
    conditions = [Condition("id", "in", ids), Condition(queries.NEEDED, "eq", False)]
    text, values = queries.next_ids(DIALECT, conditions, None, 500)
    plan, pages = await explained(many, text, values)
    for index in ("definitions_next", "children_named", "tasks_pkey"):
        assert f'"{index}"' in plan, (index, plan)
    assert pages < 12_000  # some of each index for each task


async def test_lists_of_tasks_read_few_pages_of_an_index(many: Any) -> None:
    for name, (query, index) in TASK_LISTS.items():
        text, values = queries.page(DIALECT, query, "t.id")
        plan, pages = await explained(many, text, values)
        assert f'"{index}"' in plan, (name, plan)
        assert '"Seq Scan"' not in plan, (name, plan)
        assert pages < 6_000, (name, pages)  # of the 5,000 failed ones, each is read at most once


def test_sqlite_reads_the_same_indexes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    asyncio.run(migrate(url))
    pages = [queries.page(SqliteDialect(), query, "t.id") for query, _ in TASK_LISTS.values()]
    pages += [run_query.page(SqliteDialect(), query) for query, _ in RUN_LISTS.values()]
    names = [f"task {name}" for name in TASK_LISTS] + [f"run {name}" for name in RUN_LISTS]
    by_index = {
        "task failed": "tasks_failed",
        "task a later page of failed": "tasks_failed",
        "task failed, as a list of one": "tasks_failed",
        "task failed for a reason": "tasks_failed_type",
        "task running": "tasks_leased",
        "task waiting": "tasks_waiting",
        "task suspended": "tasks_suspended",
        "task newest first": "definitions_created",
        "task a later page": "definitions_created",
        "run last ended": "runs_ended",
        "run failed": "runs_failed",
        "run of a task": "runs_task",
    }
    with closing(sqlite3.connect(file_of(url))) as db:
        for name, (text, values) in zip(names, pages, strict=True):
            plan = db.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
            if name in by_index:
                assert any(f"INDEX {by_index[name]} " in f"{row[3]} " for row in plan), (name, plan)
