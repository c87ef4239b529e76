"""Concurrency keys: so many runs execute at once, the others wait in order, no slot is lost."""

import asyncio
from typing import Any

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import Assignment
from tests.manager.hand import Calls, HandExecutor, executors_are_lost_soon, pinging
from tests.support.wait import wait_until

ONE = {"key": "[kws.who:all]", "limit": 1}


async def create(call: Calls, id: str, *methods: Any, **fields: Any) -> dict[str, Any]:
    fields.setdefault("concurrency", ONE)
    return await call.create(*(methods or ("work",)), id=id, **fields)


async def nothing_comes(executor: HandExecutor) -> None:
    """All that could be acquired has been, and it is not for this executor."""

    async def none_is_ready() -> bool:
        return "default" not in (await executor.manager.store.work_summary()).ready

    await wait_until(none_is_ready, "nothing may be acquired any more")
    assert executor.assigned.empty()


async def reasons(call: Calls, *ids: str) -> list[tuple[str, str | None]]:
    tasks = [await call.get(id) for id in ids]
    return [(task["status"], task["status_reason"]) for task in tasks]


async def used(manager: Manager, key: str = "all") -> int:
    return await manager.store.slot_used(key)


async def test_no_more_than_the_limit_execute_and_the_others_wait_in_order(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    for i in range(5):
        await create(call, f"t{i}", concurrency={**ONE, "limit": 2})
    first, second = await executor.take(), await executor.take()
    assert [first.id, second.id] == ["t0", "t1"]
    assert first.exclusive
    await nothing_comes(executor)
    waits = [("QUEUED", "concurrency")] * 3
    assert await reasons(call, "t2", "t3", "t4") == waits
    assert await used(manager) == 2
    await executor.finish(second)
    third = await executor.take()
    assert third.id == "t2"
    await nothing_comes(executor)
    await executor.finish(first)
    fourth = await executor.take()
    await executor.finish(third)
    fifth = await executor.take()
    assert [fourth.id, fifth.id] == ["t3", "t4"]
    await executor.finish(fourth)
    await executor.finish(fifth)
    assert await used(manager) == 0


async def test_keys_are_filled_at_create_and_apart_from_each_other(
    call: Calls, executor: HandExecutor
) -> None:
    for i, who in enumerate("aab"):
        await create(call, f"t{i}", kws={"who": who})
    taken = [(await executor.take()).id for _ in range(2)]
    assert sorted(taken) == ["t0", "t2"]
    await nothing_comes(executor)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("task", {"method": "other"}),
        ("arguments", {"method": "work", "params": {"n": 2}}),
    ],
)
async def test_a_key_may_be_the_tasks_methods_or_arguments(
    call: Calls, executor: HandExecutor, key: str, other: dict[str, Any]
) -> None:
    work = {"method": "work", "params": {"n": 1}}
    named = {"concurrency": {"key": key, "limit": 1}}
    await create(call, "a", work, kws={"x": 1}, **named)
    await create(call, "b", work, kws={"x": 1}, **named)
    await create(call, "c", other, kws={"x": 1}, **named)
    taken = {(await executor.take()).id, (await executor.take()).id}
    assert taken == {"a", "c"}
    await nothing_comes(executor)
    assert await reasons(call, "b") == [("QUEUED", "concurrency")]
    (why,) = (await call("tasks.explain", id="b"))["reasons"]
    assert why["data"]["key"] == key


async def test_a_template_is_not_counted_with_the_kind_of_its_text(
    call: Calls, executor: HandExecutor
) -> None:
    for number, key in enumerate(("task", "arguments", "[kws.kind]")):
        concurrency = {"key": key, "limit": 1}
        await create(call, f"t{number}", kws={"kind": "task"}, concurrency=concurrency)
    taken = {(await executor.take()).id for _ in range(3)}
    assert taken == {"t0", "t1", "t2"}


async def test_a_template_with_a_bracket_first_is_shown_as_it_was_filled(
    call: Calls, executor: HandExecutor
) -> None:
    concurrency = {"key": "[kws.key]", "limit": 1}
    for id in ("a", "b"):
        await create(call, id, kws={"key": '["x"]'}, concurrency=concurrency)
    await executor.take()
    await nothing_comes(executor)
    (why,) = (await call("tasks.explain", id="b"))["reasons"]
    assert why["data"]["key"] == '["x"]'


async def test_priority_decides_who_of_the_waiting_is_next(
    call: Calls, executor: HandExecutor
) -> None:
    await create(call, "holder")
    holder = await executor.take()
    await create(call, "low", priority=-1)
    await create(call, "high", priority=5)
    await nothing_comes(executor)
    await executor.finish(holder)
    assert (await executor.take()).id == "high"


async def test_a_slot_is_free_at_a_hook_a_retry_and_the_end(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    hook = {"method": "_MESSAGE_"}
    await create(call, "hooked", "work", hook, "work")
    await create(call, "failing", max_retries=1, retry_delay=3600)
    await create(call, "last")
    await executor.finish(await executor.take())
    failing = await executor.take()
    assert failing.id == "failing"
    await executor.fail(failing)
    last = await executor.take()
    assert last.id == "last"
    await call("tasks.message", id="hooked", data=1)
    await nothing_comes(executor)
    assert await reasons(call, "hooked") == [("QUEUED", "concurrency")]
    await executor.finish(last)
    assert (await executor.take()).id == "hooked"
    assert await used(manager) == 1


@executors_are_lost_soon
async def test_a_lost_executor_leaks_no_slot(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    doomed = HandExecutor(manager, "doomed")
    await executor.call("executors.drain", id="hand")
    await doomed.connect()
    await create(call, "t0")
    await create(call, "t1")
    await doomed.take()
    await nothing_comes(doomed)
    await doomed.cut()
    await executor.call("executors.resume", id="hand")
    second = await executor.take()
    assert second.id == "t1"
    await executor.finish(second)
    assert (await executor.take()).id == "t0"
    assert await used(manager) == 1


async def test_whoever_takes_away_the_next_makes_room_for_the_one_after(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    executor.capacity = 1
    await executor.call("manager.ping", id="hand", capacity=1)
    await create(call, "holder")
    holder = await executor.take()
    await executor.call("manager.ping", id="hand", capacity=2)
    for i in range(1, 5):
        await create(call, f"t{i}")
    await nothing_comes(executor)
    await executor.call("executors.drain", id="hand")
    await executor.finish(holder)
    waits, free = ("QUEUED", "concurrency"), ("QUEUED", None)
    assert await reasons(call, "t1", "t2", "t3", "t4") == [free, waits, waits, waits]
    for i, take_away in enumerate(("suspend", "cancel", "delete"), 1):
        await call(f"tasks.{take_away}", id=f"t{i}")
        assert await reasons(call, f"t{i + 1}") == [free]
    await executor.call("executors.resume", id="hand")
    assert (await executor.take()).id == "t4"
    assert await used(manager) == 1


async def test_a_waiter_of_a_stream_without_executors_stands_in_nobodys_way(
    call: Calls, executor: HandExecutor
) -> None:
    await create(call, "holder")
    holder = await executor.take()
    await create(call, "elsewhere", app_name="nobody")
    await create(call, "here")
    await nothing_comes(executor)
    await executor.finish(holder)
    assert (await executor.take()).id == "here"
    assert await reasons(call, "elsewhere") == [("QUEUED", None)]


async def test_a_run_that_would_have_to_wait_is_dropped_when_it_wants_to_be(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    drop = {**ONE, "on_full": "drop"}
    await create(call, "holder", concurrency=drop)
    holder = await executor.take()
    made = await create(call, "late", concurrency=drop, notify=True)
    assert (made["status"], made["exit_code"]) == ("FAILED", 130)
    assert made["error"]["type"] == "cancelled"
    assert made["error"]["data"] == {"reason": "concurrency", "key": "all", "limit": 1}
    await executor.finish(holder)
    await create(call, "free", concurrency=drop)
    assert (await executor.take()).id == "free"


async def test_waiting_for_a_slot_counts_as_standing_in_the_queue(
    call: Calls, executor: HandExecutor
) -> None:
    await create(call, "holder")
    await executor.take()
    await create(call, "impatient", max_queue_time=0.3)
    await nothing_comes(executor)
    ended = await call.until("impatient", "FAILED")
    assert ended["error"]["type"] == "queue_timeout"


async def test_a_held_waiter_lets_others_pass_and_comes_back_to_its_place(
    call: Calls, executor: HandExecutor
) -> None:
    await create(call, "holder")
    holder = await executor.take()
    for id in ("t1", "t2"):
        await create(call, id)
    await nothing_comes(executor)
    await call("tasks.suspend", id="t1")
    await executor.finish(holder)
    second = await executor.take()
    assert second.id == "t2"
    await call("tasks.resume", id="t1")
    await nothing_comes(executor)
    assert await reasons(call, "t1") == [("QUEUED", "concurrency")]
    await executor.finish(second)
    assert (await executor.take()).id == "t1"


async def test_thousands_that_wait_cost_an_acquisition_nothing(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    waiting = [{"commands": [{"method": "work"}], "concurrency": ONE} for _ in range(1000)]
    await create(call, "holder")
    await executor.take()
    for _ in range(3):
        await call("tasks.m_create", data=waiting)
    await nothing_comes(executor)
    summary = await manager.store.work_summary()
    assert "default" not in summary.ready
    await call.create("work", id="other")
    assert (await executor.take()).id == "other"


async def test_many_executors_never_exceed_the_limit(manager: Manager, call: Calls) -> None:
    executors = [HandExecutor(manager, f"e{i}", capacity=4) for i in range(4)]
    for one in executors:
        await one.connect()
    limit = {"key": "k", "limit": 3}
    running: set[str] = set()
    most = 0
    full = asyncio.Event()

    async def run(one: HandExecutor, task: Assignment) -> None:
        nonlocal most
        running.add(task.id)
        most = max(most, len(running))
        if most == limit["limit"]:
            full.set()
        await full.wait()
        await asyncio.sleep(0.002)
        running.discard(task.id)
        await one.finish(task)

    async def work(one: HandExecutor) -> None:
        async with asyncio.TaskGroup() as runs:
            while True:
                runs.create_task(run(one, await one.take()))

    async with pinging(*executors):
        workers = [asyncio.create_task(work(one)) for one in executors]
        task = {"commands": [{"method": "work"}], "concurrency": limit}
        await call("tasks.m_create", data=[task] * 150)
        ended = {"status": "FINISHED"}

        async def all_ended() -> bool:
            return (await call("tasks.count", conditions=ended))["count"] == 150

        await wait_until(all_ended, "all have ended")
        for worker in workers:
            worker.cancel()
    assert most == 3
    assert await used(manager, "k") == 0


async def test_a_place_that_comes_to_a_paused_task_goes_on_to_the_next(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    await create(call, "holder")
    holder = await executor.take()
    for i in range(30):
        await create(call, f"t{i:02}", "held")
    await create(call, "last", "work")
    await nothing_comes(executor)
    await call("pauses.add", method="held", reason="maintenance")
    await executor.finish(holder)
    last = await executor.take()
    assert last.id == "last"
    assert await reasons(call, "t00", "t29") == [("QUEUED", "paused")] * 2
    await executor.finish(last)
    assert await used(manager) == 0
