"""Runs the manager and the executor of a measurement as separate processes."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator

from msgspec import Struct

from kaiju_tasks.errors import Unavailable

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
READY = re.compile(rb"at (http://\S+)")


class Process(Struct, frozen=True):
    """A running process.

    :param url: the URL of a manager, or of the manager of an executor
    """

    pid: int
    url: str


@contextlib.asynccontextmanager
async def manager(db: str) -> AsyncIterator[Process]:
    """Run a manager on a database until the end of the block."""
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
        yield Process(process.pid, found[1].decode())


@contextlib.asynccontextmanager
async def executor(url: str, concurrency: int | None = None) -> AsyncIterator[Process]:
    """Run an executor of the no-op commands until the end of the block.

    :param concurrency: None for the default of the command
    """
    arguments = ["kaiju_tasks.bench.commands:executor", "--manager", url, "--log-level", "warning"]
    if concurrency is not None:
        arguments += ["--concurrency", str(concurrency)]
    async with _process("executor", *arguments) as process:
        yield Process(process.pid, url)


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
