"""Runs code around every stage of an executor, whatever its command runs on."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from kaiju_tasks.executor.calls import Call, Done, LoopCall
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.processes import ProcessCall
from kaiju_tasks.executor.start_gate import StartGate

__all__ = ["CallNext", "Middleware", "WrappedCall", "refuse_middleware"]

CallNext = Callable[[], Awaitable[Any]]
Middleware = Callable[[Context, CallNext], Awaitable[Any]]


def refuse_middleware(function: Callable[..., Any]) -> None:
    """:raises TypeError: it is not an `async def` with two parameters"""
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"the middleware {function!r} must be an `async def`")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise TypeError(
            f"the middleware {function!r} must take two parameters: the context of the stage, and "
            "the function that runs it"
        ) from None


class WrappedCall(LoopCall):
    """A call of a command within the middleware of its executor.

    :param middleware: the outermost first
    :param make: makes the call of the command
    """

    __slots__ = ("_context", "_inner", "_inner_over", "_make", "_middleware", "_outcome")

    def __init__(
        self,
        middleware: Sequence[Middleware],
        context: Context,
        make: Callable[[Done], Call],
        done: Done,
        gate: StartGate,
    ) -> None:
        super().__init__(self._from, {"at": 0}, done, gate)
        self._middleware = middleware
        self._context = context
        self._make = make
        self._inner: Call | None = None
        self._inner_over = False
        self._outcome: tuple[Any, BaseException | None] | None = None

    async def _from(self, at: int) -> Any:
        """Run the middleware from a position, and the command within it."""
        if at == len(self._middleware):
            return await self._command()
        return await self._middleware[at](self._context, partial(self._from, at + 1))

    async def _command(self) -> Any:
        if self._inner is not None:
            raise RuntimeError("a middleware has run the stage twice")
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._inner = self._make(partial(self._inner_done, ended))
        self._inner.start()
        try:
            return await ended
        except asyncio.CancelledError:
            self._inner.stop()
            raise

    def _inner_done(
        self, ended: "asyncio.Future[Any]", call: Call, value: Any, error: BaseException | None
    ) -> None:
        self._inner_over = True
        if not ended.done():
            if error is None:
                decoded = msgspec.json.decode(value) if isinstance(call, ProcessCall) else value
                ended.set_result(decoded)
            elif isinstance(error, asyncio.CancelledError | StopIteration):
                ended.set_exception(RuntimeError(f"the command raised {type(error).__name__}"))
            else:
                ended.set_exception(error)
        if self._outcome is not None:
            super()._end(*self._outcome)

    def _end(self, value: Any, error: BaseException | None) -> None:
        """A thread may still run when the middleware has been cancelled: wait for its end."""
        if self._inner is None or self._inner_over:
            super()._end(value, error)
        else:
            self._outcome = value, error

    def runs_in(self, task: "asyncio.Task[object]") -> bool:
        inner = self._inner
        return super().runs_in(task) or (isinstance(inner, LoopCall) and inner.runs_in(task))

    @property
    def alive(self) -> bool:
        return super().alive or (self._inner is not None and self._inner.alive)
