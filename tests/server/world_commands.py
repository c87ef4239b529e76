"""Commands of every kind for the worlds of test_moved_time.py."""

import asyncio
import time
from collections import Counter

from kaiju_tasks.executor import Context, Executor

executor = Executor("world")
tries: Counter[str] = Counter()


@executor.command("on_the_loop")
async def on_the_loop(number: int = 1) -> int:
    await asyncio.sleep(0.01)
    return number + 1


@executor.command("in_a_thread")
def in_a_thread(number: int = 1) -> int:
    time.sleep(0.01)
    return number + 1


@executor.command("in_a_process", process=True)
def in_a_process(number: int = 1) -> int:
    return number + 1


@executor.command("flaky")
def flaky(ctx: Context, failures: int) -> int:
    """Fails so often, then gives the number of its try."""
    tries[ctx.idempotency_key] += 1
    if tries[ctx.idempotency_key] <= failures:
        raise ValueError("not yet")
    return tries[ctx.idempotency_key]


@executor.command("never")
async def never() -> None:
    await asyncio.Event().wait()
