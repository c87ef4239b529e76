"""Reads for clients have a budget, and never keep the manager's own reads and writes waiting."""

import asyncio
import threading
from typing import Any

import pytest

from kaiju_tasks.errors import TooLarge
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import PageQuery, Store, query
from kaiju_tasks.store.base import Condition, TaskQuery
from kaiju_tasks.store.postgres.store import PostgresStore
from kaiju_tasks.store.sqlite.store import SqliteStore
from tests.store.making import new_step
from tests.support.wait import PATIENCE_SECONDS, wait_until

MANY = 300
COSTLY = [Condition("id", "like", "%a%a%b")]


@pytest.fixture
async def filled(store: Store) -> Store:
    """A store with more tasks than a read without time looks at."""
    async with store.transaction() as tx:
        await tx.insert([new_step(f"t{number:04}", tx.now) for number in range(MANY)])
    return store


READS: dict[str, Any] = {
    "count": lambda store: store.count(COSTLY, ALL_SIGHT),
    "find": lambda store: store.find(TaskQuery(COSTLY), ALL_SIGHT),
    "ids": lambda store: anext(store.ids(COSTLY, ALL_SIGHT, 10), None),
    "tasks": lambda store: store.tasks([f"t{n:04}" for n in range(MANY)], ALL_SIGHT),
    "status_counts": lambda store: store.status_counts(ALL_SIGHT),
    "open_tasks": lambda store: store.open_tasks(),
}


@pytest.mark.parametrize("name", READS)
async def test_a_read_that_has_spent_its_time_ends(
    filled: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "READ_SECONDS", 0.0)
    with pytest.raises(TooLarge, match="fewer tasks"):
        await READS[name](filled)
    assert (await filled.work_summary()).ready == {"default"}
    async with filled.transaction() as tx:
        assert len(await tx.lock(["t0001", "t0002"])) == 2
    monkeypatch.setattr(query, "READ_SECONDS", 60.0)
    await READS[name](filled)


async def test_slow_reads_leave_the_manager_alone(filled: Store) -> None:
    done = threading.Event()
    began: list[int] = []

    def hold(number: int) -> Any:
        if isinstance(filled, SqliteStore):

            def wait(db: Any) -> None:
                began.append(number)
                done.wait()

            return filled._answer(wait)
        assert isinstance(filled, PostgresStore)

        async def ask(connection: Any) -> None:
            began.append(number)
            await asyncio.to_thread(done.wait)

        return filled._answer(ask)

    reads = [asyncio.create_task(hold(number)) for number in range(20)]
    try:
        await wait_until(lambda: began, "a read has begun")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await filled.work_summary()
            await filled.credential(None)
            async with filled.transaction() as tx:
                assert len(await tx.lock(["t0001"])) == 1
        assert not any(read.done() for read in reads)
    finally:
        done.set()
        await asyncio.gather(*reads)
    assert await filled.count([], ALL_SIGHT) == MANY
    assert await filled.audit(PageQuery(), ALL_SIGHT) == ([], 0)
