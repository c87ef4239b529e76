"""What only PostgreSQL shows of tasks that wait: plans of a backlog, and rows that others lock."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store import Store
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.store.plans import pages_of, plan_of
from tests.support.wait import wait_until

FEW_PAGES = 200
BACKLOG = """
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, queued_at,
    exec_used, status_change, result_bytes, rev, version, status_reason, gate)
SELECT 'gated' || n, 'app' || n % 3, n % 5, 'QUEUED', true, 0, true, 0, 1, 'job' || n, 0, 0, 0, 0,
    0, false, false, false, 0, n, 0, 0, 0, 1, 0, 'concurrency', 'c:key' || n % 10
FROM generate_series(1, 100000) AS n;
INSERT INTO children (parent_job, stage, position, cycle, parent_id, child_id, made)
SELECT 'parent' || n % 10, 0, n, 0, 'parent' || n % 10, 'gated' || n, true
FROM generate_series(1, 100000) AS n;
INSERT INTO slots SELECT 'key' || n, 1, false FROM generate_series(1, 100000) AS n;
INSERT INTO claims SELECT 'claim' || n, 'gated' || n FROM generate_series(1, 100000) AS n;
INSERT INTO families SELECT 'root' || n, 1, n FROM generate_series(1, 100000) AS n;
INSERT INTO signals (task_id) SELECT 'gated' || n FROM generate_series(1, 100000) AS n
"""
TABLES = ("tasks", "children", "slots", "claims", "signals", "families")


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[Store]:
    made = make_store(postgres_dsn)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def backlog(postgres_dsn: str, store: Store) -> AsyncIterator[Any]:
    """A connection to a database with 100,000 of everything that nobody has analysed."""
    connection = await asyncpg.connect(postgres_dsn)
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    await connection.execute(BACKLOG)
    yield connection
    await connection.close()


ENDED = ["{gated7}", "{FINISHED}", "{0}", "{NULL}", "{job7}", "{0}", "{1}"]
PLANS: dict[str, tuple[list[Any], str]] = {
    "lock_gated": ([["c:key1", "c:key2"], "{3,3}"], "tasks_gated"),
    "children_summary": ([["parent1", "parent2"], "{0,0}"], "children_status"),
    "note_run_ends": (ENDED, "children_awaited"),
    "lock_slots": ([["key1", "key2", "new"]], "slots_pkey"),
    "save_slots": ([["key1", "key2"], "{0,0}", "{f,f}"], "slots_pkey"),
    "claim": ([["claim1", "new"], ["gated2", "gated3"]], "claims_pkey"),
    "claimants": ([["claim1", "claim2"]], "claims_pkey"),
    "unclaim": ([["gated1", "gated2"]], "claims_task"),
    "take_signals": ([20], "signals_pkey"),
    "family_sizes": ([["root1", "new"]], "families_pkey"),
    "next_tasks": ([["gated1", "gated2"], 100], "definitions_pkey"),
}


async def test_statements_of_waits_read_few_pages_right_after_a_bulk_load(backlog: Any) -> None:
    for name, (values, index) in PLANS.items():
        plan = await plan_of(backlog, name, values)
        for table in TABLES:
            assert f"Seq Scan on {table}" not in plan, f"{name}\n{plan}"
        assert index in plan, f"{name}\n{plan}"
        assert await pages_of(backlog, name, values) < FEW_PAGES, f"{name}\n{plan}"


LIMIT = {"key": "k", "limit": 1}


@pytest.fixture
async def hand(postgres_dsn: str, store: Store) -> AsyncIterator[HandExecutor]:
    """An executor of a manager; it holds the task `holder`, which has the only slot of `k`."""
    settings = Settings(db=postgres_dsn, ping_interval=0.2, poll_interval=0.2)
    async with Manager(store, settings).running() as manager:
        made = HandExecutor(manager, "hand")
        await made.connect()
        async with pinging(made):
            await made.call.create("work", id="holder", concurrency=LIMIT)
            yield made


@pytest.fixture
async def other(postgres_dsn: str) -> AsyncIterator[Any]:
    """A connection of somebody else."""
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


LOCK = "SELECT FROM tasks WHERE id = 'first' FOR UPDATE"


async def test_a_waiter_that_somebody_else_locks_is_passed_over_and_found_later(
    hand: HandExecutor, store: Store, other: Any
) -> None:
    holder = await hand.take()
    await comes_to_wait(hand.call, "first")
    async with other.transaction():
        await other.execute(LOCK)
        await hand.finish(holder)
        assert await unsettled(store) == ["k"]
        await has_looked(hand.manager)
        assert await unsettled(store) == ["k"]
        assert hand.assigned.empty()
    assert (await hand.take()).id == "first"
    assert await unsettled(store) == []


async def test_who_waits_behind_a_locked_waiter_goes_first(
    hand: HandExecutor, store: Store, other: Any
) -> None:
    holder = await hand.take()
    await comes_to_wait(hand.call, "first")
    await comes_to_wait(hand.call, "second")
    async with other.transaction():
        await other.execute(LOCK)
        await hand.finish(holder)
        second = await hand.take()
    assert second.id == "second"
    await hand.finish(second)
    assert (await hand.take()).id == "first"
    assert await unsettled(store) == []


async def test_a_child_that_ends_while_its_parent_goes_on_is_told_as_it_ended(
    hand: HandExecutor, other: Any
) -> None:
    await hand.take()
    hook = {"create": [child("a"), child("b")], "mode": "any"}
    await hand.call.create({"method": "_TASKS_", "params": hook}, id="p")
    taken = {task.id: task for task in (await hand.take(), await hand.take())}
    async with other.transaction():
        await other.execute("SELECT FROM tasks WHERE id = 'b' FOR UPDATE")
        late = asyncio.create_task(hand.finish(taken["b"]))
        await stand_at_locks(other, 1)
        await hand.finish(taken["a"])
        await stand_at_locks(other, 2)
    await late
    (result,) = (await hand.call.until("p", "FINISHED"))["result"]
    assert [(one["id"], one["status"]) for one in result] == [("a", "FINISHED"), ("b", "FINISHED")]


def child(id: str) -> dict[str, Any]:
    return {"id": id, "commands": [{"method": "work"}]}


async def stand_at_locks(connection: Any, count: int) -> None:
    """Wait until so many transactions wait for others."""

    async def there() -> bool:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock'"
        )
        return bool(waiting >= count)

    await wait_until(there, f"{count} transactions wait for others")


async def unsettled(store: Store) -> list[str]:
    async with store.transaction() as tx:
        await tx.lock([])
        return await tx.unsettled_slots(10)


async def comes_to_wait(call: Calls, id: str) -> None:
    await call.create("work", id=id, concurrency=LIMIT)

    async def waits() -> bool:
        return bool((await call.get(id))["status_reason"] == "concurrency")

    await wait_until(waits, f"{id} waits for a slot")


async def has_looked(manager: Manager) -> None:
    """Wait until the manager has tried again to settle slots."""
    transact, tries = manager.committer.transact, []

    async def counted(work: Any, **more: Any) -> Any:
        done = await transact(work, **more)
        if work == manager.scheduler._settle:
            tries.append(work)
        return done

    manager.committer.transact = counted  # type: ignore[method-assign]
    await wait_until(lambda: len(tries) >= 2, "slots were settled twice")
