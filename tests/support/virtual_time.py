"""Tests whose time jumps to the next timer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.loop import Process, SimLoop


def in_virtual_time(work: Callable[[SimLoop], Coroutine[Any, Any, None]]) -> None:
    """Run something on a loop whose time jumps to the next timer."""
    loop = SimLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(Process("test").spawn(work(loop)))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
