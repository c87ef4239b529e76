"""Threads and processes are fewer than the tasks that an executor holds."""

import asyncio
import threading
from functools import partial

import pytest

from kaiju_tasks.executor import Executor
from kaiju_tasks.executor.places import Places
from kaiju_tasks.executor.runtime import CROWDED_SECONDS, default_concurrency
from tests.executor.commands import executor as process_executor
from tests.executor.fakes import Rig, assignment, command, settle
from tests.support.wait import PATIENCE_SECONDS, wait_until

executor = Executor("app")
gate = threading.Event()
begun = threading.Semaphore(0)


@executor.command("block")
def block() -> None:
    begun.release()
    gate.wait(PATIENCE_SECONDS)


@executor.command("wrong")
def wrong(number: int) -> None:
    raise AssertionError


@executor.command("wait")
async def wait() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def rig():
    gate.clear()
    while begun.acquire(blocking=False):
        pass
    async with Rig(executor, concurrency=100, threads=2) as rig:
        yield rig
        gate.set()


def blocking():
    return assignment(command("block"))


async def in_threads(count: int) -> None:
    for _ in range(count):
        assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_SECONDS)


def capacity(rig: Rig) -> int:
    pings = rig.manager.methods("manager.ping")
    return int(pings[-1]["capacity"]) if pings else 100


async def test_async_commands_need_no_place(rig):
    await rig.do(*(assignment(command("wait")) for _ in range(100)))
    assert sum(one.running for one in rig.runner._segments.values()) == 100


async def test_a_task_that_waits_shortly_for_a_thread_is_kept(rig):
    await rig.do(*(blocking() for _ in range(5)))
    await in_threads(2)
    await rig.clock.advance(0.9)
    gate.set()
    await wait_until(lambda: len(rig.manager.outcomes()) == 5, "all have run")
    assert rig.manager.outcomes() == [(0, "finished")] * 5
    assert capacity(rig) == 100


async def test_a_task_that_waits_long_for_a_thread_is_given_back(rig):
    first, second, third = (blocking() for _ in range(3))
    await rig.do(first, second, third)
    await in_threads(2)
    await rig.clock.advance(1)
    assert rig.manager.outcomes() == [(0, "released")]
    assert (rig.manager.reports[0].id, rig.manager.reports[0].waited) == (third.id, True)
    gate.set()
    await wait_until(lambda: len(rig.manager.outcomes()) == 3, "the others have run")
    assert rig.stuck == 0


async def test_a_crowded_executor_takes_only_what_has_a_place(rig):
    await rig.do(*(blocking() for _ in range(3)), *(assignment(command("wait")) for _ in range(9)))
    await in_threads(2)
    await rig.clock.advance(1)
    assert capacity(rig) == 2 + 8
    gate.set()
    await rig.clock.advance(CROWDED_SECONDS)
    await rig.clock.advance(10)
    assert capacity(rig) == 100


async def test_a_stage_that_waits_for_a_thread_uses_up_no_time_of_its_own(rig):
    task = assignment(command("block", max_timeout=1))
    await rig.do(blocking(), blocking(), task)
    await in_threads(2)
    await rig.clock.advance(0.9)
    gate.set()
    await in_threads(1)
    gate.clear()
    await rig.clock.advance(0.9)
    gate.set()
    await wait_until(lambda: len(rig.manager.outcomes()) == 3, "all have run")
    assert rig.manager.outcomes() == [(0, "finished")] * 3


async def test_a_task_that_is_revoked_while_it_waits_takes_no_place(rig):
    revoked = blocking()
    await rig.do(blocking(), blocking(), revoked)
    await in_threads(2)
    rig.manager.revoke(revoked)
    await settle()
    gate.set()
    await wait_until(lambda: len(rig.manager.outcomes()) == 2, "the others have run")
    await rig.clock.advance(5)
    assert capacity(rig) == 100
    assert not begun.acquire(blocking=False)


async def test_a_stage_that_cannot_begin_frees_its_place(rig):
    for _ in range(5):
        await rig.do(assignment(command("wrong", params={"number": "x"})))
        await rig.do(assignment(command("wrong", condition={"kws.x": {"gt": 1}}), kws={"x": 0}))
    await rig.do(*(blocking() for _ in range(2)))
    await in_threads(2)


async def test_processes_have_places_too():
    async with Rig(process_executor, concurrency=100, threads=1) as rig:
        tasks = [assignment(command("async_process")) for _ in range(2)]
        rig.manager.run(*tasks)
        await settle()
        assert [one.running for one in rig.runner._segments.values()] == [True, False]
        await wait_until(lambda: len(rig.manager.outcomes()) == 2, "both have run")


def test_many_calls_that_end_at_once_do_not_nest() -> None:
    places = Places(1)
    ended: list[int] = []

    def begin(number: int) -> bool:
        ended.append(number)
        places.leave()
        return True

    places._used = 1
    for number in range(10_000):
        places.wait(partial(begin, number))
    assert ended == []
    places.leave()
    assert ended == list(range(10_000))


def test_an_executor_with_async_commands_holds_hundreds_of_tasks_by_default() -> None:
    threaded = Executor("threaded")
    threaded.command("block")(block)
    assert default_concurrency([executor], 32) == 500
    assert default_concurrency([Executor("any")], 32) == 500
    assert default_concurrency([threaded], 32) == 32
    assert default_concurrency([threaded, executor], 32) == 500
    assert default_concurrency([executor], 1000) == 1000
