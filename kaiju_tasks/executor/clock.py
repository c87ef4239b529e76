"""Provides the monotonic clock of an executor, which tests and simulations replace."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from kaiju_tasks.steady import steady_seconds

__all__ = ["Clock", "LoopClock", "SystemClock", "TimerHandle", "within"]


class TimerHandle(Protocol):
    """A scheduled call that can be cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic clock in seconds, with two ways to wait."""

    def time(self) -> float: ...

    def wall(self) -> float:
        """Seconds of a clock that can be set, but may know of a pause that `time` does not."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, callback: Callable[..., Any], *args: Any) -> TimerHandle:
        """Call `callback(*args)` on the event loop after `seconds`."""
        ...


class LoopClock:
    """The running event loop's clock. `time()` may be read from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[..., Any], *args: Any) -> TimerHandle:
        return self._loop.call_later(seconds, callback, *args)


class SystemClock(LoopClock):
    """The clocks of the machine. Waits do not end while the machine sleeps, but `time` goes on."""

    def time(self) -> float:
        return steady_seconds()

    def wall(self) -> float:
        return time.time()


async def within(clock: Clock, seconds: float, future: "asyncio.Future[Any]") -> bool:
    """Wait for a future without cancelling it.

    :param seconds: maximum time to wait, from 0
    :returns: whether the future was done in time
    """
    if future.done():
        return True
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open_gate(*_: Any) -> None:
        if not gate.done():
            gate.set_result(None)

    handle = clock.call_later(seconds, open_gate)
    future.add_done_callback(open_gate)
    try:
        await gate
    finally:
        handle.cancel()
        future.remove_done_callback(open_gate)
    return future.done()
