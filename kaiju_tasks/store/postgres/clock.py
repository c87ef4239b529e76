"""Estimates the database's clock between two readings."""

import time


class DatabaseClock:
    """The database's clock at the latest reading, advanced by the local monotonic clock.

    The estimate lags by the latency of the answer and is never ahead. It is used only before the
    first lock of a transaction; everything else reads the database's clock.
    """

    def __init__(self) -> None:
        self._offset = 0.0

    def seen(self, now: float) -> None:
        """:param now: the database's clock, just read, in UNIX seconds"""
        self._offset = now - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._offset
