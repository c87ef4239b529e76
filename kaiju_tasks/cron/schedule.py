"""Cron schedules: the fires of an expression in a zone.

croniter parses the fields and steps over days. This module handles the time of day and the zone's
changes of clock, by these rules:

- A *fixed* time (the hour field lists hours) that exists twice fires the first time. A fixed time
  that does not exist fires once, at the next instant that exists.
- An *hourly* job (a wildcard or a step in the hour field) fires whenever the local clock shows a
  matching time, and therefore in both passes of a repeated hour. Of the times that a gap skips,
  those that recur anyway in elapsed time do not fire after the gap.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from kaiju_tasks.cron.calendar import Calendar
from kaiju_tasks.cron.expression import bad_cron, read_expression
from kaiju_tasks.cron.values import shown
from kaiju_tasks.cron.zones import check_timezone
from kaiju_tasks.local_time import (
    END_OF_TIME,
    change_between,
    first_instant,
    latest_wall_shown,
    local_at,
    offsets,
    wall_at,
    wall_seconds,
)

_LAST_START: Final = END_OF_TIME - 2 * 86400  # keeps local times within the years of datetime
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A cron expression in a zone; made by `cron_schedule`."""

    expression: str
    timezone: str
    _calendar: Calendar = field(compare=False, repr=False)
    _zone: ZoneInfo = field(compare=False, repr=False)
    _hourly: bool = field(compare=False, repr=False)

    def next_fire(self, after: float) -> float | None:
        """The first nominal fire strictly after `after`.

        :param after: UNIX seconds; from 1970 on
        :return: UNIX seconds, whole; None when there is no fire within about 50 years
        """
        if after >= _LAST_START:
            return None
        second = math.floor(max(after, -1.0))
        fire = self._next_hourly(second) if self._hourly else self._next_fixed(second)
        return None if fire is None or fire >= END_OF_TIME else float(fire)

    def _next_fixed(self, after: int) -> int | None:
        wall: datetime | None = latest_wall_shown(after, self._zone)
        while wall is not None and (wall := self._calendar.after(wall)) is not None:
            fire = first_instant(wall, self._zone)
            if fire > after:
                return fire
        return None

    def _next_hourly(self, after: int) -> int | None:
        local = local_at(after, self._zone)
        wall = local.replace(fold=0)
        early, late = offsets(wall, self._zone)
        if early > late and local.fold == 0:
            return self._next_in_first_pass(after, wall, early, late)
        return self._next_hourly_from(wall, after)

    def _next_in_first_pass(self, after: int, wall: datetime, early: int, late: int) -> int | None:
        put_back = change_between(after, after + early - late, self._zone)
        fire_wall = self._calendar.after(wall)
        if fire_wall is not None and (fire := wall_seconds(fire_wall) - early) < put_back:
            return fire
        return self._next_hourly_from(wall_at(put_back - 1 + late), put_back - 1)

    def _next_hourly_from(self, wall: datetime, after: int) -> int | None:
        while (fire_wall := self._calendar.after(wall)) is not None:
            early, late = offsets(fire_wall, self._zone)
            if early >= late:
                first = wall_seconds(fire_wall) - early
                return first if first > after else wall_seconds(fire_wall) - late
            change = first_instant(fire_wall, self._zone)
            resumed = wall_at(change + late)
            if self._loses_a_fire(fire_wall, resumed, timedelta(seconds=late - early)):
                return change
            wall = resumed - _SECOND
        return None

    def _loses_a_fire(self, first_lost: datetime, resumed: datetime, put_on: timedelta) -> bool:
        lost = self._calendar.between(first_lost, resumed)
        return any(not self._calendar.names(wall + put_on) for wall in lost)


def cron_schedule(expression: str, timezone: str = "UTC") -> CronSchedule:
    """Parse a cron expression. Schedules are cached: equal arguments give the same object.

    :param expression: five fields (minute hour day month weekday), six (seconds last), or one of
        `@hourly @daily @midnight @weekly @monthly @yearly @annually`
    :param timezone: an IANA name
    :raises InvalidParams: with field `cron` or `timezone`; also if no date ever matches
    """
    if not isinstance(expression, str):
        raise bad_cron(f"it must be text such as '0 9 * * mon-fri', not {shown(expression)}")
    check_timezone(timezone)
    return _cached_cron_schedule(expression, timezone)


@lru_cache(maxsize=4096)
def _cached_cron_schedule(expression: str, timezone: str) -> CronSchedule:
    meaning = read_expression(expression)
    return CronSchedule(
        expression=expression,
        timezone=timezone,
        _calendar=meaning.calendar,
        _zone=check_timezone(timezone),
        _hourly=meaning.hourly,
    )
