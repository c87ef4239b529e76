"""A stage goes only to an executor that announces its method."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import AckState
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.support.wait import wait_until

OLD, NEW = ["work", "old"], ["work", "new"]


class Fleet:
    """Executors of one stream with different methods."""

    def __init__(self, manager: Manager, stack: AsyncExitStack) -> None:
        self._manager = manager
        self._stack = stack

    async def add(
        self,
        executor_id: str,
        methods: list[str],
        *,
        capacity: int = 10,
        manager: Manager | None = None,
    ) -> HandExecutor:
        executor = HandExecutor(manager or self._manager, executor_id, capacity)
        await executor.connect(commands=[{"method": method} for method in methods])
        await self._stack.enter_async_context(pinging(executor))
        return executor


@pytest.fixture
async def fleet(manager: Manager) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        yield Fleet(manager, stack)


async def test_a_stage_goes_to_an_executor_that_has_its_method(call: Calls, fleet: Fleet) -> None:
    old, new = await fleet.add("old", OLD), await fleet.add("new", NEW)
    for n in range(4):
        await call.create("old", id=f"old{n}")
        await call.create("new", id=f"new{n}")
    assert {(await old.take()).id for _ in range(4)} == {f"old{n}" for n in range(4)}
    assert {(await new.take()).id for _ in range(4)} == {f"new{n}" for n in range(4)}


async def test_a_task_waits_for_an_executor_that_has_its_method(call: Calls, fleet: Fleet) -> None:
    old = await fleet.add("old", OLD)
    made = await call.create("new", id="t")
    assert "new" in made["warnings"][0]
    await wait_until(partial(_reason_is, call, "t", "method"), "it waits for its method")
    assert (await call.get("t"))["status"] == "QUEUED"
    await call.create("work", id="behind")
    assert (await old.take()).id == "behind"
    new = await fleet.add("new", NEW)
    task = await new.take()
    assert task.id == "t"
    await new.finish(task)
    assert (await call.get("t"))["status"] == "FINISHED"


async def test_a_segment_ends_before_a_method_that_its_executor_lacks(
    call: Calls, fleet: Fleet
) -> None:
    old, new = await fleet.add("old", OLD), await fleet.add("new", NEW)
    await call.create("old", "old", {"method": "new", "params": {"data": "[1]"}}, "old", id="t")
    task = await old.take()
    assert (task.stage, len(task.commands), task.stages) == (0, 2, 4)
    assert (await old.finish(task, 1)).state is AckState.OK
    assert (await old.finish(task, 2, stage=1)).state is AckState.RELEASED
    task = await new.take()
    assert (task.stage, len(task.commands), bytes(task.results["1"])) == (2, 1, b"2")
    assert (await new.finish(task)).state is AckState.RELEASED
    task = await old.take()
    assert (task.stage, task.epoch) == (3, 3)
    await old.finish(task)
    assert (await call.get("t"))["status"] == "FINISHED"


async def test_an_executor_that_announces_nothing_takes_everything(
    call: Calls, fleet: Fleet
) -> None:
    await fleet.add("old", OLD)
    await call.create("new", "old", "other", id="t")
    await wait_until(partial(_reason_is, call, "t", "method"), "it waits for its method")
    task = await (await fleet.add("any", [])).take()
    assert len(task.commands) == 3


async def test_tasks_that_nobody_can_take_block_nobody(call: Calls, fleet: Fleet) -> None:
    commands = [{"method": "nobody"}]
    for page in range(10):
        data = [{"id": f"n{page}-{n}", "commands": commands, "priority": 5} for n in range(100)]
        await call("tasks.m_create", data=data)
    old = await fleet.add("old", OLD, capacity=1)
    await call.create("work", id="t")
    assert (await old.take()).id == "t"


async def test_priorities_hold_between_ready_tasks_and_those_that_waited(
    call: Calls, fleet: Fleet
) -> None:
    old, new = await fleet.add("old", OLD), await fleet.add("new", NEW, capacity=0)
    for id, priority in (("low", -1), ("high", 7), ("mid", 3)):
        await call.create("new", id=id, priority=priority)
        await wait_until(partial(_reason_is, call, id, "method"), f"{id} waits for its method")
    await old.call("manager.ping", id="old", capacity=0)
    await call.create("work", id="ready", priority=5)
    await new.call("manager.ping", id="new", capacity=1)
    for expected in ("high", "ready", "mid", "low"):
        task = await new.take()
        assert task.id == expected
        await new.finish(task)


async def _reason_is(call: Calls, task_id: str, reason: str) -> bool:
    return bool((await call.get(task_id))["status_reason"] == reason)
