"""`tasks.wait`: until the end, or until the task stands elsewhere than the caller has seen."""

import asyncio
from typing import Any

import pytest

from kaiju_tasks.api import tasks as tasks_api
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Sight
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import PATIENCE_SECONDS, wait_until

QUEUED = {"status": "QUEUED", "stage": 0}


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_api, "WAIT_POLL_SECONDS", 3600.0)


async def test_a_wait_follows_a_task_from_stage_to_stage(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", "work", id="a")  # it may be leased at once
    work = await executor.take()
    task = await call("tasks.wait", id="a", timeout=60, seen=QUEUED)
    assert (task["status"], task["stage"]) == ("EXECUTED", 0)
    waiting = asyncio.ensure_future(
        call("tasks.wait", id="a", timeout=60, seen={"status": "EXECUTED", "stage": 0})
    )
    await executor.finish(work, stage=0)
    assert (await waiting)["stage"] == 1


async def test_a_wait_for_what_has_changed_already_is_over_at_once(call: Calls) -> None:
    await call.create("work", id="a")
    for seen in ({**QUEUED, "stage": 1}, {**QUEUED, "status_reason": "retry"}):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await call("tasks.wait", id="a", timeout=60, seen=seen)
    task = await call("tasks.wait", id="a", timeout=0.05, seen=QUEUED)
    assert task["status"] == "QUEUED"


async def test_what_was_seen_must_be_a_place_to_stand(call: Calls) -> None:
    await call.create("work", id="a")
    for seen, field in (({"status": "GONE", "stage": 0}, "status"), ({"status": "IDLE"}, "stage")):
        with pytest.raises(InvalidParams) as wrong:
            await call("tasks.wait", id="a", seen=seen)
        assert wrong.value.field == f"seen.{field}"


async def test_no_change_falls_between_a_look_and_the_wait(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the task changes after its row was read and before the answer has come."""
    await call.create("work", id="a")
    tasks = manager.store.tasks
    changes = ["tasks.suspend", "tasks.cancel"]
    changing = False

    async def late(ids: list[str], sight: Sight, *, results: bool = True) -> object:
        nonlocal changing
        found = await tasks(ids, sight, results=results)
        if changes and not changing:
            changing = True
            await call(changes.pop(0), id="a")
            changing = False
        return found

    monkeypatch.setattr(manager.store, "tasks", late)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await call("tasks.wait", id="a", timeout=60))["status"] == "FAILED"


async def test_nothing_is_kept_of_a_wait_that_is_over(manager: Manager, call: Calls) -> None:
    await call.create("work", id="a")
    waits = [asyncio.ensure_future(call("tasks.wait", id="a", timeout=60)) for _ in range(3)]
    await wait_until(lambda: "a" in manager.waiters.task_ids, "they wait")
    waits[0].cancel()
    await call("tasks.cancel", id="a")
    await asyncio.gather(*waits, return_exceptions=True)
    assert not manager.waiters.task_ids


async def test_the_more_wait_the_less_often_each_of_them_looks(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create("work", id="a")
    monkeypatch.setattr(tasks_api, "WAIT_POLL_SECONDS", 0.001)
    monkeypatch.setattr(tasks_api, "FIRST_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(tasks_api, "WAIT_POLL_SECONDS_EACH", 1800.0)
    looks, tasks = 0, manager.store.tasks

    async def look(*of: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        return await tasks(*of, **options)

    monkeypatch.setattr(manager.store, "tasks", look)
    waits = [call("tasks.wait", id="a", timeout=0.5) for _ in range(2)]
    assert [task["status"] for task in await asyncio.gather(*waits)] == ["QUEUED"] * 2
    assert looks <= 6  # at its begin, after the first moment, and at its end
    assert len(manager.waiters) == 0
