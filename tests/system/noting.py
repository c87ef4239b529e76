"""Commands that leave a line for each start, for the executor of the library. `noting.mjs` has the
same for the executor for Node."""

import asyncio
import os
from typing import Any

from kaiju_tasks.executor import Context, Executor

executor = Executor("default")


@executor.command("note.echo")
async def echo(ctx: Context, file: str, data: Any) -> Any:
    _note(ctx, file)
    return data


@executor.command("note.sleep")
async def sleep(ctx: Context, file: str, seconds: float) -> float:
    _note(ctx, file)
    await asyncio.sleep(seconds)
    return seconds


def _note(ctx: Context, file: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{ctx.idempotency_key}\n".encode())
    finally:
        os.close(descriptor)
