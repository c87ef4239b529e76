"""Two versions of the commands of one stream: one is renamed, one is new, and one is removed."""

import asyncio
from pathlib import Path

from kaiju_tasks.executor import Context, Executor

old, new = Executor("system"), Executor("system")


async def _note(ctx: Context, file: str, version: str) -> str:
    with Path(file).open("a") as trace:
        trace.write(f"{ctx.idempotency_key} {ctx.method} {version}\n")
    await asyncio.sleep(0.01)
    return version


async def _note_old(ctx: Context, file: str) -> str:
    return await _note(ctx, file, "old")


async def _note_new(ctx: Context, file: str) -> str:
    return await _note(ctx, file, "new")


for method in ("keep", "count", "removed"):
    old.command(method)(_note_old)
for method in ("keep", "count_items", "added"):
    new.command(method)(_note_new)
