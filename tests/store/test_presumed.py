"""What a presumed transaction writes, and that it writes nothing if a presumption is wrong."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.json import encode
from msgspec.structs import replace

from kaiju_tasks.lifecycle import Acquired, Row, Step, TaskState, advance
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Store
from kaiju_tasks.store.open import make_store
from kaiju_tasks.store.postgres.store import PostgresStore
from kaiju_tasks.store.presumed import NotPresumable, Presumed, PresumedTransaction
from tests.store.making import acquire, add, connect, definition, finished, new_step
from tests.support.stepped import stepped_store

SIZES = [1, 2, 3, 8, 9, 50]
"""How many rows: as single parameters, with rows that fill up the number, and as arrays."""


def presumed(
    inserted: Sequence[Step] = (),
    saved: Sequence[Step] = (),
    before: Sequence[Row] = (),
    sessions: dict[str, str] | None = None,
    pauses_revision: int = 0,
    clock_revision: int = 0,
) -> Presumed:
    return Presumed(
        list(inserted),
        list(saved),
        list(before),
        sessions or {},
        pauses_revision,
        clock_revision,
    )


async def rows_of(store: Store, ids: Sequence[str]) -> dict[str, Row]:
    return {id: view.row for id, view in (await store.tasks(ids, ALL_SIGHT)).items()}


async def revision_of(store: Store) -> int:
    async with store.transaction() as tx:
        return (await tx.pauses()).revision


@pytest.mark.parametrize("size", SIZES)
async def test_new_tasks_are_written_whole(store: Store, size: int) -> None:
    steps = [new_step(f"t{n}", store.clock()) for n in range(size)]
    assert await store.write_presumed(presumed(steps))
    views = await store.tasks([step.row.id for step in steps], ALL_SIGHT)
    assert {id: (view.row, view.definition) for id, view in views.items()} == {
        step.row.id: (step.row, step.definition) for step in steps
    }
    assert not await store.write_presumed(presumed(steps[-1:]))


@pytest.mark.parametrize("size", SIZES)
async def test_no_task_is_inserted_if_one_id_is_taken(store: Store, size: int) -> None:
    steps = [new_step(f"t{n}", store.clock()) for n in range(size)]
    await add(store, "t0")
    assert not await store.write_presumed(presumed(steps))
    assert (await rows_of(store, [step.row.id for step in steps])).keys() == {"t0"}


async def leased(store: Store, size: int) -> list[Row]:
    await connect(store)
    await add(store, *(definition(f"t{n}", stages=2) for n in range(size)))
    return await acquire(store, size)


def reported(rows: Sequence[Row], now: float) -> list[Step]:
    return [
        advance(TaskState(row, definition(row.id, stages=2)), finished(row), now) for row in rows
    ]


@pytest.mark.parametrize("size", SIZES)
async def test_reports_are_written_with_their_history(store: Store, size: int) -> None:
    rows = await leased(store, size)
    for _ in range(2):
        steps = reported(rows, store.clock())
        assert await store.write_presumed(presumed(saved=steps, before=rows))
        assert not await store.write_presumed(presumed(saved=steps, before=rows))
        stored = await rows_of(store, [row.id for row in rows])
        assert stored == {step.row.id: step.row for step in steps}
        rows = [step.row for step in steps]
    for row in rows:
        assert row.status == "FINISHED"
        assert len(await store.stage_records(f"job-{row.id}", ALL_SIGHT)) == 2
        assert len(await store.runs(row.id, ALL_SIGHT)) == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_presumed", [True, False])
async def test_large_texts_are_written_as_they_are(
    store: Store, size: int, is_presumed: bool
) -> None:
    text = 'a, {b} "c" \\ NULL ünï🦖 ' * 100
    await connect(store)
    made = [definition(f"t{n}", description=text * (n % 3)) for n in range(size)]
    new = [new_step(one, store.clock()) for one in made]
    if is_presumed:
        assert await store.write_presumed(presumed(new))
    else:
        async with store.transaction() as tx:
            assert not await tx.insert(new)
    rows = await acquire(store, size)
    results = {row.id: encode(text * (n % 4)) for n, row in enumerate(rows)}
    steps = [
        advance(TaskState(row, definition(row.id)), finished(row, results[row.id]), store.clock())
        for row in rows
    ]
    if is_presumed:
        assert await store.write_presumed(presumed(saved=steps, before=rows))
    else:
        async with store.transaction() as tx:
            await tx.lock([row.id for row in rows])
            await tx.save(steps)
    views = await store.tasks([row.id for row in rows], ALL_SIGHT)
    assert {id: view.definition for id, view in views.items()} == {one.id: one for one in made}
    assert {id: [bytes(one) for one in view.results or []] for id, view in views.items()} == {
        id: [result] for id, result in results.items()
    }


@pytest.mark.parametrize("size", SIZES)
async def test_every_column_is_written_if_one_of_a_task_changes_that_rarely_does(
    store: Store, size: int
) -> None:
    rows = await leased(store, size)
    steps = reported(rows, store.clock())
    last = replace(steps[-1].row, priority=7, queue_left=1.5)
    steps[-1] = replace(steps[-1], row=last)
    assert await store.write_presumed(presumed(saved=steps, before=rows))
    assert await rows_of(store, [row.id for row in rows]) == {one.row.id: one.row for one in steps}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wrong", [{"version": 7}, {"rev": 7}])
async def test_no_task_is_saved_if_one_has_changed(
    store: Store, size: int, wrong: dict[str, int]
) -> None:
    rows = await leased(store, size)
    steps = reported(rows, store.clock())
    known = [*rows[:-1], _changed(rows[-1], wrong)]
    assert not await store.write_presumed(presumed(saved=steps, before=known))
    assert await rows_of(store, [row.id for row in rows]) == {row.id: row for row in rows}
    assert await store.stage_records(f"job-{rows[0].id}", ALL_SIGHT) == []


def _changed(row: Row, fields: dict[str, int]) -> Row:
    changed = Row(**{name: getattr(row, name) for name in row.__struct_fields__})
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


async def test_a_session_and_the_pauses_are_as_presumed(store: Store) -> None:
    await connect(store)
    revision = await revision_of(store)

    async def written(id: str, **more: Any) -> bool:
        step = new_step(id, store.clock())
        acquired = Acquired(executor_id="e1", nonce="n")
        leased = advance(TaskState(step.row, definition(id)), acquired, store.clock())
        step.go_on(leased)
        return await store.write_presumed(presumed([step], **more))

    assert not await written("a", sessions={"e1": "old"}, pauses_revision=revision)
    assert not await written("a", sessions={"other": "s1"}, pauses_revision=revision)
    assert not await written("a", sessions={"e1": "s1"}, pauses_revision=revision + 1)
    assert await written("a", sessions={"e1": "s1"}, pauses_revision=revision)
    assert (await rows_of(store, ["a"]))["a"].status == "EXECUTED"


async def test_a_statement_that_arrives_late_writes_nothing(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(postgres_dsn)
    await store.open()
    monkeypatch.setattr("kaiju_tasks.store.postgres.store.VALID_SECONDS", -1.0)
    rows = await leased(store, 1)
    assert not await store.write_presumed(presumed([new_step("a", store.clock())]))
    steps = reported(rows, store.clock())
    assert not await store.write_presumed(presumed(saved=steps, before=rows))
    await store.close()


async def test_nothing_is_written_after_another_manager_has_set_the_clock(
    postgres_dsn: str,
) -> None:
    store = make_store(postgres_dsn)
    await store.open()
    assert isinstance(store, PostgresStore)
    async with store._connected().connection() as connection:
        await connection.execute("UPDATE revisions SET value = value + 1 WHERE name = 'clock'")
    step = new_step("a", store.clock())
    assert not await store.write_presumed(presumed([step]))
    known = store.clock_revision
    assert await store.write_presumed(presumed([step], clock_revision=known))
    await store.close()


async def test_a_locked_task_is_not_waited_for(postgres_dsn: str) -> None:
    store = make_store(postgres_dsn)
    await store.open()
    rows = await leased(store, 1)
    async with store.transaction() as tx:
        await tx.lock(["t0"])
        steps = reported(rows, store.clock())
        assert not await store.write_presumed(presumed(saved=steps, before=rows))
    await store.close()


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_times_from_before_a_step_of_the_clock_are_not_written(
    store_url: str, step: float
) -> None:
    store, set_clock = await stepped_store(store_url)
    await store.open()
    old = presumed([new_step("old", store.clock())], clock_revision=store.clock_revision)
    await set_clock(step)
    await store.now()
    assert not await store.write_presumed(old)
    new = presumed([new_step("new", store.clock())], clock_revision=store.clock_revision)
    assert await store.write_presumed(new)
    await store.close()


async def test_ready_tasks_are_leased_without_locks(store: Store) -> None:
    await connect(store)
    names = [f"t{n}" for n in range(5)]
    await add(store, *(definition(name, priority=-n) for n, name in enumerate(names)))
    rows = await store.ready_tasks("default", 4)
    assert [row.id for row in rows] == names[:4]
    revision = await revision_of(store)

    async def written(session: str) -> bool:
        tx = PresumedTransaction(
            store.clock(), store.clock_revision, lambda id: None, revision, rows
        )
        found = await tx.lock_ready("default", 4, executor_id="e1", session=session)
        assert found == rows
        acquired = Acquired(executor_id="e1", nonce="n")
        await tx.save(
            [advance(TaskState(row, definition(row.id)), acquired, tx.now) for row in found[:3]]
        )
        tx.check()
        return await store.write_presumed(tx.writes)

    assert not await written("old")
    assert await written("s1")
    assert not await written("s1")  # they have changed since
    stored = await rows_of(store, names)
    assert [stored[name].status for name in names] == ["EXECUTED"] * 3 + ["QUEUED"] * 2
    assert [row.id for row in await store.ready_tasks("default", 4)] == names[3:]


async def test_a_transaction_that_needs_the_database_is_not_presumed() -> None:
    known = Row(id="a")
    tx = PresumedTransaction(0.0, 0, {"a": known}.get, 0)
    assert await tx.lock(["a"]) == {"a": known}

    async def lock_ready() -> None:
        await tx.lock_ready("default", 4, executor_id="e1", session="s1")

    for call in (lambda: tx.lock(["b"]), lambda: tx.lock(["a"]), lambda: tx.claim({}), lock_ready):
        with pytest.raises(NotPresumable):
            await call()
    await tx.save([Step(Row(id="b"))])
    with pytest.raises(NotPresumable, match="only read"):
        tx.check()
