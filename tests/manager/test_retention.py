"""When a manager prunes."""

import asyncio

import msgspec
import pytest

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.manager import Manager, retention
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import PageQuery, Store
from kaiju_tasks.store.open import make_store
from kaiju_tasks.types import AuditRecord
from tests.manager.conftest import a_manager
from tests.support.wait import wait_until


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, audit_retention_days=-1.0)


async def add_records(store: Store, count: int) -> None:
    records = [
        AuditRecord(id=f"r{i}", user_id=None, remote=None, action="x", target=None, data={})
        for i in range(count)
    ]
    async with store.transaction() as tx:
        await tx.add_audit(records)


async def records_left(store: Store) -> int:
    _, count = await store.audit(PageQuery(), ALL_SIGHT)
    return count


async def test_a_manager_prunes_soon_after_every_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST_PRUNE_SECONDS", 0.01)
    for _ in range(2):
        await leave_records(settings)
        async with a_manager(settings) as manager:
            await pruned_by(manager)


async def leave_records(settings: Settings) -> None:
    store = make_store(settings.db)
    await store.open()
    try:
        await add_records(store, 3)
    finally:
        await store.close()


async def pruned_by(manager: Manager) -> None:
    async def all_gone() -> bool:
        return await records_left(manager.store) == 0

    await wait_until(all_gone, "the old records are pruned")


async def test_a_first_pruning_that_fails_is_repeated(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST_PRUNE_SECONDS", 0.01)
    monkeypatch.setattr(retention, "RETRY_SECONDS", 0.01)
    failed = asyncio.Event()
    prune = retention.Retention.prune

    async def fails_once(self: retention.Retention) -> int:
        if failed.is_set():
            return await prune(self)
        failed.set()
        raise Unavailable("the database is away")

    monkeypatch.setattr(retention.Retention, "prune", fails_once)
    await leave_records(settings)
    async with a_manager(settings) as manager:
        await pruned_by(manager)
    assert failed.is_set()


async def test_managers_that_prune_at_once_delete_all_and_do_not_fail(
    manager: Manager, other_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PRUNE_BATCH", 3)
    await add_records(manager.store, 100)
    managers = (manager, other_manager)
    await asyncio.gather(*(one.retention.prune() for one in managers for _ in range(3)))
    assert await records_left(manager.store) == 0
