"""What the committer and the loops promise when things go wrong."""

import asyncio
import logging

import pytest

from kaiju_tasks.define import define, read_new_task
from kaiju_tasks.errors import Unavailable
from kaiju_tasks.lifecycle import Acquired, Definition, Due, advance
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors import placement
from kaiju_tasks.manager.writing import states
from kaiju_tasks.manager.writing.definitions import DefinitionCache
from kaiju_tasks.protocol import AckState
from tests.manager.hand import Calls, HandExecutor, finished, pinging
from tests.support.wait import PATIENCE_SECONDS, wait_until


async def test_a_cancelled_caller_harms_no_other(call: Calls) -> None:
    callers = [asyncio.create_task(call.create("a", id=f"t{i}", delay=3600)) for i in range(20)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    done = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in done[::2])
    assert [one["id"] for one in done[1::2] if isinstance(one, dict)] == [
        f"t{i}" for i in range(1, 20, 2)
    ]


async def test_what_is_queued_is_written_before_the_end(call: Calls, manager: Manager) -> None:
    ids = [f"t{i}" for i in range(50)]
    for name in ids:
        await call.create("a", id=name, delay=3600)
    now = await manager.store.now()
    writes = asyncio.create_task(
        manager.committer.apply_all([(name, Due(job_id="j", up_since=now)) for name in ids])
    )
    resets = [asyncio.create_task(call("tasks.suspend", id=name)) for name in ids]
    await asyncio.sleep(0)
    await manager.committer.stop()
    assert not any(isinstance(outcome, BaseException) for outcome in await writes)
    for outcome in await asyncio.gather(*resets, return_exceptions=True):
        if not isinstance(outcome, Unavailable):
            assert not isinstance(outcome, BaseException)
            assert outcome["status"] == "SUSPENDED"
    with pytest.raises(Unavailable, match="stopping"):
        await call("tasks.suspend", id="t0")


async def test_reports_of_one_task_are_written_as_they_came(
    call: Calls, executor: HandExecutor
) -> None:
    for index in range(20):
        await call.create("a", "b", "c", id=f"t{index}")
        task = await executor.take()
        acks = await executor.report(*[finished(task, n, stage=n) for n in range(3)])
        assert [ack.state for ack in acks] == [AckState.OK, AckState.OK, AckState.RELEASED]


async def test_a_publication_that_fails_writes_nothing_twice(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(changes: object) -> None:
        raise RuntimeError("nobody listens")

    monkeypatch.setattr(manager.committer, "_publish", fail)
    made = await call.create({"method": "_TIMER_", "params": {"timer": 0}}, id="once")
    assert (made["created"], made["status"]) == (True, "FINISHED")
    assert len(await call("tasks.runs", id="once")) == 1


async def test_a_task_that_cannot_go_on_stops_no_other(
    call: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:

    def advance_or_fail(task, event, now):
        if task.row.id == "poison" and isinstance(event, Due):
            raise RuntimeError("a fault of ours")
        return advance(task, event, now)

    monkeypatch.setattr(states, "advance", advance_or_fail)
    timer = {"method": "_TIMER_", "params": {"timer": 0.05}}
    with caplog.at_level(logging.ERROR):
        await call.create(timer, id="poison")
        await call.create(timer, id="sound")
        assert (await call.until("sound", "FINISHED"))["exit_code"] == 0
        await wait_until(lambda: "poison" in caplog.text, "the fault is logged")


async def test_a_task_that_cannot_be_leased_is_not_tried_all_the_time(
    call: Calls,
    executor: HandExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def advance_or_fail(task, event, now):
        if task.row.id == "poison" and isinstance(event, Acquired):
            raise RuntimeError("a fault of ours")
        return advance(task, event, now)

    monkeypatch.setattr(states, "advance", advance_or_fail)
    monkeypatch.setattr(placement, "advance", advance_or_fail)
    with caplog.at_level(logging.ERROR):
        await call.create("work", id="poison")
        for i in range(5):
            await call.create("work", id=f"sound{i}")
            await executor.finish(await executor.take())
    assert 1 <= caplog.text.count("advancing task poison failed") < 50


async def test_due_tasks_that_others_hold_are_not_asked_for_all_the_time(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    async def held_by_others(tx: object, *, at_once: int) -> list:
        asked.append(loop.time())
        return []

    monkeypatch.setattr(manager.scheduler, "_due_batch", held_by_others)
    await call.create("a", id="held", delay=0.3)
    await wait_until(lambda: len(asked) >= 5, "the scheduler has asked five times")
    assert asked[4] - asked[1] >= 3 * 0.04


async def test_no_stream_takes_every_place(call: Calls, manager: Manager) -> None:
    for name in ("a", "b"):
        for index in range(6):
            await call.create("work", id=f"{name}{index}", app_name=name)
    hand = HandExecutor(manager, "h", capacity=1)
    await hand.call("manager.connect", id="h", app_names=["a", "b"], capacity=1)
    taken = []
    async with pinging(hand):
        for _ in range(6):
            task = await hand.take()
            taken.append(task.app_name)
            await hand.finish(task)
    assert sorted(taken) == ["a"] * 3 + ["b"] * 3


async def test_streams_that_nobody_serves_are_forgotten(
    call: Calls, manager: Manager, executor: HandExecutor
) -> None:
    for index in range(5):
        await call.create("work", id=f"t{index}", app_name=f"nobody{index}")
    await call.create("work", id="mine")
    await executor.take()
    await wait_until(lambda: not manager.streams._pending, "no stream is kept")


def test_the_cache_of_definitions_is_bounded_in_bytes() -> None:
    cache = DefinitionCache(limit=100, limit_bytes=10_000)
    for index in range(50):
        data = {"id": f"t{index}", "commands": [{"method": "a"}], "kws": {"x": "y" * 3_000}}
        made = define(read_new_task(data), now=0.0, new_id="", default_app="default")
        cache.keep(index, made.definition)
        cache.keep(index, made.definition)
    assert list(cache._kept) == ["t47", "t48", "t49"]
    for name in list(cache._kept):
        cache.forget(name)
    assert cache._bytes == 0


def test_a_backlog_larger_than_the_cache_of_definitions_evicts_what_has_ended() -> None:
    cache = DefinitionCache(limit=100)

    def definition(index: int) -> Definition:
        return Definition(id=f"t{index:03}", app_name="", commands=[])

    for index in range(200):  # a backlog of 200 tasks, of which the cache keeps the last 100
        cache.keep(1, definition(index))
    misses = 0
    for index in range(200):  # they run in the order of their creation, ten at a time
        if cache.known(f"t{index:03}") is None:
            misses += 1
            cache.keep(1, definition(index))
        if index >= 10:
            cache.ended(f"t{index - 10:03}")
    assert misses <= 100 + 11, "ten running tasks took the place of others, not each task"


async def test_a_cancelled_transaction_is_whole_or_nothing_and_blocks_nobody(
    call: Calls, manager: Manager
) -> None:
    def batch(number: int) -> list[dict]:
        return [
            {"id": f"b{number}-{index}", "commands": [{"method": "a"}], "delay": 3600}
            for index in range(3)
        ]

    async def cancelled(number: int) -> None:
        creating = asyncio.create_task(call("tasks.m_create", data=batch(number)))
        await asyncio.sleep(0.0005 * number)
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)

    await asyncio.gather(*map(cancelled, range(30)))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await call.create("a", id="after", delay=3600)
        ids = [task["id"] for task in (await call("tasks.list", limit=1000))["data"]]
    made = [name.partition("-")[0] for name in ids if name != "after"]
    assert all(made.count(name) == 3 for name in made)
