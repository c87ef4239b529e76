"""A stage goes only to an executor that announces its method."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import AckState
from tests.manager.hand import (
    Calls,
    HandExecutor,
    executors_are_lost_soon,
    lease_of,
    pinging,
)
from tests.support.wait import wait_until

OLD, NEW = ["work", "old"], ["work", "new"]


class Fleet:
    """Executors of one stream with different methods."""

    def __init__(self, manager: Manager, stack: AsyncExitStack) -> None:
        self.manager = manager
        self._stack = stack

    async def add(
        self,
        executor_id: str,
        methods: list[str],
        *,
        capacity: int = 10,
        manager: Manager | None = None,
    ) -> HandExecutor:
        executor = HandExecutor(manager or self.manager, executor_id, capacity)
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


async def test_the_executor_that_has_the_method_may_be_at_another_manager(
    call: Calls, fleet: Fleet, other_manager: Manager
) -> None:
    await fleet.add("old", OLD)
    new = await fleet.add("new", NEW, manager=other_manager)
    for n in range(5):
        await call.create("new", id=f"t{n}")
    assert {(await new.take()).id for _ in range(5)} == {f"t{n}" for n in range(5)}


async def test_tasks_are_found_although_no_manager_was_woken(
    call: Calls, fleet: Fleet, other_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(*args: object) -> None:
        """The wake-ups of this manager are lost."""

    monkeypatch.setattr(fleet.manager.store, "wake", unheard)
    await fleet.add("old", OLD)
    new = await fleet.add("new", NEW, manager=other_manager)
    await call.create("new", id="t")
    assert (await new.take()).id == "t"


async def test_what_an_executor_was_sent_ends_where_it_ended_before_it_learned_more(
    call: Calls, fleet: Fleet
) -> None:
    executor = await fleet.add("one", ["a"])
    await call.create("a", "b", id="t")
    task = await executor.take()
    assert len(task.commands) == 1
    commands = [{"method": "a"}, {"method": "b"}]
    await executor.connect(commands=commands, holding=[lease_of(task)])
    assert (await executor.finish(task)).state is AckState.RELEASED
    assert ((await executor.take()).stage, (await call.get("t"))["retries"]) == (1, 0)


async def test_what_an_executor_was_sent_ends_before_what_it_has_no_more(
    call: Calls, fleet: Fleet
) -> None:
    executor, other = await fleet.add("one", ["a", "b"]), await fleet.add("other", ["b"])
    await call.create("a", "b", id="t")
    task = await executor.take()
    assert len(task.commands) == 2
    await executor.connect(commands=[{"method": "a"}], holding=[lease_of(task)])
    assert (await executor.finish(task)).state is AckState.RELEASED
    assert (await other.take()).stage == 1


@executors_are_lost_soon
async def test_a_suspect_task_runs_alone_on_an_executor_that_has_its_method(
    call: Calls, manager: Manager, fleet: Fleet
) -> None:
    await fleet.add("old", OLD)
    await call.create("new", id="t")
    for n in range(2):
        doomed = HandExecutor(manager, f"doomed{n}")
        await doomed.connect(commands=[{"method": "new"}])
        await doomed.take()
        await doomed.cut()
        await call.until("t", "QUEUED")
    new = await fleet.add("new", NEW)
    await new.finish(await new.take())
    assert (await call.get("t"))["status"] == "FINISHED"


async def test_a_pause_holds_what_waits_for_its_method(call: Calls, fleet: Fleet) -> None:
    await fleet.add("old", OLD)
    await call.create("new", id="t")
    await wait_until(partial(_reason_is, call, "t", "method"), "it waits for its method")
    await call("pauses.add", id="p", app_name="default", reason="new disks")
    await wait_until(partial(_reason_is, call, "t", "paused"), "a pause holds it")
    new = await fleet.add("new", NEW)
    await call("pauses.remove", id="p")
    assert (await new.take()).id == "t"


async def test_a_slot_is_passed_on_when_a_task_waits_for_its_method(
    call: Calls, fleet: Fleet
) -> None:
    old = await fleet.add("old", OLD)
    one = {"key": "k", "limit": 1}
    for n in range(5):
        await call.create("new", id=f"new{n}", concurrency=one)
    await call.create("work", id="work", concurrency=one)
    await old.finish(await old.take())
    assert (await call.get("work"))["status"] == "FINISHED"
    new = await fleet.add("new", NEW)
    for _ in range(5):
        await new.finish(await new.take())


async def test_a_task_that_waits_for_its_method_ends_with_its_time_in_the_stream(
    call: Calls, fleet: Fleet
) -> None:
    await fleet.add("old", OLD)
    await call.create("new", id="t", max_queue_time=0.2)
    ended = await call.until("t", "FAILED")
    assert (ended["exit_code"], ended["error"]["type"]) == (130, "queue_timeout")


async def _reason_is(call: Calls, task_id: str, reason: str) -> bool:
    return bool((await call.get(task_id))["status_reason"] == reason)
