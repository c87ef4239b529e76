"""Decides how long an executor waits before it connects once more."""

from random import Random

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.executor.waits import CONNECT_SECONDS_MAX, DEFAULT_WAITS, Waits

__all__ = ["Reconnects"]

LASTING_SECONDS = 10.0
"""A connection that lasted for this time was useful, whatever the executor did."""


class Reconnects:
    """The waits before attempts to connect.

    They begin with the shortest after a useful connection: one that lasted, or in which the
    executor has worked. One connection that was not useful is free. Each further one in a row makes
    the first wait longer, so that an executor whose connection ends soon after each connect does
    not reconnect at full speed. All times are monotonic seconds.
    """

    def __init__(self, random: Random) -> None:
        self._backoff = Backoff(random, most=DEFAULT_WAITS.retry)
        self._waits = DEFAULT_WAITS
        self._attempts = 0
        self._accepted_at: float | None = None
        self._worked = False
        self._futile = 0

    def accepted(self, now: float, waits: Waits) -> None:
        """A manager has accepted the executor."""
        self._accepted_at, self._worked = now, False
        self._waits, self._attempts = waits, 0
        self._backoff.most = waits.retry

    def patience(self) -> float:
        """The seconds for which to wait for a connection in the next attempt."""
        seconds = self._waits.connect * 2.0 ** min(self._attempts, 30)
        self._attempts += 1
        return min(CONNECT_SECONDS_MAX, seconds)

    def worked(self) -> None:
        """A manager has acknowledged work of the executor."""
        self._worked = True

    def next(self, now: float) -> float:
        """Seconds to wait after an attempt or a connection has ended."""
        if self._accepted_at is not None:
            useful = self._worked or now - self._accepted_at >= LASTING_SECONDS
            self._futile = 0 if useful else self._futile + 1
            self._accepted_at = None
            self._backoff.reset(max(0, self._futile - 1))
        return self._backoff.next()
