"""What a run sets going is bounded in number and depth, over all transactions."""

import asyncio
from typing import Any

import pytest

from kaiju_tasks.errors import TooManyTasks
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.families import Families
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import TransactionConflict
from tests.manager.hand import Calls

SHORT = {"method": "_TIMER_", "params": {"timer": 0.05}}


@pytest.fixture
def settings(store_url: str) -> Settings:
    return Settings(db=store_url, poll_interval=0.2, max_family_tasks=30, max_family_depth=4)


def nest(depth: int, width: int, **fields: Any) -> list[dict[str, Any]]:
    """Commands that create tasks that create tasks, each level in a transaction of its own."""
    if depth == 0:
        return [SHORT]
    task = {"commands": nest(depth - 1, width, **fields), **fields}
    return [SHORT, {"method": "_TASKS_", "params": {"create": [task] * width}}]


async def count(call: Calls) -> int:
    total: int = (await call("tasks.count"))["count"]
    return total


async def types(call: Calls) -> set[str]:
    page = await call("tasks.list", conditions={"status": "FAILED"}, limit=100)
    return {task["error"]["type"] for task in page["data"]}


async def test_children_of_children_are_counted_over_all_transactions(call: Calls) -> None:
    """4 + 16 + 64 tasks, of which 30 may be created."""
    await call.create(*nest(3, 4), id="root")
    root = await call.until("root", "FAILED")
    assert root["error"]["type"] == "child_failed"
    assert await count(call) <= 31
    assert await types(call) >= {"too_many_tasks", "child_failed"}
    page = await call("tasks.list", conditions={"status": "FAILED"}, limit=100)
    (first, *_) = [t for t in page["data"] if t["error"]["type"] == "too_many_tasks"]
    assert first["error"]["data"]["root_id"] == root["job_id"]
    assert "`max_family_tasks` is 30" in first["error"]["message"]


async def test_a_family_may_be_as_large_as_its_limit(call: Calls) -> None:
    await call.create(*nest(2, 5), id="root")
    await call.until("root", "FINISHED")
    assert await count(call) == 31


async def test_each_run_of_a_task_has_its_own_family(call: Calls) -> None:
    await call.create(*nest(1, 20), id="root")
    for _ in range(3):
        await call.until("root", "FINISHED")
        await call("tasks.run_now", id="root")
    await call.until("root", "FINISHED")
    assert await count(call) == 81


async def test_children_that_retries_run_again_are_counted(call: Calls) -> None:
    """Each level is tried six times in each try of the level above: 6 + 36 starts, of which 30 may
    happen."""
    fails = {"method": "_TIMER_", "params": {"timer": "[kws.missing]"}}
    inner = {"commands": [fails], "max_retries": 5}
    middle = {
        "commands": [{"method": "_TASKS_", "params": {"create": [inner]}}],
        "max_retries": 5,
    }
    await call.create({"method": "_TASKS_", "params": {"create": [middle]}}, id="r", max_retries=5)
    task = await call.until("r", "FAILED")
    assert "too_many_tasks" in str(task["error"])


async def test_families_are_bounded_in_depth(call: Calls) -> None:
    await call.create(*nest(5, 1), id="root")
    error = (await call.until("root", "FAILED"))["error"]
    assert await count(call) == 5
    while error["type"] == "child_failed":
        error = error["data"]["error"]
    assert error["type"] == "too_many_tasks"
    assert "`max_family_depth` is 4" in error["message"]


async def test_too_many_tasks_are_not_tried_again(call: Calls) -> None:
    await call.create(*nest(1, 31), id="root", max_retries=10)
    task = await call.until("root", "FAILED")
    assert (task["error"]["type"], task["retries"], task["exit_code"]) == ("too_many_tasks", 0, 1)


async def test_next_tasks_without_a_wait_stay_in_the_family(call: Calls) -> None:
    soon = {"method": "_TIMER_", "params": {"timer": 0}}
    hook = {"method": "_TASKS_", "params": {"create": [{"commands": [soon]}] * 20}}
    await call.create(hook, id="b", delay=3600)
    await call.create(hook, id="a", next_task="b")
    task = await call.until("b", "FAILED")
    assert task["error"]["type"] == "too_many_tasks"
    assert task["error"]["data"]["root_id"] == (await call.get("a"))["job_id"]


async def test_a_transaction_that_is_overtaken_runs_again_and_sees_the_limit(
    manager: Manager,
) -> None:
    async with manager.store.transaction() as tx:
        families = Families(tx, 30)
        await families.grow("root", 20)
        await families.save()
    async with manager.store.transaction() as tx:
        families = Families(tx, 30)
        await families.grow("root", 10)
        families._sizes["root"] = 15  # as it was before another transaction was committed
        families._grown["root"] = 15
        with pytest.raises(TransactionConflict):
            await families.save()
        with pytest.raises(TooManyTasks):
            await Families(tx, 30).grow("root", 30)


async def test_two_managers_create_together_as_many_tasks_as_a_family_may_have(
    call: Calls, other_manager: Manager
) -> None:
    """Twelve parents of one family create three tasks each at the same time; six of them may."""
    message = {"method": "_MESSAGE_"}
    three = {"method": "_TASKS_", "params": {"create": [{"commands": [SHORT]}] * 3}}
    parents = [{"id": f"p{i}", "commands": [message, three]} for i in range(12)]
    hook = {"method": "_TASKS_", "params": {"create": parents, "on_error": "continue"}}
    await call.create(hook, id="root")
    there = Calls(other_manager)
    await asyncio.gather(
        *[(call, there)[i % 2]("tasks.message", id=f"p{i}", data=1) for i in range(12)]
    )
    root = await call.until("root", "FINISHED")
    statuses = [one["status"] for one in root["result"][0]]
    assert (statuses.count("FINISHED"), statuses.count("FAILED")) == (6, 6)
    assert await count(call) == 31


async def test_a_family_is_counted_for_a_day(call: Calls, manager: Manager) -> None:
    await call.create(*nest(1, 30), id="root")
    root = await call.until("root", "FINISHED")

    async def sizes() -> dict[str, int]:
        async with manager.store.transaction() as tx:
            return await tx.family_sizes([root["job_id"]])

    now = await manager.store.now()
    assert await manager.store.prune_families(now - 3600) == 0
    assert await sizes() == {root["job_id"]: 30}
    assert await manager.store.prune_families(now + 3600) == 1
    assert await sizes() == {}
