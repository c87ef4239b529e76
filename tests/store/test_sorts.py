"""Every sort of `tasks.list` is a total order: its pages are the whole list, on both stores."""

import random
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec import Raw
from msgspec.structs import replace

from kaiju_tasks.api.views import column_value
from kaiju_tasks.lifecycle import Command, Definition, Row, Step
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import TASK_COLUMNS, Condition, Store, TaskQuery, TaskView
from tests.store.making import definition, new_step
from tests.store.test_reading import TEXTS

FAILED = Condition("status", "eq", "FAILED")
METHODS = ["do.echo", "DO.echo", "mail.send", "é.send", "漢\\字", 'a"b']
STATUSES = ["IDLE", "QUEUED", "EXECUTED", "WAITING", "SUSPENDED", "FINISHED", "FAILED"]
Sort = Sequence[tuple[str, bool]]


async def fill(store: Store, seed: int, count: int = 40) -> None:
    """Tasks with each status, and with ties, nulls, and texts that collations disagree on."""
    dice = random.Random(seed)
    async with store.transaction() as tx:
        ids = [f"t{dice.choice(TEXTS)}{number}" for number in range(count)]
        steps = [new_step(_defined(dice, id, ids), tx.now) for id in ids]
        await tx.insert(steps)
    async with store.transaction() as tx:
        rows = await tx.lock(ids)
        await tx.save([Step(_placed(dice, row)) for row in rows.values()])


def _defined(dice: random.Random, id: str, ids: list[str]) -> Definition:
    every = dice.choice([None, None, 60.0, 3600.0])
    return definition(
        id,
        commands=[Command(dice.choice(METHODS), Raw(b"{}")) for _ in range(dice.randint(1, 3))],
        app_name=dice.choice(["a", "A", "ä"]),
        priority=dice.choice([-3, 0, 0, 5]),
        group=dice.choice([None, *TEXTS[:4]]),
        group_id=dice.choice([None, "1", "10", "9"]),
        description=dice.choice([None, "x", "X", "y"]),
        user_id=dice.choice([None, "ann", "Ann", "bob"]),
        parent_id=dice.choice([None, None, *ids[:2]]),
        next_task=dice.choice([None, None, *ids[:2]]),
        every=every,
        cron=None if every else dice.choice([None, "0 9 * * *", "@daily"]),
        system=dice.random() < 0.5,
        notify=dice.random() < 0.5,
        created=f"2026-01-0{dice.randint(1, 9)}T00:00:00+00:00",
    )


def _placed(dice: random.Random, row: Row) -> Row:
    """The row with another status."""
    status = dice.choice(STATUSES)
    leased = status == "EXECUTED"
    failed = status == "FAILED"
    kind = dice.choice(["execution_error", "stage_timeout"])
    return replace(
        row,
        status=status,
        reason=dice.choice([None, "user", "retry"]),
        ready=1 if status == "QUEUED" else 0,
        held="QUEUED" if status == "SUSPENDED" else None,
        enabled=dice.random() < 0.8,
        open=status not in ("IDLE", "FINISHED", "FAILED"),
        stage=row.stages if status == "FINISHED" else dice.randrange(row.stages),
        retries=dice.randrange(3),
        executor_id=dice.choice(["e1", "E1", "e2"]) if leased else None,
        nonce="n" if leased else None,
        job_id=row.job_id or "j" if leased else dice.choice([None, "j", "J"]),
        exit_code=1 if failed else 0 if status == "FINISHED" else None,
        error=f'{{"type":"{kind}","message":"m","stage":0,"data":null}}' if failed else None,
        next_run=dice.choice([None, 1.5, 2.5]),
        queued_at=dice.choice([1.0, 2.0]) if status == "QUEUED" else dice.choice([None, 1.0]),
        exec_deadline=9.0 if leased else dice.choice([None, 8.0]),
        wait_deadline=dice.choice([None, 3.0, 4.0]),
        scheduled_at=dice.choice([None, 1.0, 2.0]),
        status_change=dice.choice([1.0, 2.0, 3.0]),
    )


def in_order(views: Sequence[TaskView], sort: Sort) -> list[str]:
    """The order that is promised: nulls last both ways, text by code point, the id last."""
    ordered = sorted(views, key=lambda view: view.row.id)
    for column, descending in reversed(sort):
        there = [view for view in ordered if column_value(view, column) is not None]
        absent = [view for view in ordered if column_value(view, column) is None]
        there.sort(key=lambda view: column_value(view, column), reverse=descending)
        ordered = there + absent
    return [view.row.id for view in ordered]


async def pages(store: Store, query: TaskQuery) -> AsyncIterator[list[TaskView]]:
    """The pages of a list, by cursor."""
    while True:
        page = await store.find(query, ALL_SIGHT)
        yield page.tasks
        if len(page.tasks) < query.limit:
            return
        last = page.tasks[-1]
        values = [column_value(last, column) for column, _ in query.sort]
        query = replace(query, after=[*values, last.row.id])


async def listed(store: Store, query: TaskQuery) -> list[str]:
    return [view.row.id async for page in pages(store, query) for view in page]


async def listed_by_offset(store: Store, query: TaskQuery) -> list[str]:
    found: list[str] = []
    while page := (await store.find(replace(query, offset=len(found)), ALL_SIGHT)).tasks:
        found += [view.row.id for view in page]
    return found


async def whole(store: Store, conditions: Sequence[Condition]) -> list[TaskView]:
    """All tasks that meet conditions, without a sort that reads an index."""
    return (await store.find(TaskQuery(conditions, limit=1000), ALL_SIGHT)).tasks


@pytest.mark.parametrize("column", TASK_COLUMNS)
async def test_pages_by_every_column_are_the_whole_list(store: Store, column: str) -> None:
    await fill(store, seed=3)
    few = [Condition("status", "in", ["FAILED", "WAITING", "EXECUTED"])]
    some = [Condition("app_name", "in", ["a", "ä"])]
    for conditions in ([], [FAILED], few, some):
        views = await whole(store, conditions)
        for descending in (False, True):
            query = TaskQuery(conditions, ((column, descending),), limit=7)
            promised = in_order(views, query.sort)
            assert await listed(store, query) == promised
            assert await listed_by_offset(store, query) == promised


@pytest.mark.parametrize("seed", range(20))
async def test_pages_by_any_columns_are_the_whole_list(store: Store, seed: int) -> None:
    await fill(store, seed)
    dice = random.Random(seed)
    for _ in range(5):
        names = dice.sample(sorted(TASK_COLUMNS), dice.randint(1, 4))
        sort = [(name, dice.random() < 0.5) for name in names]
        values = [column_value(view, names[0]) for view in await whole(store, [])]
        some = next((value for value in values if value is not None), None)
        conditions = dice.choice(
            [
                [],
                [FAILED],
                [Condition(names[0], "ne", None)],
                [Condition(names[0], "eq", None)],
                [Condition(names[0], "in", [some, None])],
                [] if some is None else [Condition(names[0], "ne", some)],
                [] if some is None else [Condition(names[0], "le", some)],
            ]
        )
        promised = in_order(await whole(store, conditions), sort)
        query = TaskQuery(conditions, sort, limit=dice.randint(1, 15))
        assert await listed(store, query) == promised, (sort, conditions)
        assert await listed_by_offset(store, query) == promised, (sort, conditions)


@pytest.mark.parametrize(("column", "descending"), [("group", False), ("next_run", True)])
async def test_tasks_that_do_not_change_are_listed_once_while_others_do(
    store: Store, column: str, descending: bool
) -> None:
    await fill(store, seed=5)
    dice, sort = random.Random(5), ((column, descending),)
    views = await whole(store, [])
    moved = {view.row.id for view in dice.sample(views, 20)}
    query, seen = TaskQuery(sort=sort, limit=4), list[str]()
    async for page in pages(store, query):
        seen += [view.row.id for view in page]
        async with store.transaction() as tx:
            ids = dice.sample(sorted(moved), 5)
            rows = await tx.lock(ids)
            for id, stored in (await tx.definitions(ids)).items():
                changed = replace(stored.definition, group=dice.choice([None, "a", "漢"]))
                row = replace(rows[id], next_run=dice.choice([None, 1.0, 2.0]))
                row.rev += 1
                await tx.save([Step(row, definition=changed)])
    kept = [view for view in views if view.row.id not in moved]
    assert [id for id in seen if id not in moved] == in_order(kept, sort)


async def test_failed_tasks_are_sorted_by_the_methods_that_they_have_now(store: Store) -> None:
    async with store.transaction() as tx:
        commands = [Command("b", Raw(b"{}")), Command("c", Raw(b"{}"))]
        await tx.insert([new_step(definition(id, commands=commands), tx.now) for id in "xyz"])
    error = '{"type":"abort","message":"m","stage":0,"data":null}'
    for id, stage in (("x", 1), ("y", 0), ("z", 0)):
        async with store.transaction() as tx:
            row = (await tx.lock([id]))[id]
            failed = replace(row, status="FAILED", ready=0, open=False, exit_code=1, error=error)
            await tx.save([Step(replace(failed, stage=stage))])
    query = TaskQuery([FAILED], (("method", False),))
    assert await listed(store, query) == ["y", "z", "x"]
    async with store.transaction() as tx:
        row, stored = (await tx.lock(["z"]))["z"], (await tx.definitions(["z"]))["z"]
        row.rev += 1
        edited = replace(stored.definition, commands=[Command("a", Raw(b"{}")), commands[1]])
        await tx.save([Step(row, definition=edited)])
    assert await listed(store, query) == ["z", "y", "x"]
    assert await listed(store, replace(query, sort=(("method", True),))) == ["x", "y", "z"]
