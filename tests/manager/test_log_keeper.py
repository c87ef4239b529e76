"""How a manager groups the log lines of several calls."""

import asyncio
from collections.abc import Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.manager.logs import LogKeeper
from kaiju_tasks.protocol import LoggedLine, StageLog
from kaiju_tasks.store.logs import LogChunk, WrittenChunk


class HeldStore:
    """Writes when a test opens the gate.

    :ivar groups: the numbers of the first and the last line of each chunk, by transaction
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.groups: list[list[tuple[int, int]]] = []

    async def write_logs(self, chunks: Sequence[LogChunk]) -> list[WrittenChunk]:
        self.groups.append([(chunk.n, chunk.last) for chunk in chunks])
        await self.gate.wait()
        return [WrittenChunk(chunk.attempt, chunk.n, 0, "EXECUTED", 1) for chunk in chunks]


class Calls:
    """Calls of executors on a keeper of logs."""

    def __init__(self) -> None:
        self.store = HeldStore()
        self.written: list[Any] = []
        self.fails = False
        self.tasks: set[asyncio.Task[Any]] = set()
        store: Any = self.store
        self.keeper = LogKeeper(store, lambda: 1000.0, self.on_written, self.spawn)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    def on_written(self, written: list[Any]) -> None:
        if self.fails:
            raise RuntimeError("a listener fails")
        self.written += written

    async def write(self, *numbers: int, executor_id: str = "e") -> "asyncio.Task[int]":
        """Begin a call with lines of these numbers."""
        session: Any = SimpleNamespace(app_names=["app"], executor_id=executor_id)
        lines = [LoggedLine(n, f"line {n}") for n in numbers]
        log = StageLog(
            id="t", job_id="j", epoch=1, nonce="x", stage=0, attempt=1, cycle=0, lines=lines
        )
        task = self.spawn(self.keeper.write([log], session))
        for _ in range(5):
            await asyncio.sleep(0)
        return task


async def test_the_lines_of_callers_that_are_gone_are_not_written() -> None:
    calls = Calls()
    first, gone, again = [await calls.write(n) for n in (1, 2, 2)]
    gone.cancel()
    calls.store.gate.set()
    assert (await first, await again) == (1, 1)
    assert calls.store.groups == [[(1, 1)], [(2, 2)]]


async def test_lines_that_come_twice_are_written_once() -> None:
    calls = Calls()
    first, second, again, overlapping, next_ = [
        await calls.write(*numbers) for numbers in ([1], [2, 3], [2, 3], [3, 4], [4])
    ]
    other = await calls.write(2, executor_id="other")
    calls.store.gate.set()
    assert [await one for one in (first, second, again, overlapping, next_)] == [1, 2, 0, 0, 1]
    await other
    assert calls.store.groups == [[(1, 1)], [(2, 3), (2, 2), (4, 4)]]


async def test_lines_that_were_answered_with_an_error_are_not_written_later() -> None:
    calls = Calls()
    calls.fails = True
    first, refused = [await calls.write(n) for n in (1, 2)]
    calls.store.gate.set()
    assert await first == 1
    with pytest.raises(Unavailable):
        await refused
    calls.fails = False
    assert await (await calls.write(2)) == 1
    assert calls.store.groups == [[(1, 1)], [(2, 2)]]
    await asyncio.gather(*calls.tasks, return_exceptions=True)
