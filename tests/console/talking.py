"""An executor whose command logs while it runs, until it is asked to end."""

import asyncio

from kaiju_tasks import Context, Executor

executor = Executor("default")


@executor.command("mail.send")
async def send(ctx: Context, lines: list[str], until: str | None = None) -> str:
    """Log lines; then wait for a task with the id `until`, and log its description."""
    for number, line in enumerate(lines):
        ctx.log(line, level="warning" if "refused" in line else "info", number=number)
    if until is not None:
        while not await ctx.tasks.exists(until):
            await asyncio.sleep(0.1)
        ctx.log((await ctx.tasks.get(until))["description"], level="error")
    return "sent"
