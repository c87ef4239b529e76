"""The store's clock between two looks at it."""

import asyncio
from collections.abc import Callable


class StoreClock:
    """The store's clock as it stood at the latest look, carried on by the event loop's.

    It serves whatever may be slightly off, such as the moment a delay counts from. What is
    decided in a transaction is decided by the transaction's own clock.
    """

    def __init__(self) -> None:
        self._offset = 0.0
        self._exact: Callable[[], float] | None = None

    def follow(self, clock: Callable[[], float]) -> None:
        """Show exactly what the store's own clock shows, where it is in this process."""
        self._exact = clock

    def set(self, now: float) -> None:
        """:param now: the store's clock as just read, UNIX seconds"""
        self._offset = now - asyncio.get_running_loop().time()

    def now(self) -> float:
        """About what the store's clock shows, UNIX seconds."""
        if self._exact is not None:
            return self._exact()
        return self._offset + asyncio.get_running_loop().time()

    def loop_time(self, moment: float) -> float:
        """The event loop's time at a moment of the store's clock."""
        if self._exact is not None:
            return moment - self._exact() + asyncio.get_running_loop().time()
        return moment - self._offset
