"""Knows executors that come and go without useful work, and lets them rest."""

from msgspec import Struct

REST_SECONDS_MIN = 0.5
REST_SECONDS_MAX = 5.0
LASTING_SECONDS = 10.0
"""An executor that was connected for this time is no concern, whatever it did."""
FREE_RECONNECTS = 1


class _Visit(Struct):
    """The latest connect of an executor.

    :param futile: the number of connections in a row that ended before it without useful work
    :param rests_until: until when the executor gets no tasks
    """

    came_at: float
    futile: int = 0
    rests_until: float = 0.0


class Visits:
    """The connects of executors since their last useful work, by executor id.

    An executor whose connection ends soon after each push makes no progress, but keeps the manager
    and the database at work. From its second reconnect in a row on, it rests before it gets tasks
    again: 0.5 seconds, then twice as long each time, at most 5. All times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._latest: dict[str, _Visit] = {}

    def came(self, executor_id: str, now: float) -> float:
        """An executor has connected.

        :returns: the seconds for which it gets no tasks
        """
        self._forget_old(now)
        visit = self._latest.pop(executor_id, None)
        if visit is None:
            visit = _Visit(now)
        elif now >= visit.rests_until:  # it could have worked
            visit.futile += 1
            visit.rests_until = now + _rest(visit.futile)
        visit.came_at = now
        self._latest[executor_id] = visit
        return self.rest_of(executor_id, now)

    def rest_of(self, executor_id: str, now: float) -> float:
        """The seconds for which an executor gets no tasks from now on; 0 if it may get some."""
        visit = self._latest.get(executor_id)
        return 0.0 if visit is None else max(0.0, visit.rests_until - now)

    def worked(self, executor_id: str) -> None:
        """An executor has done useful work, or has left in good order."""
        self._latest.pop(executor_id, None)

    def _forget_old(self, now: float) -> None:
        for executor_id, visit in list(self._latest.items()):
            if now - visit.came_at < LASTING_SECONDS:
                break  # they are in the order of their connects
            del self._latest[executor_id]


def _rest(futile: int) -> float:
    doublings = futile - FREE_RECONNECTS - 1
    return 0.0 if doublings < 0 else min(REST_SECONDS_MAX, REST_SECONDS_MIN * 2.0**doublings)
