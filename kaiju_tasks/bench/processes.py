"""Runs the manager and the executor of a measurement as separate processes."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator

from kaiju_tasks.errors import Unavailable

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
READY = re.compile(rb"at (http://\S+)")


@contextlib.asynccontextmanager
async def manager(db: str) -> AsyncIterator[str]:
    """Run a manager on a database until the end of the block. The value is its URL."""
    async with _process("serve", "--port", "0", "--db", db, "--log-level", "warning") as process:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        found = READY.search(line)
        if found is None:
            raise Unavailable(f"the manager did not start: {line.decode(errors='replace')}")
        yield found[1].decode()


@contextlib.asynccontextmanager
async def executor(url: str, concurrency: int) -> AsyncIterator[None]:
    """Run an executor of the no-op commands until the end of the block."""
    async with _process(
        "executor",
        "kaiju_tasks.bench.commands:executor",
        "--manager",
        url,
        "--concurrency",
        str(concurrency),
        "--log-level",
        "warning",
    ):
        yield


@contextlib.asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("KAIJU_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kaiju_tasks.cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env=environ,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
