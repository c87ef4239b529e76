"""Who gets which task, and when: both stores, and what several connections add."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from kaiju_tasks.lifecycle import (
    Acquired,
    Command,
    Definition,
    Due,
    ExecutorLost,
    MethodLacking,
    Row,
    Step,
)
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Store
from kaiju_tasks.store.open import make_store
from kaiju_tasks.types import ExecutorStatus, TaskStatus
from tests.store.making import (
    acquire,
    add,
    advance_all,
    connect,
    definition,
    executor,
    finish,
    happen,
    new_step,
)
from tests.support.wait import wait_until


def ids(rows: list[Row]) -> list[str]:
    return [row.id for row in rows]


async def test_a_stream_gives_by_priority_then_by_time_then_by_id(store: Store) -> None:
    await connect(store)
    await add(store, definition("late-high", priority=5))
    await add(store, "b", "a")
    await add(store, definition("low", priority=-5), definition("top", priority=9))
    await add(store, definition("other", app_name="billing"))
    assert ids(await acquire(store, 2)) == ["top", "late-high"]
    assert ids(await acquire(store)) == ["a", "b", "low"]
    assert ids(await acquire(store)) == []
    assert ids(await acquire(store, app_name="billing")) == ["other"]


async def test_a_session_that_is_over_acquires_nothing(store: Store) -> None:
    await add(store, "a")
    await connect(store)
    await connect(store, "draining", status=ExecutorStatus.DRAINING)
    for executor_id, session in (("e1", "old"), ("unknown", "s1"), ("draining", "s1")):
        async with store.transaction() as tx:
            found = await tx.lock_ready("default", 5, executor_id=executor_id, session=session)
            assert found is None
    async with store.transaction() as tx:
        assert await tx.lock_ready("empty", 5, executor_id="e1", session="s1") == []


async def test_sessions_are_held_that_may_acquire(store: Store) -> None:
    for executor_id in ("e1", "e2"):
        await connect(store, executor_id)
    await connect(store, "draining", status=ExecutorStatus.DRAINING)
    wanted = {"e1": "s1", "e2": "old", "draining": "s1", "unknown": "s1"}
    async with store.transaction() as tx:
        began = tx.now
        assert await tx.hold_sessions(wanted) == {"e1"}
        assert await tx.hold_sessions({"unknown": "s1"}) == set()
        assert (await tx.pauses()).revision == tx.pauses_revision
        assert tx.now == began


async def test_a_session_that_is_being_replaced_is_not_held_nor_waited_for(
    postgres_dsn: str,
) -> None:
    async with AsyncExitStack() as stack:
        store = make_store(postgres_dsn)
        await store.open()
        stack.push_async_callback(store.close)
        for executor_id in ("e1", "e2"):
            await connect(store, executor_id)
        async with store.transaction() as replacing:
            await replacing.lock_executor("e1")
            async with store.transaction() as placing:
                assert await placing.hold_sessions({"e1": "s1", "e2": "s1"}) == {"e2"}
                replacement = asyncio.create_task(replacing.lock_executor("e2"))
                done, _ = await asyncio.wait([replacement], timeout=0.2)
                assert not done  # it waits for the transaction that holds the session
            await replacement


async def test_suspect_tasks_stand_apart(store: Store) -> None:
    await add(store, "a", "b")
    await connect(store)
    for _ in range(2):
        await acquire(store)
        await happen(store, "a", ExecutorLost(executor_id="e1"))
    assert ids(await acquire(store)) == []
    assert ids(await acquire(store, ready=2)) == ["a"]


async def _gate(store: Store, *task_ids: str) -> None:
    for task_id in task_ids:
        await happen(store, task_id, MethodLacking())


async def _lock(store: Store, limit: int, gates: list[str], ready: int = 1) -> list[str]:
    async with store.transaction() as tx:
        found = await tx.lock_ready(
            "default", limit, executor_id="e1", session="s1", ready=ready, gates=gates
        )
        assert found is not None
        return ids(found)


async def test_tasks_at_gates_and_ready_ones_are_locked_in_one_order(store: Store) -> None:
    await connect(store)
    for id, method, priority in (("a3", "a", 3), ("b9", "b", 9), ("b1", "b", 1), ("x5", "x", 5)):
        await add(store, definition(id, commands=[Command(method)], priority=priority))
    await add(store, definition("elsewhere", commands=[Command("a")], app_name="other"))
    await _gate(store, "a3", "b9", "b1", "elsewhere")
    assert await _lock(store, 10, ["m:a", "m:b"]) == ["b9", "x5", "a3", "b1"]
    assert (await _lock(store, 2, ["m:a", "m:b"]))[:2] == ["b9", "x5"]
    assert await _lock(store, 10, ["m:a"]) == ["x5", "a3"]
    assert await _lock(store, 10, ["m:a"], ready=2) == ["a3"]
    assert ids(await acquire(store)) == ["x5"]
    async with store.transaction() as tx:
        gates = ["m:a", "m:b"]
        assert await tx.lock_ready("default", 1, executor_id="e1", session="s", gates=gates) is None
        assert await tx.lock_ready("none", 1, executor_id="e1", session="s1", gates=gates) == []


async def test_what_another_transaction_has_locked_at_a_gate_is_passed_over(
    postgres_dsn: str,
) -> None:
    async with AsyncExitStack() as stack:
        store = make_store(postgres_dsn)
        await store.open()
        stack.push_async_callback(store.close)
        await connect(store)
        for n in range(6):
            await add(store, definition(f"t{n}", commands=[Command("a")]))
        await _gate(store, *(f"t{n}" for n in range(6)))
        async with store.transaction() as other:
            await other.lock(["t0", "t1", "t2"])
            assert await _lock(store, 2, ["m:a"]) == ["t3", "t4"]


async def test_the_gates_of_methods_are_read_page_by_page(store: Store) -> None:
    assert (await store.work_summary()).gated is False
    await connect(store)
    for app_name in ("default", "other"):
        for method in ("a", "b"):
            for n in range(3):
                id = f"{app_name}-{method}{n}"
                await add(store, definition(id, commands=[Command(method)], app_name=app_name))
                await _gate(store, id)
    gates = [(gate, app) for gate in ("m:a", "m:b") for app in ("default", "other")]
    assert await store.method_gates(("", ""), 10) == gates
    assert await store.method_gates(("", ""), 3) == gates[:3]
    assert await store.method_gates(gates[2], 10) == gates[3:]
    assert (await store.work_summary()).gated is True


async def test_leased_tasks_are_locked_in_the_order_of_ids(store: Store) -> None:
    await add(store, "c", "a", "b", definition("d", app_name="other"))
    await connect(store)
    await acquire(store)
    async with store.transaction() as tx:
        assert ids(await tx.lock_leased("e1")) == ["a", "b", "c"]
        assert await tx.lock_leased("unknown") == []


async def test_due_tasks_are_locked_earliest_first(store: Store) -> None:
    now = await store.now()
    for id, moment in (("past-2", -5.0), ("past-1", -9.0), ("future", 3600.0)):
        task = definition(id, commands=[Command("do.echo")], max_queue_time=1000.0 + moment)
        async with store.transaction() as tx:
            await tx.insert(_due(task, now + moment))
    async with store.transaction() as tx:
        assert ids(await tx.lock_due(10)) == ["past-1", "past-2"]
        assert ids(await tx.lock_due(1)) == ["past-1"]
        assert tx.now >= now


def _due(task: Definition, moment: float) -> list[Step]:
    step = new_step(task, moment)
    step.row.due_at = moment
    return [step]


async def test_the_outlook_tells_what_there_is_to_wait_for(store: Store) -> None:
    quiet = await store.work_summary()
    assert (quiet.next_due, quiet.ready, quiet.suspect, quiet.next_expiry) == (
        None, frozenset(), frozenset(), None,
    )  # fmt: skip
    async with store.transaction() as tx:
        await tx.put_executor(executor("late", now=tx.now, lease_until=tx.now + 100))
        await tx.put_executor(executor("soon", now=tx.now, lease_until=tx.now + 10))
        await tx.put_executor(executor("lost", lease_until=1.0, status=ExecutorStatus.LOST))
    await add(store, "a", *(definition(f"x{n}", app_name=f"app{n}") for n in range(5)))
    await add(store, definition("later", app_name="nobody"), next_run=quiet.now + 3600)
    busy = await store.work_summary()
    assert busy.ready == {"default", *(f"app{n}" for n in range(5))}
    assert busy.next_due == quiet.now + 3600
    assert busy.next_expiry is not None
    assert busy.next_expiry - busy.now == pytest.approx(10, abs=2)


async def test_now_moves_with_the_locks(store: Store) -> None:
    await add(store, "a")
    async with store.transaction() as tx:
        first = tx.now
        await tx.lock(["a"])
        second = tx.now
        await tx.lock(["a"])
        assert first <= second <= tx.now


async def test_a_backlog_is_acquired_exactly_once_by_many(store: Store) -> None:
    await add(store, *(f"t{n:04}" for n in range(300)))
    await connect(store)

    async def take() -> list[str]:
        taken: list[str] = []
        while rows := await acquire(store, 20):
            taken += ids(rows)
        return taken

    taken = [id for part in await asyncio.gather(*(take() for _ in range(4))) for id in part]
    assert sorted(taken) == [f"t{n:04}" for n in range(300)]


async def test_eight_connections_acquire_2000_tasks_exactly_once(postgres_dsn: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [make_store(postgres_dsn, connections=1) for _ in range(8)]
        for one in stores:
            await one.open()
            stack.push_async_callback(one.close)
        await connect(stores[0])
        for first in range(0, 2000, 500):
            await add(stores[0], *(f"t{n:04}" for n in range(first, first + 500)))
        start = asyncio.Barrier(8)

        async def take(one: Store) -> list[str]:
            taken: list[str] = []
            await start.wait()
            while len(taken) < 2000:
                rows = await acquire(one, 25)
                if not rows and await _nothing_ready(one):
                    break
                taken += ids(rows)
                await finish(one, rows)
            return taken

        parts = await asyncio.gather(*map(take, stores))
        taken = [id for part in parts for id in part]
        assert sorted(taken) == [f"t{n:04}" for n in range(2000)]
        assert sum(1 for part in parts if part) > 1
        assert await stores[0].status_counts(ALL_SIGHT) == {("default", TaskStatus.FINISHED): 2000}


async def _nothing_ready(store: Store) -> bool:
    return not (await store.work_summary()).ready


async def test_locked_tasks_are_passed_over(postgres_dsn: str) -> None:
    store = make_store(postgres_dsn)
    await store.open()
    await add(store, "a", "b", "c")
    await connect(store)
    async with store.transaction() as first:
        await first.lock(["a"])
        async with store.transaction() as second:
            rows = await second.lock_ready("default", 2, executor_id="e1", session="s1")
            assert rows is not None
            assert ids(rows) == ["b", "c"]
    await store.close()


async def test_opposite_orders_of_locking_do_not_deadlock(postgres_dsn: str) -> None:
    store = make_store(postgres_dsn, connections=8)
    await store.open()
    names = [f"t{n}" for n in range(40)]
    await add(store, *names)
    await connect(store)

    event = Due(job_id="j")

    async def touch(order: list[str]) -> None:
        for _ in range(10):
            async with store.transaction() as tx:
                rows = await tx.lock(order)
                await tx.save(await advance_all(tx, rows.values(), lambda row: event))

    await asyncio.gather(*(touch(names[:: 1 if n % 2 else -1]) for n in range(8)))
    await store.close()


async def test_inserting_the_same_ids_in_opposite_orders_does_not_deadlock(
    postgres_dsn: str,
) -> None:
    store = make_store(postgres_dsn, connections=8)
    await store.open()

    async def insert(order: int) -> int:
        async with store.transaction() as tx:
            steps = [new_step(f"t{n}", tx.now) for n in range(200)][::order]
            return 200 - len(await tx.insert(steps))

    for _ in range(3):
        added = await asyncio.gather(*(insert(1 if n % 2 else -1) for n in range(8)))
        assert sum(added) in (0, 200)
    await store.close()


async def test_a_reconnect_comes_before_or_after_an_acquisition(postgres_dsn: str) -> None:
    store = make_store(postgres_dsn, connections=4)
    await store.open()
    await add(store, "a")
    await connect(store)
    acquired, reconnected = asyncio.Event(), asyncio.Event()

    async def reconnect() -> list[str]:
        await acquired.wait()
        async with store.transaction() as tx:
            row = await tx.lock_executor("e1")
            assert row is not None
            reconnected.set()
            held = ids(await tx.lock_leased("e1"))
            row.session = "s2"
            await tx.put_executor(row)
            return held

    async with store.transaction() as tx:
        rows = await tx.lock_ready("default", 5, executor_id="e1", session="s1")
        assert rows is not None
        task = asyncio.create_task(reconnect())
        acquired.set()
        await _blocked(store)
        assert not reconnected.is_set()
        event = Acquired(executor_id="e1", nonce="n")
        await tx.save(await advance_all(tx, rows, lambda row: event))
    assert await task == ["a"], "the reconnect sees what was acquired before it"
    await add(store, "b")
    async with store.transaction() as tx:
        assert await tx.lock_ready("default", 5, executor_id="e1", session="s1") is None
    await store.close()


async def test_an_acquisition_that_waits_for_a_reconnect_finds_its_session_over(
    postgres_dsn: str,
) -> None:
    store = make_store(postgres_dsn, connections=4)
    await store.open()
    await add(store, "a")
    await connect(store)

    async def take() -> list[Row] | None:
        async with store.transaction() as tx:
            return await tx.lock_ready("default", 5, executor_id="e1", session="s1")

    async with store.transaction() as tx:
        row = await tx.lock_executor("e1")
        assert row is not None
        task = asyncio.create_task(take())
        await _blocked(store)
        row.session = "s2"
        await tx.put_executor(row)
    assert await task is None
    await store.close()


async def _blocked(store: Store) -> None:
    """Wait until some connection waits for another's lock."""
    statement = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    async def one_waits() -> bool:
        found = await store._select((statement, ()))  # type: ignore[attr-defined]
        return bool(found[0][0])

    await wait_until(one_waits, "a connection waits for a lock")
