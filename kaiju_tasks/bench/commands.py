"""Defines the executor of the measurements."""

import time
from typing import Any

from kaiju_tasks.executor import Executor

executor = Executor("bench")


@executor.command("do.echo")
async def echo(data: Any) -> Any:
    return data


@executor.command("do.now")
async def now() -> float:
    return time.time()
