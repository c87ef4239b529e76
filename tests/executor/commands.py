"""Commands that other processes import."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from kaiju_tasks.errors import RetryAfter
from kaiju_tasks.executor import Context, Depends, Executor

executor = Executor("app")


@executor.command("echo")
async def echo(data: Any = None) -> Any:
    return data


@executor.command("pid", process=True)
def pid(a: int, ctx: Context) -> list[Any]:
    print("noise on stdout")
    ctx.progress(a, 10)
    return [os.getpid(), ctx.idempotency_key, ctx.deadline > 0]


@executor.command("tasks_in_process", process=True)
def tasks_in_process(ctx: Context) -> None:
    ctx.tasks.get("x")


@executor.command("async_process", process=True)
async def async_process() -> str:
    await asyncio.sleep(0)
    return "done"


async def opened(ctx: Context) -> AsyncIterator[list[str]]:
    yield ["opened", ctx.method]


@executor.command("depending", process=True)
def depending(values: Annotated[list[str], Depends(opened)]) -> list[str]:
    return values


@executor.command("fail_process", process=True)
def fail_process() -> None:
    raise ValueError("no luck")


@executor.command("later_process", process=True)
def later_process() -> None:
    raise RetryAfter(3, "not yet")


@executor.command("die", process=True)
def die() -> None:
    os._exit(7)


@executor.command("big", process=True)
def big(size: int) -> str:
    return "x" * size


@executor.command("hang", process=True)
def hang(folder: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note(folder, "pids", f"{os.getpid()} {child.pid}")
    time.sleep(600)


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + ".part", "w").write(f"{os.getppid()} {os.getpid()}")
        os.replace(sys.argv[1] + ".part", sys.argv[1])
        time.sleep(600)
    time.sleep(600)
"""


@executor.command("daemon", process=True)
def daemon(folder: str, seconds: float) -> None:
    """Start two processes that leave their session, one below the other, and end their parent."""
    place = Path(folder) / "daemons"
    subprocess.run([sys.executable, "-c", DAEMON, place], check=True)
    while not place.exists():
        time.sleep(0.01)
    note(folder, "pids", f"{os.getpid()} {place.read_text()}")
    time.sleep(seconds)


@executor.command("shot", process=True)
def shot() -> None:
    os.kill(os.getpid(), 9)


@executor.command("sleep")
async def sleep(seconds: float, folder: str) -> str:
    note(folder, "began", "yes")
    await asyncio.sleep(seconds)
    return "slept"


@executor.command("stuck")
def stuck(folder: str) -> None:
    note(folder, "stuck", str(os.getpid()))
    time.sleep(600)


def note(folder: str, name: str, text: str) -> None:
    """Write a file that is there only when it is whole."""
    part = Path(folder) / f"{name}.part"
    part.write_text(text)
    part.replace(Path(folder) / name)
