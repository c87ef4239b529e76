"""Tracks how long the database has been reachable, to decide whether executors may be expelled."""

import asyncio
from collections.abc import Callable

from kaiju_tasks.store.base import Presence


class Uptime:
    """The time since the database became reachable without interruption.

    A manager expels no executor until it has reached the database for one full lease, because
    executors cannot renew their leases during an outage. The same applies to a manager that was
    suspended with its machine, although none of its calls failed.

    :param lease_seconds: the lease of an executor
    :param silence_seconds: a longer time without a successful call counts as an interruption
    :param clock: monotonic seconds; by default, the event loop's time
    :ivar presence: since when managers have been up, at the latest heartbeat
    """

    def __init__(
        self,
        lease_seconds: float,
        silence_seconds: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._lease_seconds = lease_seconds
        self._silence_seconds = silence_seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._reached_since: float | None = None
        self._reached_last = 0.0
        self.presence = Presence(0.0, 0.0, 0.0)

    def reached(self, ok: bool) -> None:
        """Record whether a call reached the database."""
        now = self._clock()
        if not ok:
            self._reached_since = None
            return
        if self._reached_since is None or now - self._reached_last > self._silence_seconds:
            self._reached_since = now
        self._reached_last = now

    def time_moved(self, seconds: float) -> None:
        """Count seconds by which a test has moved the time as seconds without interruption."""
        if self._reached_since is not None:
            self._reached_since -= seconds

    @property
    def connected(self) -> bool:
        return self._reached_since is not None

    def seconds_reached(self) -> float:
        """Seconds since which the database has been reachable without interruption."""
        now = self._clock()
        if self._reached_since is None or now - self._reached_last > self._silence_seconds:
            return 0.0
        return now - self._reached_since

    def seconds_until_expel(self) -> float:
        """Seconds until executors may be expelled for missing pings; 0 if they may be now."""
        now = self._clock()
        if self._reached_since is None or now - self._reached_last > self._silence_seconds:
            return self._lease_seconds
        return max(0.0, self._reached_since + self._lease_seconds - now)
