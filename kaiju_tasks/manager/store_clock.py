"""The store's clock between two looks at it."""

import asyncio


class StoreClock:
    """The store's clock as it stood at the latest look, carried on by the event loop's.

    It serves whatever may be slightly off, such as the moment a delay counts from. What is
    decided in a transaction is decided by the transaction's own clock.
    """

    def __init__(self) -> None:
        self._offset = 0.0

    def set(self, now: float) -> None:
        """:param now: the store's clock as just read, UNIX seconds"""
        self._offset = now - asyncio.get_running_loop().time()

    def now(self) -> float:
        """About what the store's clock shows, UNIX seconds."""
        return self._offset + asyncio.get_running_loop().time()

    def loop_time(self, moment: float) -> float:
        """The event loop's time at a moment of the store's clock."""
        return moment - self._offset
