"""The executor of the chaos runs: its commands record in the ledger what they do."""

import asyncio
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kaiju_tasks.executor import BatchCall, Context, Executor
from kaiju_tasks.executor.segment import Segment, Token
from kaiju_tasks.steady import steady_seconds
from tests.chaos.clock import follow_clock
from tests.chaos.ledger import Entry, Kind, append

LEDGER = "LEDGER"
"""The environment variable that names the ledger."""

executor = Executor("chaos")
follow_clock()


def _token(ctx: Context) -> Token:
    """The token of the lease under which a command runs. Commands have no access to it."""
    segment: Segment = ctx._bridge._listener._on_report.__self__  # type: ignore[attr-defined]
    return segment.token


@executor.command("work")
async def work(ctx: Context, seconds: float = 0.0, key: str | None = None) -> list[object]:
    """Return the epoch of the lease and a value that no other execution returns."""
    with _recorded(ctx, key) as result:
        if seconds:
            await asyncio.sleep(seconds)
    return result


@executor.command("thread")
def thread(ctx: Context, seconds: float = 0.0) -> list[object]:
    """As `work`, in a thread."""
    with _recorded(ctx, None) as result:
        time.sleep(seconds)
    return result


@executor.command("flaky")
async def flaky(ctx: Context, times: int) -> list[object]:
    """As `work`, but fail in the first attempts."""
    with _recorded(ctx, None) as result:
        if ctx.attempt <= times:
            raise RuntimeError(f"attempt {ctx.attempt} of {times} fails")
    return result


@executor.command("together", batch=10, wait=0.02)
async def together(calls: list[BatchCall[dict[str, Any]]]) -> list[object]:
    """As `work`, for several stages in one call."""
    values = [uuid.uuid4().hex for _ in calls]
    for call, value in zip(calls, values, strict=True):
        _record("start", call.context, value, None)
    try:
        await asyncio.sleep(0.01)
    finally:
        for call, value in zip(calls, values, strict=True):
            kind: Kind = "stop" if call.context.stopped else "end"
            _record(kind, call.context, value, None)
    return [[_token(call.context)[2], value] for call, value in zip(calls, values, strict=True)]


@contextmanager
def _recorded(ctx: Context, key: str | None) -> Iterator[list[object]]:
    value = uuid.uuid4().hex
    _record("start", ctx, value, key)
    try:
        yield [_token(ctx)[2], value]
    except BaseException:
        _record("stop", ctx, value, key)
        raise
    _record("end", ctx, value, key)


def _record(kind: Kind, ctx: Context, value: str, key: str | None) -> None:
    _, _, epoch, nonce = _token(ctx)
    entry = Entry(
        kind=kind,
        task=ctx.task_id,
        job=ctx.job_id,
        stage=ctx.stage,
        cycle=ctx._info.cycle,
        attempt=ctx.attempt,
        epoch=epoch,
        nonce=nonce,
        pid=os.getpid(),
        at=steady_seconds(),
        value=value,
        key=key,
    )
    append(Path(os.environ[LEDGER]), entry)
