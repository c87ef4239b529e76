"""Waiting for a fact, never for time."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_SECONDS = 0.005
PATIENCE_SECONDS = 45.0
"""How long a test waits for what happens at once on an idle machine; a test that passes needs a
hundredth of it."""


@overload
async def wait_until(
    predicate: Callable[[], Coroutine[Any, Any, T]],
    description: str,
    timeout: float = PATIENCE_SECONDS,
) -> T: ...
@overload
async def wait_until(
    predicate: Callable[[], T], description: str, timeout: float = PATIENCE_SECONDS
) -> T: ...
async def wait_until(
    predicate: Callable[[], Any], description: str, timeout: float = PATIENCE_SECONDS
) -> Any:
    """Wait until `predicate` is true.

    :param predicate: a function, sync or async; what it raises goes through
    :param description: ends the sentence "waited in vain until ..."
    :param timeout: seconds, for the calls of an async predicate too
    :returns: the first true value
    :raises AssertionError: with the description and the last value
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    value: Any = None
    while True:
        try:
            async with asyncio.timeout_at(deadline) as limit:
                value = await _value(predicate)
        except TimeoutError:
            if not limit.expired():
                raise
        if value:
            return value
        if loop.time() >= deadline:
            raise AssertionError(
                f"waited {timeout:g} s in vain until {description}; last value: {value!r}"
            )
        await asyncio.sleep(POLL_SECONDS)


async def _value(predicate: Callable[[], Any]) -> Any:
    result = predicate()
    return await result if inspect.isawaitable(result) else result
