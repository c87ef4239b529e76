"""Estimates the store's clock between two readings."""

import asyncio
from collections.abc import Callable


class StoreClock:
    """The store's clock at the latest reading, advanced by the event loop's clock.

    Use it where a small error is acceptable, such as the start of a delay. Decisions inside a
    transaction use the transaction's own clock.
    """

    def __init__(self) -> None:
        self._offset = 0.0
        self._exact: Callable[[], float] | None = None

    def follow(self, clock: Callable[[], float]) -> None:
        """Read the store's own clock instead of estimating it, if it is in this process."""
        self._exact = clock

    def set(self, now: float) -> None:
        """:param now: the store's clock, just read, in UNIX seconds"""
        self._offset = now - asyncio.get_running_loop().time()

    def now(self) -> float:
        """The estimated time of the store's clock, in UNIX seconds."""
        if self._exact is not None:
            return self._exact()
        return self._offset + asyncio.get_running_loop().time()

    def loop_time(self, moment: float) -> float:
        """Convert a time of the store's clock to the event loop's clock, in seconds."""
        if self._exact is not None:
            return moment - self._exact() + asyncio.get_running_loop().time()
        return moment - self._offset
