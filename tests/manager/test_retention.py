"""When a manager prunes."""

import asyncio
import logging
from typing import Any

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
from tests.manager.hand import Calls
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


async def test_ended_tasks_are_deleted_by_stream_and_label(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kaiju_tasks.manager.retention")
    rules = "3, scratch=1, archive=never, label.keep:yes=never, label.tier:batch=1"
    settings = msgspec.structs.replace(settings, task_retention_days=rules)
    monkeypatch.setattr(retention, "PRUNE_BATCH", 2)
    tasks: dict[str, dict[str, Any]] = {
        "default": {},
        "scratch": {"app_name": "scratch"},
        "archive": {"app_name": "archive"},
        "kept": {"app_name": "scratch", "labels": {"keep": "yes"}},
        "batch": {"app_name": "archive", "labels": {"tier": "batch"}},
        "system": {"app_name": "scratch", "system": True},
        "scheduled": {"app_name": "scratch", "every": 60, "next_run": 0},
        "open": {"app_name": "scratch", "delay": 9e6},
    }
    async with a_manager(settings) as manager:
        call = Calls(manager)
        for name, fields in tasks.items():
            await call.create("work", id=name, **fields)
            if name not in ("scheduled", "open"):
                await call("tasks.cancel", id=name)
        for days, deleted in ((0.5, set()), (2, {"scratch", "batch"}), (4, {"default"})):
            tasks = {name: fields for name, fields in tasks.items() if name not in deleted}
            now = await manager.store.now() + days * 86_400
            with monkeypatch.context() as patch:
                patch.setattr(manager.store, "now", lambda now=now: returned(now))
                await manager.retention.prune()
            assert {one["id"] for one in (await call("tasks.list"))["data"]} == set(tasks)
    assert "deleted 2 ended tasks, as task_retention_days says" in caplog.text


async def returned(value: float) -> float:
    return value


async def test_the_children_of_an_open_run_are_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = msgspec.structs.replace(settings, task_retention_days="1")
    child = {"id": "ended", "commands": [{"method": "work"}]}
    left = {"id": "left", "commands": [{"method": "work"}], "delay": 9e6}
    wait = {"method": "_TASKS_", "params": {"create": [child, left], "on_error": "continue"}}
    async with a_manager(settings) as manager:
        call = Calls(manager)
        await call.create(wait, id="parent")
        await call.until("left", "IDLE")
        await call("tasks.cancel", id="ended")

        async def prune_after(days: float) -> set[str]:
            now = await manager.store.now() + days * 86_400
            with monkeypatch.context() as patch:
                patch.setattr(manager.store, "now", lambda: returned(now))
                await manager.retention.prune()
            return {one["id"] for one in (await call("tasks.list"))["data"]}

        assert await prune_after(2) == {"parent", "ended", "left"}
        await call("tasks.cancel", id="parent")
        await prune_after(2)
        assert await prune_after(2) == set()
