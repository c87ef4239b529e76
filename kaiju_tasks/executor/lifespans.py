"""Opens and closes the lifespans of executors. One that does not close in time is left."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from kaiju_tasks.executor.registry import Executor

__all__ = ["lifespans"]

logger = logging.getLogger("kaiju_tasks.executor")


@contextlib.asynccontextmanager
async def lifespans(executors: Sequence[Executor], exit_seconds: float) -> AsyncIterator[None]:
    """Keep the lifespans of executors open inside the block.

    :param exit_seconds: seconds that each may take to close; then it is cancelled
    """
    async with contextlib.AsyncExitStack() as stack:
        for executor in executors:
            if executor.lifespan is not None:
                await stack.enter_async_context(_open(executor, exit_seconds))
        yield


@contextlib.asynccontextmanager
async def _open(executor: Executor, exit_seconds: float) -> AsyncIterator[None]:
    assert executor.lifespan is not None
    context = executor.lifespan(executor)
    executor.state = await context.__aenter__()
    try:
        yield
    except BaseException:
        if not await _close(executor, context, exit_seconds):
            raise
    else:
        await _close(executor, context, exit_seconds)


async def _close(
    executor: Executor, context: contextlib.AbstractAsyncContextManager[Any], seconds: float
) -> bool | None:
    """:returns: whether the lifespan has handled the exception with which the block has ended"""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await context.__aexit__(*sys.exc_info())
    except TimeoutError:
        if not limit.expired():
            raise
        logger.error(
            "the lifespan of the executor %r has not ended within %g seconds and was cancelled",
            executor.app_name,
            seconds,
        )
        return None
