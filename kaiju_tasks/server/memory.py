"""Gives memory back to the system that a flood of large requests has left behind.

The allocator of the C library keeps freed pieces between others that are in use, and connections
that were aborted stay in cycles until Python looks for them.
"""

import asyncio
import ctypes
import gc
import resource
from collections.abc import Callable
from pathlib import Path

__all__ = ["keep_memory_low"]

LOOK_SECONDS = 1.0
GROWTH_BYTES = 64 * 1024 * 1024
"""The growth since the last time after which memory is given back."""
FREED_BYTES = 16 * 1024 * 1024
"""If less is freed, the memory is in use."""
PAUSE_SECONDS = 10.0
PAUSE_SECONDS_MAX = 640.0
"""The time between two searches for cycles, each of which stops the event loop for a moment. It
doubles while the memory is in use."""
STATM = Path("/proc/self/statm")


async def keep_memory_low() -> None:
    """Look at the memory of this process every second, until cancelled. Needs Linux and glibc;
    elsewhere, it returns at once."""
    trim = _trim()
    if trim is None:
        return
    loop = asyncio.get_running_loop()
    least = seen = _resident()
    pause, next_at = PAUSE_SECONDS, loop.time()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        resident = _resident()
        least, seen = min(least, resident), min(seen, resident)
        if resident >= seen + GROWTH_BYTES:
            trim(0)
            pause = PAUSE_SECONDS
        elif resident < least + GROWTH_BYTES or loop.time() < next_at:
            continue
        seen = _resident()
        if seen >= least + GROWTH_BYTES and loop.time() >= next_at:
            gc.collect()
            trim(0)
            freed = seen - _resident()
            pause = PAUSE_SECONDS if freed >= FREED_BYTES else min(2 * pause, PAUSE_SECONDS_MAX)
            next_at = loop.time() + pause
            seen = _resident()


def _resident() -> int:
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def _trim() -> Callable[[int], int] | None:
    if not STATM.exists():
        return None
    try:
        function: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return function
