"""Commands that leave traces outside the database, for the executors of the system tests.

What a stage did is read from the file it appends to, never from what the manager says.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kaiju_tasks.errors import Abort
from kaiju_tasks.executor import Context, Executor

executor = Executor("system")


@executor.command("note")
async def note(ctx: Context, file: str) -> str:
    """Append this stage's key; it is the same for every attempt."""
    return _append(file, ctx.idempotency_key)


@executor.command("note_in_thread")
def note_in_thread(ctx: Context, file: str) -> str:
    """Append this stage's key. A thread begins at once, before the next message is read."""
    return _append(file, ctx.idempotency_key)


@executor.command("hold")
async def hold(ctx: Context, file: str, gate: str) -> str:
    """Append, then run until the gate is opened, for all or for this process."""
    _append(file, f"{ctx.idempotency_key} {os.getpid()}")
    gates = Path(gate), Path(f"{gate}.{os.getpid()}")
    while not any(path.exists() for path in gates):
        await asyncio.sleep(0.01)
    return "released"


@executor.command("block")
async def block(ctx: Context, file: str, gate: str) -> str:
    """Append, then block the event loop until the gate is opened."""
    _append(file, ctx.idempotency_key)
    while not Path(gate).exists():
        time.sleep(0.01)
    return "unblocked"


@executor.command("span")
async def span(key: str, file: str, seconds: float) -> None:
    """Append when it begins and when it ends, on the machine's monotonic clock."""
    _append(file, f"begin {key} {os.getpid()} {time.monotonic()}")
    try:
        await asyncio.sleep(seconds)
    finally:
        _append(file, f"end {key} {os.getpid()} {time.monotonic()}")


@executor.command("sleep")
async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@executor.command("stamp")
async def stamp() -> float:
    """The moment at which the stage really begins."""
    return time.time()


@executor.command("fire")
async def fire(ctx: Context, file: str) -> float:
    """Append the moment this run was scheduled at; give back the moment it began."""
    now = time.time()
    _append(file, repr(ctx.scheduled_at))
    return now


@executor.command("echo")
async def echo(data: Any = None) -> Any:
    return data


@executor.command("fail")
async def fail(message: str) -> None:
    raise ValueError(message)


@executor.command("abort")
async def abort(message: str) -> None:
    raise Abort(message)


@executor.command("flaky")
async def flaky(ctx: Context, times: int) -> int:
    """Fail in the first attempts."""
    if ctx.attempt <= times:
        raise RuntimeError(f"attempt {ctx.attempt} of {times} fails")
    return ctx.attempt


@executor.command("typed")
async def typed(customer: int, tags: list[str]) -> int:
    return customer


@executor.command("big")
async def big(size: int) -> str:
    return "x" * size


@executor.command("size")
async def size(text: str) -> int:
    return len(text)


@executor.command("die")
async def die(ctx: Context, file: str) -> None:
    """Take the whole executor down."""
    _append(file, f"{ctx.idempotency_key} {os.getpid()}")
    os._exit(9)


@executor.command("thread")
def thread(ctx: Context, file: str) -> None:
    """A thread that ends when it is cancelled."""
    _append(file, str(os.getpid()))
    while True:
        ctx.check()
        time.sleep(0.01)


@executor.command("stuck")
def stuck(file: str) -> None:
    """A thread that never ends."""
    _append(file, str(os.getpid()))
    time.sleep(600)


@executor.command("process", process=True)
def process(file: str) -> None:
    """A process with a child, and neither ends."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _append(file, f"{os.getpid()} {child.pid}")
    time.sleep(600)


@executor.command("parent")
async def parent(ctx: Context, id: str) -> list[Any]:
    """Create a child, and wait for it."""
    await ctx.tasks.create(_child(id))
    task = await ctx.tasks.wait(id)
    return [task["parent_id"], task["status"], task["result"]]


@executor.command("parent_in_thread")
def parent_in_thread(ctx: Context, id: str) -> list[Any]:
    """Create a child, and wait for it."""
    ctx.tasks.create(_child(id))
    task = ctx.tasks.wait(id)
    return [task["parent_id"], task["status"], task["result"]]


@executor.command("wait_for")
async def wait_for(ctx: Context, id: str) -> str:
    """Wait for a task."""
    return str((await ctx.tasks.wait(id))["status"])


def _child(id: str) -> dict[str, Any]:
    commands = [{"method": "echo", "params": {"data": id}}]
    return {"id": id, "app_name": "system", "commands": commands}


def _append(file: str, line: str) -> str:
    # One write of a file opened for appending: lines of several processes never mix.
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)
    return line


@asynccontextmanager
async def hanging(executor: Executor) -> AsyncIterator[None]:
    """A lifespan whose end hangs as the environment says."""
    yield
    match os.environ["HANGS"]:
        case "await":
            await asyncio.sleep(600)
        case "shield":
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    continue
        case "block":
            time.sleep(600)
        case "thread":
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)


lasting = Executor("lasting", lifespan=hanging)


@executor.command("print_lines", process=True)
def print_lines(ctx: Context, lines: int) -> str:
    """Log, and print on each of the ways that a process has."""
    ctx.log("begins", lines=lines)
    for number in range(lines):
        print(f"line {number}")
    print("on stderr", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
    print("the end", end="")
    return "printed"


@executor.command("print_and_die", process=True)
def print_and_die() -> None:
    """Print, and end without a result."""
    print("the last words", flush=True)
    os._exit(3)


@executor.command("log_around")
async def log_around(ctx: Context, file: str, gate: str) -> None:
    """Log before and after the gate is opened."""
    ctx.log("before")
    _append(file, ctx.idempotency_key)
    while not Path(gate).exists():
        await asyncio.sleep(0.01)
    ctx.log("after")
