"""Run tasks in a test: manager, database and executors in one loop, and time that can be moved.

async def test_an_invoice_is_rendered():
    async with running(executor) as kaiju:
        task = await kaiju.run({"commands": [{"method": "invoice.render", ...}]})
        assert task["exit_code"] == 0
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from kaiju_tasks.embedded import MEMORY, Embedded, EventStream, embedded, link_executors
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.settings import Settings, load_settings
from kaiju_tasks.store.base import Condition, Ping
from kaiju_tasks.types import NewTask, TaskStatus

__all__ = ["Kaiju", "running"]

ENDED = (TaskStatus.FINISHED, TaskStatus.FAILED)
LOOK_SECONDS = 0.002


class Kaiju:
    """What a test talks to.

    :ivar manager: the manager itself
    """

    def __init__(self, inside: Embedded, clock: "MovedClock") -> None:
        self.manager = inside.manager
        self._inside = inside
        self._clock = clock

    @property
    def now(self) -> float:
        """The manager's time, UNIX seconds."""
        return self._clock()

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method of the manager, as a client does.

        :param method: its full name, as `tasks.create`
        :returns: its result, as plain data
        :raises KaijuError: as a client gets it
        """
        return await self._inside.call(method, **params)

    def events(
        self, conditions: dict[str, Any] | None = None
    ) -> contextlib.AbstractContextManager[EventStream]:
        """Be told what happens, until the end of the block (docs/events.md).

        :param conditions: by field of an event, as in `tasks.list`
        """
        return self._inside.events(conditions)

    async def create(self, task: Mapping[str, Any] | NewTask) -> dict[str, Any]:
        """Create a task and return it."""
        created: dict[str, Any] = await self.call("tasks.create", data=task)
        return created

    async def get(self, id: str) -> dict[str, Any]:
        """Get a task."""
        task: dict[str, Any] = await self.call("tasks.get", id=id)
        return task

    async def run(self, task: Mapping[str, Any] | NewTask, timeout: float = 10.0) -> dict[str, Any]:
        """Create a task and wait until its run has ended.

        Time is not moved: a task that waits for a timer does not end here.

        :param timeout: real seconds, up to 60
        :returns: the task
        :raises TimeoutError: it has not ended; says where it stands
        """
        created = await self.create(task)
        return await self.wait(created["id"], timeout)

    async def wait(self, id: str, timeout: float = 10.0) -> dict[str, Any]:
        """Wait until the run of a task has ended.

        :param timeout: real seconds, up to 60
        :raises TimeoutError: it has not ended; says where it stands
        """
        task: dict[str, Any] = await self.call("tasks.wait", id=id, timeout=timeout)
        if task["status"] not in ENDED and not (task["cron"] or task["every"]):
            raise TimeoutError(
                f"task {id!r} stands at {task['status']} ({task['status_reason']}), stage "
                f"{task['stage']} of {task['stages']}, after {timeout:g} s; error: {task['error']}"
            )
        return task

    async def wait_for(self, id: str, status: str, timeout: float = 10.0) -> dict[str, Any]:
        """Wait until a task has a status.

        :param timeout: real seconds
        :raises TimeoutError: it has not
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        with self.manager.waiters.watch(id) as watch:
            while (task := await self.get(id))["status"] != status:
                if loop.time() >= until:
                    raise TimeoutError(f"task {id!r} is {task['status']}, not {status}")
                await watch.wait(until - loop.time())
                watch.clear()
        return task

    async def move(self, seconds: float, patience: float = 1.0) -> None:
        """Let time pass, stopping at each moment at which something is due.

        What becomes due is done and may run before time goes on. Executors stay connected; the
        commands' own clocks are real.

        :param seconds: how far, from 0
        :param patience: real seconds that running stages get at each stop
        """
        if seconds < 0:
            raise ValueError("time goes forward: `seconds` must be from 0")
        target = self._clock() + seconds
        await self.settle(patience)
        while (due := await self._next_due()) is not None and due <= target:
            await self._set(max(due, self._clock()))
            await self.settle(patience)
        await self._set(target)
        await self.settle(patience)

    async def settle(self, patience: float = 1.0) -> None:
        """Wait until nothing is due and nothing runs.

        :param patience: real seconds that running stages get
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while await self._busy():
            if loop.time() >= until:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _busy(self) -> bool:
        summary = await self.manager.store.work_summary()
        if summary.next_due is not None and summary.next_due <= summary.now:
            self.manager.scheduler.look()
            return True
        if summary.ready & self.manager.streams.served():
            return True
        running = Condition("status", "eq", TaskStatus.EXECUTED)
        return await self.manager.store.count([running]) > 0

    async def _next_due(self) -> float | None:
        return (await self.manager.store.work_summary()).next_due

    async def _set(self, moment: float) -> None:
        """Leases are renewed before time moves, so that no executor is lost by it."""
        ahead = moment - self._clock()
        lease_seconds = self.manager.settings.lease_seconds + ahead
        pings = [Ping(s.executor_id, s.nonce, s.capacity) for s in self.manager.sessions]
        if pings:
            await self.manager.store.ping(pings, lease_seconds)
        self._clock.ahead += ahead
        self.manager.scheduler.look()


class MovedClock:
    """The real time, and how far a test has moved it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@contextlib.asynccontextmanager
async def running(
    *executors: Executor, settings: Settings | None = None, concurrency: int = 32
) -> AsyncIterator[Kaiju]:
    """Run a manager with an empty database in memory, and executors beside it.

    :param executors: any number; without one tasks stay queued
    :param settings: others than the defaults; `db` is always in memory
    :param concurrency: tasks that the executors hold at once, from 1
    """
    settings = load_settings(environ={}) if settings is None else settings
    clock = MovedClock()
    async with contextlib.AsyncExitStack() as stack:
        settings = msgspec.structs.replace(settings, db=MEMORY)
        inside = await stack.enter_async_context(embedded(settings, clock))
        if executors:
            linked = link_executors(inside, executors, concurrency=concurrency)
            await stack.enter_async_context(linked)
        yield Kaiju(inside, clock)
