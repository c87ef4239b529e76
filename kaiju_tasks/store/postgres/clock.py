"""The database's clock, between two looks at it."""

import time


class DatabaseClock:
    """What the database's clock shows, as last read and carried on by our own monotonic one.

    It lags by the way of the answer, and never leads. Only what comes before the first lock of
    a transaction uses it; everything else reads the clock itself.
    """

    def __init__(self) -> None:
        self._offset = 0.0

    def seen(self, now: float) -> None:
        """The database's clock showed `now` when it answered."""
        self._offset = now - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._offset
