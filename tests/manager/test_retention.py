"""When a manager prunes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.manager import Manager, retention
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Condition, PageQuery, Store
from kaiju_tasks.store.logs import LogQuery
from kaiju_tasks.store.open import make_store
from kaiju_tasks.store.query import NEEDED
from kaiju_tasks.types import AuditRecord
from tests.manager.conftest import a_manager
from tests.manager.damage import run_sql
from tests.manager.hand import Calls, HandExecutor
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


async def test_log_lines_without_a_task_are_deleted(
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "PRUNE_BATCH", 2)
    runs = []
    for name in ("a", "b", "c", "d", "e"):
        await call.create("work", id=name)
        task = await executor.take()
        lease = {"id": name, "job_id": task.job_id, "epoch": task.epoch, "nonce": task.nonce}
        for n in (1, 2):
            lines = [{"n": n, "message": "a line"}]
            log = {**lease, "stage": 0, "attempt": 1, "lines": lines}
            await executor.call("manager.write_logs", logs=[log])
        runs.append(task.job_id)
    await run_sql(settings.db, "UPDATE logs SET task_id = 'gone' WHERE task_id IN ('a', 'b', 'd')")
    await manager.retention.prune()
    left = [len(await manager.store.log_parts(LogQuery(one), ALL_SIGHT, 10)) for one in runs]
    assert left == [0, 0, 2, 0, 2]


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


async def test_a_rule_does_not_lock_tasks_for_which_an_earlier_rule_decides(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = "1, archive=never, slow=9, label.keep:yes=never"
    settings = msgspec.structs.replace(settings, task_retention_days=rules)
    async with a_manager(settings) as manager:
        call = Calls(manager)
        await ended(call, "default")
        await ended(call, "archive", app_name="archive")
        await ended(call, "slow", app_name="slow")
        await ended(call, "keep", labels={"keep": "yes"})
        await ended(call, "discard", app_name="archive", labels={"keep": "no"})
        await ended(call, "unlike", labels={"keep": "no"})
        applied: list[str] = []
        apply_all = manager.committer.apply_all

        async def noted(pairs: Any, **options: Any) -> Any:
            applied.extend(task_id for task_id, _ in pairs)
            return await apply_all(pairs, **options)

        monkeypatch.setattr(manager.committer, "apply_all", noted)
        left = await prune_after(manager, 2)
        assert sorted(applied) == ["default", "unlike"]
        assert left == {"archive", "slow", "keep", "discard"}


async def ended(call: Calls, name: str, **fields: Any) -> None:
    await call.create("work", id=name, **fields)
    await call("tasks.cancel", id=name)


async def prune_after(manager: Manager, days: float) -> set[str]:
    """Prune as if it were later; the ids of the tasks that are left."""
    now = await manager.store.now() + days * 86_400
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager.store, "now", lambda: returned(now))
        await manager.retention.prune()
    return await tasks_left(manager)


async def delete_after(manager: Manager, days: float) -> set[str]:
    """Call `tasks.delete_old_tasks` as if it were later; the ids of the tasks that are left."""
    before = await manager.store.now() + (days - 1) * 86_400
    await manager.retention.delete_ended(ALL_SIGHT, before)
    return await tasks_left(manager)


async def tasks_left(manager: Manager) -> set[str]:
    return {one["id"] for one in (await Calls(manager)("tasks.list"))["data"]}


Clean = Callable[[Manager, float], Awaitable[set[str]]]


@pytest.fixture(params=[prune_after, delete_after])
def clean(request: pytest.FixtureRequest) -> Clean:
    """Both ways to delete ended tasks, after a day."""
    found: Clean = request.param
    return found


@pytest.fixture
async def cleaner(settings: Settings) -> AsyncIterator[Manager]:
    """A manager that keeps ended tasks for a day."""
    async with a_manager(msgspec.structs.replace(settings, task_retention_days="1")) as manager:
        yield manager


async def test_tasks_that_have_not_ended_or_are_scheduled_or_of_the_system_stay(
    cleaner: Manager, clean: Clean
) -> None:
    call = Calls(cleaner)
    await ended(call, "ended")
    await ended(call, "system", system=True)
    await call.create("work", id="every", every=60, next_run=0)
    await call.create("work", id="cron", cron="@yearly")
    await call.create("work", id="open", delay=9e6)
    everything = {"ended", "system", "every", "cron", "open"}
    assert await clean(cleaner, 0.5) == everything
    assert await clean(cleaner, 2) == everything - {"ended"}


async def test_the_children_of_an_open_run_are_kept(cleaner: Manager, clean: Clean) -> None:
    child = {"id": "ended", "commands": [{"method": "work"}]}
    left = {"id": "left", "commands": [{"method": "work"}], "delay": 9e6}
    wait = {"method": "_TASKS_", "params": {"create": [child, left], "on_error": "continue"}}
    call = Calls(cleaner)
    await call.create(wait, id="parent")
    await call.until("left", "IDLE")
    await call("tasks.cancel", id="ended")
    assert await clean(cleaner, 2) == {"parent", "ended", "left"}
    await call("tasks.cancel", id="parent")
    await clean(cleaner, 2)
    assert await clean(cleaner, 2) == set()


async def test_the_children_of_a_schedule_are_deleted_when_its_run_has_ended(
    cleaner: Manager, clean: Clean
) -> None:
    child = {"id": "ended", "commands": [{"method": "work"}]}
    left = {"id": "left", "commands": [{"method": "work"}], "delay": 9e6}
    wait = {"method": "_TASKS_", "params": {"create": [child, left], "on_error": "continue"}}
    call = Calls(cleaner)
    await call.create(wait, id="parent", cron="@yearly")
    await call("tasks.run_now", id="parent")
    await call.until("left", "IDLE")
    await call("tasks.cancel", id="ended")
    assert await clean(cleaner, 2) == {"parent", "ended", "left"}
    await call("tasks.cancel", id="left")
    await call.until("parent", "IDLE")
    assert await clean(cleaner, 2) == {"parent"}


async def test_tasks_for_which_an_open_run_waits_are_kept(cleaner: Manager, clean: Clean) -> None:
    call = Calls(cleaner)
    await call.create("work", id="ended")
    await call.create("work", id="open", delay=9e6)
    wait = {"method": "_TASKS_", "params": {"ids": ["ended", "open"], "on_error": "continue"}}
    await call.create(wait, id="waiting")
    await call.until("waiting", "WAITING")
    await call("tasks.cancel", id="ended")
    assert await clean(cleaner, 2) == {"ended", "open", "waiting"}
    await call("tasks.cancel", id="open")
    await call.until("waiting", "FINISHED")
    assert await clean(cleaner, 2) == set()


async def test_next_tasks_of_unfinished_and_scheduled_tasks_are_kept(
    cleaner: Manager, clean: Clean
) -> None:
    call = Calls(cleaner)
    await ended(call, "last")
    await ended(call, "second", next_task="last")
    await call.create("work", id="nightly", cron="@yearly", next_task="second")
    await ended(call, "after-open")
    await call.create("work", id="open", delay=9e6, next_task="after-open")
    await ended(call, "after-ended")
    await ended(call, "done", next_task="after-ended")
    kept = {"last", "second", "nightly", "after-open", "open"}
    assert await clean(cleaner, 2) == kept
    await call("tasks.delete", id="nightly")
    await call("tasks.cancel", id="open")
    assert await clean(cleaner, 2) == set()


async def test_few_tasks_at_a_time_are_asked_whether_others_need_them(
    cleaner: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PRUNE_BATCH", 2)
    asked: list[int] = []
    ids = cleaner.store.ids

    def noted(conditions: Sequence[Condition], sight: Sight, batch: int) -> Any:
        if any(one.column == NEEDED for one in conditions):
            asked.extend(len(one.value) for one in conditions if one.op == "in")
        return ids(conditions, sight, batch)

    monkeypatch.setattr(cleaner.store, "ids", noted)
    for n in range(5):
        await ended(Calls(cleaner), f"t{n}")
    assert await delete_after(cleaner, 2) == set()
    assert asked == [2, 2, 1]


async def test_a_circle_of_ended_tasks_is_deleted(cleaner: Manager, clean: Clean) -> None:
    call = Calls(cleaner)
    pause = {"method": "_TIMER_", "params": {"timer": 60}}
    await call.create(pause, id="first")
    await call.create(pause, id="second", next_task="first")
    await call("tasks.update", id="first", data={"next_task": "second"})
    await call("tasks.cancel", id="first")
    assert await clean(cleaner, 2) == {"first", "second"}
    await call("tasks.cancel", id="second")
    assert await clean(cleaner, 2) == set()


async def test_the_ids_of_messages_of_deleted_tasks_are_deleted(
    cleaner: Manager, clean: Clean
) -> None:
    call = Calls(cleaner)
    for _ in range(2):
        await call.create("_MESSAGE_", id="a")
        message = {"data": 1, "message_id": "m"}
        assert (await call("tasks.message", id="a", **message))["state"] != "duplicate"
        await call.until("a", "FINISHED")
        assert await clean(cleaner, 2) == set()
