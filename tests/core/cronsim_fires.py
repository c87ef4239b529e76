"""Fires as cronsim computes them: an independent implementation that follows Debian's cron."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

_MOST_TICKS = 2000


class _Stuck(Exception):
    pass


class _Bounded(CronSim):
    """A CronSim that says when it goes round in circles, which it does at some changes of clock."""

    _ticks = 0

    def tick(self, seconds: int = 1) -> None:
        self._ticks += 1
        if self._ticks > _MOST_TICKS:
            raise _Stuck
        super().tick(seconds)

    def __next__(self) -> Any:
        self._ticks = 0
        return super().__next__()


def cronsim_fires(expression: str, zone: str, start: float, end: float) -> tuple[list[float], bool]:
    """Fires with `start` < t <= `end`, in order; False: cronsim went round in circles after them.

    :param expression: as ours: five fields, or six with the seconds last
    """
    *fields, last = expression.split()
    text = " ".join([last, *fields] if len(fields) == 5 else [*fields, last])
    fires: list[float] = []
    moments = _Bounded(text, datetime.fromtimestamp(start, ZoneInfo(zone)))
    while True:
        try:
            fire = next(moments).timestamp()
        except _Stuck:
            return fires, False
        if fire > end:
            return fires, True
        if fires and fire <= fires[-1]:
            return fires, False
        fires.append(fire)
