"""An event loop on virtual time, whose callbacks belong to processes that can be killed."""

import asyncio
import contextvars
import heapq
from asyncio.base_events import BaseEventLoop
from asyncio.events import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

OWNER: contextvars.ContextVar["Process"] = contextvars.ContextVar("OWNER")


class Deadlock(Exception):
    """Nothing is ready and no timer is set: what is waited for never comes."""


class Process:
    """What lives and dies together: every callback that was scheduled in its context.

    A stopped process (SIGSTOP) runs nothing until it goes on; a killed one (SIGKILL) runs
    nothing ever more, no `finally` and no goodbye.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.stopped = False
        self.kept: list[Handle] = []
        self.context = contextvars.Context()
        self.context.run(OWNER.set, self)
        loop = asyncio.get_event_loop()
        assert isinstance(loop, SimLoop)
        self._loop = loop
        self._killed = asyncio.Event()
        loop.processes.append(self)

    @property
    def runs(self) -> bool:
        return self.alive and not self.stopped

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run something in this process. A fault that ends it goes to the loop's handler: the
        task is kept alive, so asyncio would never report it."""
        task = self._loop.create_task(work, context=self.context)
        task.add_done_callback(self._report_fault)
        return task

    def _report_fault(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": f"a task of {self.name} failed", "exception": error}
            )

    def call_later(self, seconds: float, callback: Callable[..., Any], *args: Any) -> TimerHandle:
        """Call something in this process, if it still lives then."""
        return self._loop.call_later(seconds, callback, *args, context=self.context)

    def kill(self) -> None:
        self.alive = self._loop.over
        self._killed.set()

    async def killed(self) -> None:
        """Wait until it is killed, or has ended."""
        await self._killed.wait()

    def stop(self) -> None:
        self.stopped = True

    def go_on(self) -> None:
        """Run what gathered meanwhile, in its order."""
        self.stopped = False
        self._hand_over()

    def revive(self) -> None:
        """Only to take the simulation down: let its tasks be cancelled."""
        self.alive, self.stopped = True, False
        self._hand_over()

    def _hand_over(self) -> None:
        kept, self.kept = self.kept, []
        self._loop.add_ready(kept)


class SimLoop(BaseEventLoop):
    """Time stands still while anything is ready, then jumps to the next timer.

    :ivar now: virtual seconds since the start
    :ivar turns: callbacks run so far
    :ivar over: the simulation is being taken down: nobody is killed any more
    """

    def __init__(self, turns_max: int = 2_000_000) -> None:
        super().__init__()
        self.now = 0.0
        self.processes: list[Process] = []
        self.turns = 0
        self.over = False
        self._turns_max = turns_max
        self._runnable: deque[Handle] = deque()
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._order = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._tasks_max = 1000

    def time(self) -> float:
        return self.now

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Tasks are kept alive: the collector must not close those of the dead."""
        task: asyncio.Task[Any] = super().create_task(*args, **kwargs)
        self._tasks.append(task)
        if len(self._tasks) > self._tasks_max:
            self._tasks_max = 2 * len(self.open_tasks()) + 1000
        return task

    def open_tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks that have not ended."""
        self._tasks = [task for task in self._tasks if not task.done()]
        return self._tasks

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context)
        self._runnable.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> TimerHandle:
        handle = TimerHandle(when, callback, args, self, context)
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, handle))
        return handle

    def add_ready(self, handles: list[Handle]) -> None:
        self._runnable.extend(handles)

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Cancelled timers are skipped when their moment comes."""

    def _run_once(self) -> None:
        timers, runnable = self._timers, self._runnable
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not runnable:
            if not timers:
                raise Deadlock("nothing is ready and no timer is set")
            self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            runnable.append(heapq.heappop(timers)[2])
        for _ in range(len(runnable)):
            handle: Any = runnable.popleft()
            if handle._cancelled:
                continue
            owner = handle._context.get(OWNER)
            if owner is not None and not (owner.alive and not owner.stopped):
                owner.kept.append(handle)
                continue
            self.turns += 1
            if self.turns > self._turns_max:
                raise Deadlock("something spins and does not end")
            handle._run()

    def _process_events(self, event_list: Any) -> None:
        """There are no files and sockets."""

    def _write_to_self(self) -> None:
        """There are no other threads."""
