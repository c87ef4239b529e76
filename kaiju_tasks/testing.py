"""Run tasks in a test: a manager, its database and executors in one loop, with movable time.

async def test_an_invoice_is_rendered():
    async with running(executor) as kaiju:
        task = await kaiju.run({"commands": [{"method": "invoice.render", ...}]})
        assert task["exit_code"] == 0
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from enum import Enum, auto
from typing import Any

import msgspec

from kaiju_tasks.embedded import MEMORY, Embedded, EventStream, embedded, link_executors
from kaiju_tasks.executor.process import DEFAULT_THREADS
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.settings import Settings, load_settings
from kaiju_tasks.store.base import Condition, Ping
from kaiju_tasks.store.clock import SteadyClock
from kaiju_tasks.types import ENDED, NewTask, TaskStatus

__all__ = ["Kaiju", "running"]

LOOK_SECONDS = 0.002
PATIENCE_SECONDS = 10.0
STUCK_SECONDS = 60.0
"""Real seconds without a commit after which `advance` and `settle` give up waiting for the
manager."""


class Kaiju:
    """The manager of a test.

    :ivar manager: the manager's own object
    """

    def __init__(self, inside: Embedded, clock: "MovedClock") -> None:
        self.manager = inside.manager
        self._inside = inside
        self._clock = clock
        self._moving = asyncio.Lock()

    @property
    def now(self) -> float:
        """The manager's time in UNIX seconds."""
        return self._clock()

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method of the manager, as a client does.

        :param method: its full name, for example `tasks.create`
        :returns: its result, as plain data
        :raises KaijuError: the same error that a client gets
        """
        return await self._inside.call(method, **params)

    def events(
        self, conditions: dict[str, Any] | None = None
    ) -> contextlib.AbstractContextManager[EventStream]:
        """Subscribe to events until the end of the block (docs/events.md).

        :param conditions: conditions on the fields of an event, as in `tasks.list`
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

        :param timeout: real seconds, 0 to 60
        :returns: the task
        :raises TimeoutError: the run has not ended; the message contains its status and stage
        """
        created = await self.create(task)
        return await self.wait(created["id"], timeout)

    async def wait(self, id: str, timeout: float = 10.0) -> dict[str, Any]:
        """Wait until the run of a task has ended.

        :param timeout: real seconds, 0 to 60
        :raises TimeoutError: the run has not ended; the message contains its status and stage
        """
        task: dict[str, Any] = await self.call("tasks.wait", id=id, timeout=timeout)
        if task["status"] not in ENDED and not (task["cron"] or task["every"]):
            raise TimeoutError(
                f"task {id!r} is {task['status']} ({task['status_reason']}), stage "
                f"{task['stage']} of {task['stages']}, after {timeout:g} s; error: {task['error']}"
            )
        return task

    async def wait_for(self, id: str, status: str, timeout: float = 10.0) -> dict[str, Any]:
        """Wait until a task has a status.

        :param timeout: real seconds
        :raises TimeoutError: the task does not reach the status in time
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

    async def move(self, seconds: float, patience: float = PATIENCE_SECONDS) -> None:
        """Move the manager's time forward, stopping at each time at which something is due.

        Time stands still at each stop, and continues when everything due at that time is done.
        Executors stay connected. The clocks of commands are not moved.

        :param seconds: how far to move time, 0 or more
        :param patience: real seconds to wait for running stages at a stop; then time moves although
            they run, and they can reach their `max_timeout`
        :raises TimeoutError: the manager does not finish the work that is due
        """
        if not 0 <= seconds < math.inf:
            raise ValueError("`seconds` must be 0 or more: time cannot move back")
        async with self._moving:
            with self._clock.stopped():
                target = self._clock() + seconds
                await self.settle(patience)
                while (moment := await self._next_moment()) is not None and moment <= target:
                    await self._set(moment)
                    await self.settle(patience)
                await self._set(target)
                await self.settle(patience)

    async def settle(self, patience: float = PATIENCE_SECONDS) -> None:
        """Wait until nothing is due and no stage runs.

        :param patience: real seconds to wait for running stages
        :raises TimeoutError: the manager does not finish the work that is due
        """
        loop = asyncio.get_running_loop()
        written, since = self.manager.committer.written, loop.time()
        while (busy := await self._look()) is not _Busy.NOTHING:
            if written != self.manager.committer.written:
                written, since = self.manager.committer.written, loop.time()
            waited = loop.time() - since
            if busy is _Busy.STAGES and waited >= patience:
                return
            if waited >= STUCK_SECONDS:
                raise TimeoutError(
                    f"the manager has not finished the work that is due at {self.now:.3f}"
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> "_Busy":
        """Return what is to be done at this time: work of the manager, or stages to run.

        Everything that they are about to do is in the rows: due, signalled, ready or executed. The
        rows are read in their own transaction, so that no other transaction is open.
        """
        store = self.manager.store
        async with store.transaction():
            summary = await store.work_summary()
            executed = Condition("status", "eq", TaskStatus.EXECUTED)
            running = await store.count([executed], ALL_SIGHT)
        due = summary.next_due is not None and summary.next_due <= summary.now
        if due or summary.signals or summary.unsettled:
            self.manager.scheduler.look()
            return _Busy.MANAGER
        if not self.manager.pauses.at_rest(summary.paused):
            return _Busy.MANAGER
        ready = (summary.ready | summary.suspect) & self.manager.streams.served()
        ready_at_gates = summary.gated and self.manager.streams.gated
        return _Busy.STAGES if running or ready or ready_at_gates else _Busy.NOTHING

    async def _next_moment(self) -> float | None:
        """Return the time at which the manager will next act by itself."""
        due = (await self.manager.store.work_summary()).next_due
        moments = [m for m in (due, self.manager.pauses.next_change()) if m is not None]
        return max(min(moments), self._clock()) if moments else None

    async def _set(self, moment: float) -> None:
        """Renew the leases before time moves, so that no executor is lost, and record right after
        it that the manager has been up."""
        store, manager = self.manager.store, self.manager
        lease_seconds = manager.settings.lease_seconds + moment - self._clock()
        pings = [Ping(s.executor_id, s.nonce, s.capacity) for s in manager.sessions]
        if pings:
            await store.ping(pings, lease_seconds)
        manager.uptime.time_moved(max(0.0, moment - self._clock()))
        self._clock.move_to(moment)
        manager.uptime.presence = await store.manager_seen(
            manager.id, lease_seconds, lease_seconds, lease_seconds
        )
        manager.scheduler.look()


class _Busy(Enum):
    NOTHING = auto()
    STAGES = auto()
    MANAGER = auto()


class MovedClock:
    """Real time plus the seconds by which a test has moved it."""

    def __init__(self) -> None:
        self._real = SteadyClock()
        self._ahead = 0.0
        self._stands_at: float | None = None

    def __call__(self) -> float:
        stands_at = self._stands_at  # read once: the database's thread reads it too
        return self._real() + self._ahead if stands_at is None else stands_at

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop time inside the block. Afterwards it continues from the time it then has."""
        self._stands_at = self()
        try:
            yield
        finally:
            self._ahead = self._stands_at - self._real()
            self._stands_at = None

    def move_to(self, moment: float) -> None:
        """Move a stopped time to another time, never back."""
        assert self._stands_at is not None
        self._stands_at = max(moment, self._stands_at)


@contextlib.asynccontextmanager
async def running(
    *executors: Executor,
    settings: Settings | None = None,
    concurrency: int | None = None,
    threads: int = DEFAULT_THREADS,
) -> AsyncIterator[Kaiju]:
    """Run a manager with an empty database in memory, and executors connected to it.

    :param executors: any number; without an executor, tasks stay queued
    :param settings: the manager's settings, the defaults if None; `db` is always in memory
    :param concurrency: the most tasks that the executors hold at once, 1 or more; None for 500, or
        `threads` if all commands need a thread or a process
    :param threads: the most `def` and process commands that run at once, 1 or more
    """
    settings = load_settings(environ={}) if settings is None else settings
    clock = MovedClock()
    async with contextlib.AsyncExitStack() as stack:
        settings = msgspec.structs.replace(settings, db=MEMORY)
        inside = await stack.enter_async_context(embedded(settings, clock))
        if executors:
            linked = link_executors(inside, executors, concurrency=concurrency, threads=threads)
            await stack.enter_async_context(linked)
        yield Kaiju(inside, clock)
