"""Runs one call of a command on the event loop or in a thread."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from kaiju_tasks.executor.context import Stopped
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.executor.threads import ThreadPool

__all__ = ["Call", "Done", "LoopCall", "ThreadCall"]

Done = Callable[["Call", Any, BaseException | None], None]


class Call(Protocol):
    """A running call of a command. Its code begins only while the start gate is open.

    `Done` is called once, on the event loop, with the value or the error, even after `stop`.
    """

    def start(self) -> None: ...

    def stop(self) -> None:
        """Ask the call to end, which may take time or never happen. Call `start` first."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the command's code may still be running."""
        ...


class LoopCall:
    """An `async def`, stopped by cancellation."""

    __slots__ = ("_arguments", "_begun", "_done", "_function", "_gate", "_stopped", "_task")

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: dict[str, Any],
        done: Done,
        gate: StartGate,
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._done = done
        self._gate = gate
        self._begun = False
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def runs_in(self, task: "asyncio.Task[object]") -> bool:
        """Whether this is the task in which the command runs."""
        return self._task is task

    async def _run(self) -> None:
        self._begun = True
        try:
            await self._gate.opened()
            value = await self._function(**self._arguments)
        except asyncio.CancelledError as error:
            failure = error if self._stopped else RuntimeError("the command cancelled itself")
            self._end(None, failure)
        except BaseException as error:  # sys.exit() in a command must not end the executor
            self._end(None, error)
        else:
            self._end(value, None)

    def _end(self, value: Any, error: BaseException | None) -> None:
        self._task = None
        self._done(self, value, error)

    def stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    @property
    def alive(self) -> bool:
        # A task cancelled before its first step never takes it.
        return self._task is not None and (self._begun or not self._stopped)


class ThreadCall:
    """A `def` on a thread. A stopped call ends at its next `Context.check`, or when it returns."""

    __slots__ = (
        "_alive",
        "_arguments",
        "_done",
        "_function",
        "_gate",
        "_loop",
        "_pool",
        "_stopped",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: dict[str, Any],
        done: Done,
        pool: ThreadPool,
        gate: StartGate,
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._done = done
        self._gate = gate
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._alive = False

    def start(self) -> None:
        """What has been set in the context of the caller is set in the thread, too."""
        self._pool.submit(partial(copy_context().run, self._run))

    def _run(self) -> None:
        value, failure = None, None
        self._alive = True  # before `_stopped` is read: a call stopped in the queue never runs
        try:
            if self._stopped:
                raise Stopped("the call was stopped before it started")
            if self._gate.seconds_left() <= 0:  # it stood in the queue for long
                self._call_soon(self._postpone)
                return
            value = self._function(**self._arguments)
        except BaseException as error:  # reported: the pool's thread must survive the command
            failure = error
        self._call_soon(self._end, value, failure)

    def _call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    def _postpone(self) -> None:
        if self._stopped:
            self._end(None, Stopped("the call was stopped before it started"))
            return
        self._alive = False
        self._gate.when_open(self.start)

    def _end(self, value: Any, error: BaseException | None) -> None:
        self._alive = False
        self._done(self, value, error)

    def stop(self) -> None:
        self._stopped = True

    @property
    def alive(self) -> bool:
        return self._alive
