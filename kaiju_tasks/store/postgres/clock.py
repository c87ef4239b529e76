"""Estimates the database's clock between two readings, and notices when that clock is set."""

from collections.abc import Callable

from kaiju_tasks.steady import steady_seconds
from kaiju_tasks.store.base import TransactionConflict
from kaiju_tasks.store.clock import STEP_SECONDS

NARROW_SECONDS = 0.5
DRIFT = 0.001
"""How fast the two clocks may drift apart, in seconds per second."""


class ClockStepped(TransactionConflict):
    """The database's clock was set. Times in the database must move with it first."""


class DatabaseClock:
    """The database's clock at the latest reading, advanced by a local clock that does not step.

    A reading lies between the request and the answer, so the difference of the two clocks is known
    as an interval. The estimate lags by the latency of the answer and is never ahead. It never goes
    back, unless the database's clock was set, and is never before a reading. It is used before the
    first lock of a transaction and where a small error is acceptable.

    :param steady: seconds that pass evenly
    """

    def __init__(self, steady: Callable[[], float] = steady_seconds) -> None:
        self.local = steady
        self._low = self._high = 0.0
        self._known = False
        self._latest = float("-inf")
        self._taken_at = 0.0

    def now(self) -> float:
        self._latest = max(self._latest, self.local() + self._low)
        return self._latest

    def step(self, now: float, asked_at: float) -> float:
        """By how many seconds the database's clock was set before a reading; 0 if it was not.

        :param now: the database's clock, just read, in UNIX seconds
        :param asked_at: the local clock before the request
        """
        low, high = now - self.local(), now - asked_at
        if not self._known or (
            low <= self._high + STEP_SECONDS and high >= self._low - STEP_SECONDS
        ):
            return 0.0
        return (low + high) / 2 - (self._low + self._high) / 2

    def expected(self) -> tuple[float, float]:
        """The earliest and the latest reading of a statement that is run at once and finds the
        clock as it was. Both are in UNIX seconds."""
        local = self.local()
        return local + self._low - STEP_SECONDS, local + self._high + STEP_SECONDS

    def seen(self, now: float, asked_at: float) -> None:
        """Take a reading into account.

        :raises ClockStepped: the database's clock was set
        """
        if self.step(now, asked_at):
            raise ClockStepped("the clock of the database was set")
        low, high = now - self.local(), now - asked_at
        if not self._known or high - low < NARROW_SECONDS:
            self._take(now, asked_at)

    def apply(self, now: float, asked_at: float) -> None:
        """Take over a reading after a step."""
        self._latest = float("-inf")
        self._known = False
        self._take(now, asked_at)

    def _take(self, now: float, asked_at: float) -> None:
        """Narrow the interval by a reading, or begin a new one."""
        at = self.local()
        low, high = now - at, now - asked_at
        if self._known:
            drift = DRIFT * (at - self._taken_at)
            low, high = max(low, self._low - drift), min(high, self._high + drift)
            if low > high:
                low, high = now - at, now - asked_at
        self._low, self._high, self._taken_at, self._known = low, high, at, True
