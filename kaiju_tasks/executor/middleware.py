"""Runs code around every stage of an executor, whatever its command runs on."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec

from kaiju_tasks.executor.batches import Member
from kaiju_tasks.executor.calls import Call, Done, LoopCall
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.dependencies import Depends, Provider, open_all
from kaiju_tasks.executor.processes import ProcessCall
from kaiju_tasks.executor.start_gate import StartGate

__all__ = ["CallNext", "Injection", "Middleware", "WrappedCall", "refuse_middleware"]

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


class Injection:
    """The innermost middleware: opens what the command depends on.

    :param arguments: those of the command, which are completed
    :param shared: what is open for the process, by provider
    """

    __slots__ = ("_arguments", "_dependencies", "_shared")

    def __init__(
        self,
        dependencies: Mapping[str, Depends],
        shared: Mapping[Provider, Any],
        arguments: dict[str, Any],
    ) -> None:
        self._dependencies = dependencies
        self._shared = shared
        self._arguments = arguments

    async def __call__(self, context: Context, call_next: CallNext) -> Any:
        async with AsyncExitStack() as stack:
            opened = dict(self._shared)
            self._arguments |= await open_all(stack, self._dependencies, context, opened)
            return await call_next()


class WrappedCall(LoopCall):
    """A call of a command within the middleware of its executor.

    :param middleware: the outermost first
    :param make: makes the call of the command
    """

    __slots__ = ("_context", "_inner", "_make", "_middleware")

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
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._inner.stop()
            await asyncio.wait([ended])  # nothing is closed under a thread that still runs
            raise

    def _inner_done(
        self, ended: "asyncio.Future[Any]", call: Call, value: Any, error: BaseException | None
    ) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(msgspec.json.decode(value) if isinstance(call, ProcessCall) else value)
        elif isinstance(error, asyncio.CancelledError | StopIteration):
            ended.set_exception(RuntimeError(f"the command raised {type(error).__name__}"))
        else:
            ended.set_exception(error)
        ended.exception()  # nobody reads that of a stage that was stopped

    def stop(self) -> None:
        """A second call does not end the wait for a thread that still runs."""
        if not self._stopped:
            super().stop()

    def runs_in(self, task: "asyncio.Task[object]") -> bool:
        inner = self._inner
        return super().runs_in(task) or (
            isinstance(inner, LoopCall | Member) and inner.runs_in(task)
        )

    @property
    def alive(self) -> bool:
        return super().alive or (self._inner is not None and self._inner.alive)
