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
TRIM_SECONDS = 2.0
"""The time until freed pieces are given back again, which takes about a millisecond."""
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
    trims, searches = _Pause(TRIM_SECONDS), _Pause(PAUSE_SECONDS)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now, resident = loop.time(), _resident()
        least, seen = min(least, resident), min(seen, resident)
        if resident >= seen + GROWTH_BYTES:
            trims.begin_again()
            searches.seconds = PAUSE_SECONDS
        elif resident < least + GROWTH_BYTES or now < min(trims.until, searches.until):
            continue
        if now >= trims.until:
            trim(0)
            trims.freed(now, resident - _resident())
        seen = _resident()
        if seen >= least + GROWTH_BYTES and now >= searches.until:
            gc.collect()
            trim(0)
            searches.freed(loop.time(), seen - _resident())
            seen = _resident()


class _Pause:
    """The time until memory is given back again. It doubles while the memory is in use.

    :ivar until: when it ends, seconds of the loop
    :ivar seconds: how long the next one is
    """

    def __init__(self, seconds: float) -> None:
        self._least = self.seconds = seconds
        self.until = 0.0

    def begin_again(self) -> None:
        """End it."""
        self.seconds, self.until = self._least, 0.0

    def freed(self, now: float, size: int) -> None:
        """Begin it after so many bytes were given back."""
        grown = min(2 * self.seconds, PAUSE_SECONDS_MAX)
        self.seconds = self._least if size >= FREED_BYTES else grown
        self.until = now + self.seconds


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
