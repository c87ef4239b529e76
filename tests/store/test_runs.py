"""Ended runs of all tasks: the same answers from both stores."""

from typing import Any

import pytest

from kaiju_tasks.lifecycle import Cancel, StageFailed
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.store import Condition, PageQuery, Store
from kaiju_tasks.store.base import RUN_COLUMNS, RUN_ONLY_FILTERS, FoundRun, RunPage
from kaiju_tasks.types import ErrorType, TaskError
from tests.store.making import acquire, add, connect, definition, finish, happen, lease_of


async def fill(store: Store) -> None:
    """Runs of all outcomes, of two streams, owners and groups."""
    await connect(store, app_names=["default", "mail"])
    await add(
        store,
        definition("ok", group="g", user_id="ann"),
        definition("bad", group="g", app_name="mail", user_id="bob"),
        definition("gone", app_name="mail", user_id="ann"),
        definition("open", user_id="ann"),
    )
    await happen(store, "gone", Cancel())
    for row in await acquire(store, app_name="mail"):
        error = TaskError(ErrorType.STAGE_TIMEOUT, "too long")
        await happen(store, row.id, StageFailed(lease=lease_of(row), stage=0, error=error))
    rows = await acquire(store)
    await finish(store, [row for row in rows if row.id == "ok"])


async def listed(
    store: Store, *conditions: Condition, sight: Sight = ALL_SIGHT, **query: Any
) -> list[str]:
    page = await store.find_runs(PageQuery(conditions, limit=100, **query), sight)
    assert page.total == len(page.runs)
    return [found.run.task_id for found in page.runs]


async def test_ended_runs_are_listed_last_ended_first_with_what_their_tasks_are(
    store: Store,
) -> None:
    await fill(store)
    assert await listed(store) == ["ok", "bad", "gone"]
    page = await store.find_runs(PageQuery([Condition("task_id", "eq", "bad")]), ALL_SIGHT)
    (found,) = page.runs
    run = found.run
    assert (found.run_id, run.job_id, run.app_name, run.group) == (
        "job-bad", "job-bad", "mail", "g",
    )  # fmt: skip
    assert b'"stage_timeout"' in bytes(run.error)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("status", "FAILED", ["bad", "gone"]),
        ("status", "FINISHED", ["ok"]),
        ("error.type", "stage_timeout", ["bad"]),
        ("error.type", None, ["ok"]),
        ("app_name", "mail", ["bad", "gone"]),
        ("group", "g", ["ok", "bad"]),
        ("user_id", "ann", ["ok", "gone"]),
        ("executor_id", "e1", ["ok", "bad"]),
        ("cron", None, ["ok", "bad", "gone"]),
        ("job_id", "job-ok", ["ok"]),
        ("exit_code", 130, ["gone"]),
    ],
)
async def test_runs_are_found_by(
    store: Store, column: str, value: Any, expected: list[str]
) -> None:
    await fill(store)
    assert await listed(store, Condition(column, "eq", value)) == expected


async def test_runs_of_tasks_that_are_not_seen_are_not_listed(store: Store) -> None:
    await fill(store)
    assert await listed(store, sight=Sight(owner="ann")) == ["ok", "gone"]
    assert await listed(store, sight=Sight(streams=(("ma*",),))) == ["bad", "gone"]
    assert await listed(store, sight=Sight("ann", (("mail",),))) == ["gone"]


@pytest.mark.parametrize("column", sorted(RUN_COLUMNS.keys() - RUN_ONLY_FILTERS))
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_by_every_column_are_the_whole_list(
    store: Store, column: str, descending: bool
) -> None:
    await fill(store)
    sort = ((column, descending),)
    whole = await listed(store, sort=sort)
    pages: list[str] = []
    after: list[Any] | None = None
    while True:
        query = PageQuery(sort=sort, limit=1, after=after)
        page: RunPage = await store.find_runs(query, ALL_SIGHT)
        if not page.runs:
            break
        (found,) = page.runs
        pages.append(found.run.task_id)
        after = [value_of(found, column), found.run_id]
    assert pages == whole
    assert len(whole) == 3


async def test_pages_of_the_runs_of_few_tasks_are_the_whole_list(store: Store) -> None:
    await fill(store)
    for conditions in ([Condition("group", "eq", "g")], [Condition("cron", "eq", None)]):
        whole = await listed(store, *conditions)
        pages: list[str] = []
        for offset in range(len(whole) + 1):
            pages += await listed_ids(store, PageQuery(conditions, limit=1, offset=offset))
        assert pages == whole
        (first,) = (await store.find_runs(PageQuery(conditions, limit=1), ALL_SIGHT)).runs
        after = [value_of(first, "ended_at"), first.run_id]
        assert await listed_ids(store, PageQuery(conditions, LAST, after=after)) == whole[1:]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_pages_of_runs_that_ended_together_are_the_whole_list(
    store: Store, limit: int
) -> None:
    await connect(store, capacity=20)
    await add(store, *(definition(f"t{n:02}", group="g" if n % 3 else "h") for n in range(12)))
    rows = await acquire(store, limit=12)
    for first in range(0, 12, 4):
        await finish(store, rows[first : first + 4])
    conditions = [Condition("group", "eq", "g")]
    whole = await listed(store, *conditions)
    assert len(whole) == 8
    pages: list[str] = []
    after: list[Any] | None = None
    for _ in range(0, 8, limit):
        page = await store.find_runs(
            PageQuery(conditions, LAST, limit=limit, after=after), ALL_SIGHT
        )
        pages += [found.run.task_id for found in page.runs]
        after = [value_of(page.runs[-1], "ended_at"), page.runs[-1].run_id]
    assert pages == whole


LAST = (("ended_at", True),)


async def listed_ids(store: Store, query: PageQuery) -> list[str]:
    return [one.run.task_id for one in (await store.find_runs(query, ALL_SIGHT)).runs]


def value_of(found: FoundRun, column: str) -> Any:
    error = found.run.error
    if column == "error.type":
        return None if error is None else bytes(error).split(b'"')[3].decode()
    return getattr(found.run, column)
