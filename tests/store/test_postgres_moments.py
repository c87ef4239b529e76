"""Moments of what waits for another transaction: none is before the end of that transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.support.wait import wait_until

LIMIT = {"key": "k", "limit": 1}
UNIQUE = {"key": "k"}
WAITED_LONG = """
SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '0.3 seconds'
"""
CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"


@pytest.fixture
async def call(postgres_dsn: str) -> AsyncIterator[Calls]:
    store = make_store(postgres_dsn)
    await store.open()
    settings = Settings(db=postgres_dsn, poll_interval=0.2)
    async with Manager(store, settings).running() as manager:
        yield Calls(manager)
    await store.close()


@pytest.fixture
async def other(postgres_dsn: str) -> AsyncIterator[Any]:
    """A connection of somebody else."""
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


@asynccontextmanager
async def transaction_that_rolls_back(other: Any, statement: str) -> AsyncIterator[list[float]]:
    """Run a statement, and roll back when somebody has waited for it. Yields the time of that."""
    ended: list[float] = []

    async def roll_back() -> None:
        async def waited() -> bool:
            return bool(await other.fetchval(WAITED_LONG))

        await wait_until(waited, "a transaction waits for another")
        ended.append(await other.fetchval(CLOCK))
        await other.execute("ROLLBACK")

    await other.execute("BEGIN")
    await other.execute(statement)
    rolls_back = asyncio.create_task(roll_back())
    yield ended
    await rolls_back


def moments(task: dict[str, Any]) -> list[float]:
    created = datetime.fromisoformat(task["created"]).timestamp()
    return [created, task["queued_at"], task["status_change"], task["since"]]


async def key_of(call: Calls, other: Any) -> str:
    """The key under which the claim of `UNIQUE` is stored."""
    await call.create("work", id="first", unique=UNIQUE)
    key: str = await other.fetchval("SELECT key FROM claims")
    await call("tasks.delete", id="first")
    return key


async def test_a_create_that_waited_for_a_unique_key(call: Calls, other: Any) -> None:
    key = await key_of(call, other)
    claim = f"INSERT INTO claims (key, task_id) VALUES ('{key}', 'somebody')"
    async with transaction_that_rolls_back(other, claim) as ended:
        await call.create("work", id="t", unique=UNIQUE)
    assert min(moments(await call.get("t"))) >= ended[0]


async def test_an_update_that_waited_for_a_unique_key(call: Calls, other: Any) -> None:
    key = await key_of(call, other)
    await call.create({"method": "_TIMER_", "params": {"timer": 0}}, id="t")
    claim = f"INSERT INTO claims (key, task_id) VALUES ('{key}', 'somebody')"
    async with transaction_that_rolls_back(other, claim) as ended:
        task = await call("tasks.update", id="t", data={"unique": UNIQUE, "next_run": 0})
    started = task["next_run"] is None
    assert min(task["status_change"], task["since" if started else "next_run"]) >= ended[0]


@pytest.mark.parametrize("many", [False, True])
async def test_a_create_that_waited_for_its_id(call: Calls, other: Any, many: bool) -> None:
    await call.create("work", id="t")
    await other.execute("CREATE TABLE copies AS SELECT * FROM tasks")
    await call("tasks.delete", id="t")
    await call.create("work", id="taken")
    ids = ["s", "t", "u"] if many else ["t"]
    insert = "INSERT INTO tasks SELECT * FROM copies"
    async with transaction_that_rolls_back(other, insert) as ended:
        data = [{"id": name, "commands": [{"method": "work"}]} for name in ids]
        await call("tasks.m_create", data=data) if many else await call.create("work", id="t")
    for name in ids:
        assert min(moments(await call.get(name))) >= ended[0]


async def test_a_run_that_waited_for_a_slot(call: Calls, other: Any) -> None:
    executor = HandExecutor(call.manager, "hand")
    await executor.connect()
    async with pinging(executor):
        await call.create("work", id="first", concurrency=LIMIT)
        await executor.finish(await executor.take())
        lock = "SELECT FROM slots FOR UPDATE"
        async with transaction_that_rolls_back(other, lock) as ended:
            await call.create("work", id="t", concurrency=LIMIT)
            await executor.take()
        task = await call.get("t")
        (run,) = await call("tasks.runs", id="t")
    assert task["status"] == "EXECUTED"
    assert min(run["started_at"], task["status_change"], task["since"]) >= ended[0]
