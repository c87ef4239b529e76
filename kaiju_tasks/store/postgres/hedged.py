"""Begins an attempt a second time when the first one may have fallen silent."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def hedged(
    attempt: Callable[[], Awaitable[T]], seconds: float, discard: Callable[[T], None]
) -> T:
    """The result of an attempt, or of a second one that is begun beside it if the first one has
    not ended after `seconds`. The first to succeed counts.

    :param discard: called with the result of the other one, if it succeeds too
    :raises Exception: the error of the attempt that failed first, if no other one succeeded
    """
    attempts = [asyncio.ensure_future(attempt())]
    try:
        await asyncio.wait(attempts, timeout=seconds)
        if not attempts[0].done():
            attempts.append(asyncio.ensure_future(attempt()))
        failures: list[Exception] = []
        for ended in asyncio.as_completed(attempts):
            try:
                result = await ended
            except Exception as error:
                failures.append(error)
            else:
                attempts = [one for one in attempts if not _gave(one, result)]
                return result
        raise failures[0]
    finally:
        for one in attempts:
            one.cancel()
            one.add_done_callback(partial(_discard, discard))


def _gave(one: asyncio.Future[T], result: T) -> bool:
    return one.done() and not one.cancelled() and not one.exception() and one.result() is result


def _discard(discard: Callable[[T], None], one: asyncio.Future[T]) -> None:
    if not one.cancelled() and one.exception() is None:
        discard(one.result())
