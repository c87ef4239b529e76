"""Whether this manager reaches the database, and since when managers have been up at all."""

import asyncio
from collections.abc import Callable


class Uptime:
    """Since when the database has been reached without a break.

    A manager expels nobody until it has itself reached the database for one full lease:
    executors could not renew their leases while it was away.

    :param up_since: store time since when managers have been up without a break
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] | None = None) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._reached_since: float | None = None
        self.up_since = 0.0

    def reached(self, ok: bool) -> None:
        if not ok:
            self._reached_since = None
        elif self._reached_since is None:
            self._reached_since = self._clock()

    @property
    def connected(self) -> bool:
        return self._reached_since is not None

    def seconds_until_judge(self) -> float:
        """Seconds until executors may be judged by their pings; 0 when they may be now."""
        if self._reached_since is None:
            return self._lease_seconds
        return max(0.0, self._reached_since + self._lease_seconds - self._clock())
