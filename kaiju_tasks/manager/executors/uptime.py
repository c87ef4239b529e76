"""Whether this manager reaches the database, and since when managers have been up at all."""

import asyncio
from collections.abc import Callable


class Uptime:
    """Since when the database has been reached without a break.

    A manager expels nobody until it has itself reached the database for one full lease:
    executors could not renew their leases while it was away. A manager that was stopped and
    woken (a paused machine) was away too, though no call of its failed.

    :param silence_seconds: a longer time without reaching the database is a break
    :param up_since: store time since when managers have been up without a break
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
        self.up_since = 0.0

    def reached(self, ok: bool) -> None:
        """The database was reached, or could not be."""
        now = self._clock()
        if not ok:
            self._reached_since = None
            return
        if self._reached_since is None or now - self._reached_last > self._silence_seconds:
            self._reached_since = now
        self._reached_last = now

    @property
    def connected(self) -> bool:
        return self._reached_since is not None

    def seconds_until_judge(self) -> float:
        """Seconds until executors may be judged by their pings; 0 when they may be now."""
        now = self._clock()
        if self._reached_since is None or now - self._reached_last > self._silence_seconds:
            return self._lease_seconds
        return max(0.0, self._reached_since + self._lease_seconds - now)
