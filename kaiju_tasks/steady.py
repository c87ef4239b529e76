"""The clock of the machine that nobody can set."""

import time
from collections.abc import Callable
from functools import partial

__all__ = ["steady_seconds"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC", None)

steady_seconds: Callable[[], float] = (
    time.monotonic if _CLOCK is None else partial(time.clock_gettime, _CLOCK)
)
"""Seconds that pass evenly, the same in all processes of this machine. They continue while the
machine sleeps, if the system has such a clock. Read for each task: hence no function around it."""
