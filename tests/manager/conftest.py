from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from tests.manager.damage import Sql, run_sql
from tests.manager.hand import Calls, HandExecutor, pinging


@pytest.fixture
def ping_interval() -> float:
    """Seconds; an executor is lost after three. No test loses one because the machine is busy."""
    return 5.0


@pytest.fixture
def settings(store_url: str, ping_interval: float) -> Settings:
    return Settings(
        db=store_url, ping_interval=ping_interval, reconnect_grace=0.2, poll_interval=0.2
    )


@pytest.fixture
async def manager(settings: Settings) -> AsyncIterator[Manager]:
    async with a_manager(settings) as manager:
        yield manager


@asynccontextmanager
async def a_manager(settings: Settings) -> AsyncIterator[Manager]:
    """A running manager with a store of its own."""
    store = make_store(settings.db)
    await store.open()
    try:
        async with Manager(store, settings).running() as manager:
            yield manager
    finally:
        await store.close()


@pytest.fixture
async def other_manager(settings: Settings, manager: Manager) -> AsyncIterator[Manager]:
    """Another manager of the same PostgreSQL; on SQLite, which has but one, that one."""
    if settings.db.startswith("sqlite"):
        yield manager
        return
    async with a_manager(settings) as other:
        yield other


@pytest.fixture
def sql(settings: Settings) -> Sql:
    """Runs a statement beside the manager."""

    async def run(text: str) -> None:
        await run_sql(settings.db, text)

    return run


@pytest.fixture
def call(manager: Manager) -> Calls:
    return Calls(manager)


@pytest.fixture
async def executor(manager: Manager) -> AsyncIterator[HandExecutor]:
    executor = HandExecutor(manager, "hand")
    await executor.connect()
    async with pinging(executor):
        yield executor
