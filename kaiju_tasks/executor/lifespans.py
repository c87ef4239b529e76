"""Opens and closes the lifespans of executors. One that does not close in time is left."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from kaiju_tasks.executor.dependencies import open_all, process_wide
from kaiju_tasks.executor.registry import Executor

__all__ = ["lifespans"]

T = TypeVar("T")

logger = logging.getLogger("kaiju_tasks.executor")


@contextlib.asynccontextmanager
async def lifespans(executors: Sequence[Executor], exit_seconds: float) -> AsyncIterator[None]:
    """Keep the lifespans of executors open inside the block, and what their commands depend on for
    the whole process.

    :param exit_seconds: seconds that each may take to close; then it is cancelled
    """
    async with contextlib.AsyncExitStack() as stack:
        for executor in executors:
            if executor.lifespan is not None:
                context = executor.lifespan(executor)
                what = f"the lifespan of the executor {executor.app_name!r}"
                executor.state = await _enter(stack, context, what, exit_seconds)
            what = f"what the executor {executor.app_name!r} depends on"
            await _enter(stack, _shared(executor), what, exit_seconds)
        yield


@contextlib.asynccontextmanager
async def _shared(executor: Executor) -> AsyncIterator[None]:
    """What the commands of an executor depend on for the whole process."""
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(executor.shared.clear)
        for command in executor.commands.values():
            for one in process_wide(command.signature.dependencies):
                await open_all(stack, {"it": one}, None, executor.shared)
        yield


async def _enter(
    stack: contextlib.AsyncExitStack,
    context: contextlib.AbstractAsyncContextManager[T],
    what: str,
    exit_seconds: float,
) -> T:
    return await stack.enter_async_context(_bounded(context, what, exit_seconds))


@contextlib.asynccontextmanager
async def _bounded(
    context: contextlib.AbstractAsyncContextManager[T], what: str, exit_seconds: float
) -> AsyncIterator[T]:
    value = await context.__aenter__()
    try:
        yield value
    except BaseException:
        if not await _close(context, what, exit_seconds):
            raise
    else:
        await _close(context, what, exit_seconds)


async def _close(
    context: contextlib.AbstractAsyncContextManager[Any], what: str, seconds: float
) -> bool | None:
    """:returns: whether it has handled the exception with which the block has ended"""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await context.__aexit__(*sys.exc_info())
    except TimeoutError:
        if not limit.expired():
            raise
        logger.error("%s has not ended within %g seconds and was cancelled", what, seconds)
        return None
