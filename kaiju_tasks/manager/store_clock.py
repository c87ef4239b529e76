"""Reads the store's clock without a query."""

import asyncio
from collections.abc import Callable


class StoreClock:
    """The store's clock, on PostgreSQL as an estimate.

    Use it where a small error is acceptable, such as the start of a delay. Decisions inside a
    transaction use the transaction's own clock.

    :param clock: UNIX seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock

    def loop_time(self, moment: float) -> float:
        """Convert a time of the store's clock to the event loop's clock, in seconds."""
        return moment - self.now() + asyncio.get_running_loop().time()
