"""Decides how long an executor waits before it connects once more."""

from random import Random

from kaiju_tasks.backoff import Backoff

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
        self._backoff = Backoff(random)
        self._accepted_at: float | None = None
        self._worked = False
        self._futile = 0

    def limit(self, seconds: float) -> None:
        """Never wait longer than this."""
        self._backoff.most = seconds

    def accepted(self, now: float) -> None:
        """A manager has accepted the executor."""
        self._accepted_at, self._worked = now, False

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
