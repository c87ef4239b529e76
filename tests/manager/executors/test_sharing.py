"""Several executors of one stream: a short backlog is divided, a long one slows nobody down."""

import asyncio

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors.streams import Streams
from tests.manager.hand import Calls, HandExecutor, finished
from tests.support.wait import wait_until

CAPACITY = 32


@pytest.fixture
def acquired(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tasks of each acquisition."""
    numbers: list[int] = []
    acquire = Streams._acquire

    async def counted(self: Streams, *args, **kwargs):
        found = await acquire(self, *args, **kwargs)
        numbers.append(len(found.assignments))
        return found

    monkeypatch.setattr(Streams, "_acquire", counted)
    return numbers


async def two(manager: Manager) -> list[HandExecutor]:
    """Two executors without a place."""
    executors = [HandExecutor(manager, name, capacity=0) for name in ("a", "b")]
    for executor in executors:
        await executor.connect()
    return executors


async def open_places(*executors: HandExecutor) -> None:
    """Give executors places at the same moment."""
    await asyncio.gather(
        *(one.call("manager.ping", id=one.id, capacity=CAPACITY) for one in executors)
    )


async def open_many_places(executor: HandExecutor, places: int) -> None:
    await executor.call("manager.ping", id=executor.id, capacity=places)


async def create(call: Calls, count: int) -> None:
    for first in range(0, count, 100):
        data = [{"commands": [{"method": "work"}]} for _ in range(min(100, count - first))]
        await call("tasks.m_create", data=data)


async def test_a_short_backlog_is_divided(
    call: Calls, manager: Manager, acquired: list[int]
) -> None:
    executors = await two(manager)
    await create(call, 36)
    await open_places(*executors)
    await wait_until(lambda: sum(acquired) == 36, "all are leased")
    shares = [one.assigned.qsize() for one in executors]
    assert min(shares) >= 14, shares


async def test_a_long_backlog_is_acquired_in_large_steps(
    call: Calls, manager: Manager, acquired: list[int]
) -> None:
    executors = await two(manager)
    await create(call, 1000)
    await open_places(*executors)
    done = 0

    def full() -> bool:
        held = [one.assigned.qsize() for one in executors]
        return held == [CAPACITY, CAPACITY] or sum(held) == 1000 - done

    while done < 1000:
        await wait_until(full, "both are full, or nothing is left")
        for executor in executors:
            tasks = [executor.assigned.get_nowait() for _ in range(executor.assigned.qsize())]
            done += len(tasks)
            await executor.report(*map(finished, tasks))
    steps = [number for number in acquired if number]
    assert sum(steps) == 1000
    assert len(steps) <= 1000 / CAPACITY + 10, steps


async def test_many_places_are_filled_in_parts_if_the_database_can_work_meanwhile(
    call: Calls, manager: Manager, acquired: list[int]
) -> None:
    executor = HandExecutor(manager, "a", capacity=0)
    await executor.connect()
    await create(call, 300)
    await open_many_places(executor, 200)
    await wait_until(lambda: executor.assigned.qsize() == 200, "its places are full")
    steps = [number for number in acquired if number]
    assert steps == ([50, 50, 50, 50] if manager.store.parallel else [200])
