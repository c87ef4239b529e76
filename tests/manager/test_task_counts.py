"""Counts of many tasks are used again for a while, because each count reads all tasks."""

import asyncio
from typing import Any, cast

import pytest

from kaiju_tasks.manager import task_counts
from kaiju_tasks.manager.task_counts import TaskCounts
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.store.base import Store


class Counted:
    """A store with some tasks, which remembers how often they were counted."""

    def __init__(self, tasks: int) -> None:
        self.tasks, self.times = tasks, 0

    async def status_counts(self, sight: Sight) -> dict[tuple[str, str], int]:
        assert sight.everything
        self.times += 1
        await asyncio.sleep(0)
        return {("a", "FINISHED"): self.tasks, ("b", "QUEUED"): 1}


def counts_of(store: Counted) -> TaskCounts:
    return TaskCounts(cast("Store", store))


async def test_few_tasks_are_counted_each_time() -> None:
    store = Counted(5)
    counts = counts_of(store)
    assert await counts.read(ALL_SIGHT) == {("a", "FINISHED"): 5, ("b", "QUEUED"): 1}
    store.tasks = 6
    assert (await counts.read(ALL_SIGHT))["a", "FINISHED"] == 6


async def test_many_tasks_are_counted_once_for_all_who_ask() -> None:
    store = Counted(task_counts.MANY_TASKS)
    counts = counts_of(store)
    found = await asyncio.gather(*(counts.read(ALL_SIGHT) for _ in range(10)))
    assert store.times == 1
    assert found[9]["a", "FINISHED"] == task_counts.MANY_TASKS
    assert await counts.read(Sight(streams=(("b*",),))) == {("b", "QUEUED"): 1}
    assert store.times == 1


async def test_old_counts_are_not_used(monkeypatch: Any) -> None:
    monkeypatch.setattr(task_counts, "KEPT_SECONDS", 0.0)
    store = Counted(task_counts.MANY_TASKS)
    counts = counts_of(store)
    await counts.read(ALL_SIGHT)
    await counts.read(ALL_SIGHT)
    assert store.times == 2


async def test_a_count_that_fails_is_not_kept() -> None:
    store = Counted(task_counts.MANY_TASKS)
    counts, count = counts_of(store), store.status_counts

    async def fail(sight: Sight) -> dict[tuple[str, str], int]:
        raise ConnectionError(str(sight))

    store.status_counts = fail  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await counts.read(ALL_SIGHT)
    store.status_counts = count  # type: ignore[method-assign]
    assert (await counts.read(ALL_SIGHT))["b", "QUEUED"] == 1


async def test_a_count_that_fails_fails_once_for_all_concurrent_callers() -> None:
    store = Counted(task_counts.MANY_TASKS)
    counts, failures = counts_of(store), list[Exception]()

    async def fail(sight: Sight) -> dict[tuple[str, str], int]:
        failures.append(ConnectionError(str(sight)))
        await asyncio.sleep(0)
        raise failures[-1]

    store.status_counts = fail  # type: ignore[method-assign]
    asked = (counts.read(ALL_SIGHT) for _ in range(5))
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert found == failures * 5
    assert len(failures) == 1
