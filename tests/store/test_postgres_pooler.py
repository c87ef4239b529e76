"""PostgreSQL behind a connection pooler in transaction mode."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store.open import migration_status
from kaiju_tasks.store.postgres import PostgresStore
from tests.store.making import add, new_step
from tests.support.pooler import pooler


@pytest.fixture(params=["refuses", "ignores"])
async def url(request: pytest.FixtureRequest, postgres_dsn: str) -> AsyncIterator[str]:
    async with pooler(postgres_dsn, ignores=request.param == "ignores") as dsn:
        yield dsn


async def test_stores_behind_a_pooler_migrate_and_share_its_sessions(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    stores = [PostgresStore(url) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    assert {one.state for one in await migration_status(url)} == {"applied"}

    async def work(number: int) -> None:
        store = stores[number % 3]
        await add(store, f"t{number}")
        await store.now()
        async with store.transaction() as tx:
            assert list(await tx.lock([f"t{number}"])) == [f"t{number}"]
        await store.executors(ALL_SIGHT)

    await asyncio.gather(*(work(number) for number in range(60)))
    assert len(await stores[0].tasks([f"t{number}" for number in range(60)], ALL_SIGHT)) == 60
    for store in stores:
        await store.close()
    said = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == 4  # one for each store, and for the status
    assert set(said) == {said[0]}
    assert "LISTEN does not work" in said[0]


async def test_transactions_have_the_settings_that_their_sessions_lack(url: str) -> None:
    store = PostgresStore(f"{url}?schema=separate")
    await store.open()
    assert store._pool is not None
    async with store._pool.connection() as connection:
        for _ in range(2):
            await connection.begin()
            assert await connection.fetchval("SHOW lock_timeout") == "15s"
            assert await connection.fetchval("SHOW jit") == "off"
            await connection.commit()
        assert await connection.fetchval("SELECT current_schema()") == "separate"
    await store.close()


async def test_a_failing_statement_leaves_its_connection_usable(url: str) -> None:
    store = PostgresStore(url, connections=1)
    await store.open()
    await add(store, "a")
    async with store.transaction() as tx:
        assert await tx.insert([new_step("a", tx.now)]) == {"a"}
    assert store._pool is not None
    async with store._pool.connection() as connection:
        with pytest.raises(Exception, match="nonsense"):
            await connection.fetch("SELECT nonsense")
        assert await connection.fetchval("SELECT 1") == 1
    await store.close()
