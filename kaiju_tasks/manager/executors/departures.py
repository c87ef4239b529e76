"""Remembers the executors whose connections this manager saw close, until they may be expelled."""

import asyncio
from collections.abc import Callable

from msgspec import Struct


class _Departure(Struct):
    """A connection that was closed. Times are seconds of the clock.

    :param over_at: when its executor has had its time to reconnect
    """

    session: str
    closed_at: float
    over_at: float


class Departures:
    """The closed connections of executors that have not reconnected to this manager.

    A manager that has itself seen how a connection closed, and could reach the database ever since,
    needs no full lease to know that the executor has not come back (decision 0016).

    :param lease_seconds: the lease of an executor
    :param clock: monotonic seconds; by default, the event loop's time
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] | None = None) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._departed: dict[str, _Departure] = {}

    def closed(self, executor_id: str, session: str, grace_seconds: float) -> None:
        """A connection was closed, and the lease ends within the grace.

        :param session: its nonce
        :param grace_seconds: the time that the executor has to reconnect; 0 if it cannot
        """
        now = self._clock()
        known = self._departed.get(executor_id)
        closed_at = known.closed_at if known is not None and known.session == session else now
        self._departed[executor_id] = _Departure(session, closed_at, now + grace_seconds)

    def forget(self, executor_id: str) -> None:
        """The executor has reconnected, or was expelled."""
        self._departed.pop(executor_id, None)

    def over(self, seconds_reached: float) -> list[str]:
        """The sessions whose executors have had their time.

        :param seconds_reached: since when the database could be reached without interruption.
            Connections that were closed before are forgotten.
        """
        now = self._clock()
        return [one.session for one in self._since(seconds_reached) if one.over_at <= now]

    def seconds_until_over(self, seconds_reached: float) -> float:
        """Seconds until `over` has a session; infinite if there is none."""
        now = self._clock()
        left = [max(0.0, one.over_at - now) for one in self._since(seconds_reached)]
        return min(left, default=float("inf"))

    def _since(self, seconds_reached: float) -> list[_Departure]:
        since = self._clock() - min(seconds_reached, self._lease_seconds)
        for executor_id, one in list(self._departed.items()):
            if one.closed_at < since:
                del self._departed[executor_id]
        return list(self._departed.values())
