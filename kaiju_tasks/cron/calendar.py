"""The wall times that an expression selects, without a zone: days and times of day."""

from bisect import bisect_left
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from croniter import croniter

_SECOND: Final = timedelta(seconds=1)
_ONE_DAY: Final = timedelta(days=1)
_RARE: Final = timedelta(days=365)
"""How long it is remembered that there is no such day within about 50 years."""


@dataclass(frozen=True, slots=True)
class TimesOfDay:
    """Each hour with each minute and each second; each tuple is sorted and not empty."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    def first(self) -> time:
        return time(self.hours[0], self.minutes[0], self.seconds[0])

    def first_from(self, start: time) -> time | None:
        if start.hour in self.hours:
            if start.minute in self.minutes:
                second = _first_from(self.seconds, start.second)
                if second is not None:
                    return time(start.hour, start.minute, second)
            minute = _first_from(self.minutes, start.minute + 1)
            if minute is not None:
                return time(start.hour, minute, self.seconds[0])
        hour = _first_from(self.hours, start.hour + 1)
        return None if hour is None else time(hour, self.minutes[0], self.seconds[0])


class Side:
    """The days that one of the fields for days selects, such as each fifth Monday.

    A search can take milliseconds, because rare days are searched for year by year. The result is
    remembered, so that the days of another side that come before cost no further search.

    :param midnights: the midnights of these days
    """

    __slots__ = ("_known", "_midnights")

    def __init__(self, midnights: "croniter") -> None:
        self._midnights = midnights
        self._known: tuple[date, date | None] | None = None

    def first_from(self, day: date) -> date | None:
        if self._known is not None:
            asked, found = self._known
            if asked <= day and (day - asked < _RARE if found is None else day <= found):
                return found
        found = _step(self._midnights, datetime.combine(day, time()) - timedelta(minutes=1))
        self._known = day, found
        return found


@dataclass(frozen=True, slots=True)
class Days:
    """Selected days.

    :param sides: a day is selected if any of these selects it; if empty, every day is selected
    """

    sides: tuple[Side, ...]

    def first_from(self, day: date) -> date | None:
        if not self.sides:
            return day
        days = (side.first_from(day) for side in self.sides)
        return min((found for found in days if found is not None), default=None)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Times of day on selected days."""

    days: Days
    times: TimesOfDay

    def after(self, wall: datetime) -> datetime | None:
        """The first selected wall time strictly after `wall`."""
        start = wall + _SECOND
        day = self.days.first_from(start.date())
        if day is None:
            return None
        if day > start.date():
            return datetime.combine(day, self.times.first())
        moment = self.times.first_from(start.time())
        if moment is not None:
            return datetime.combine(day, moment)
        if day == date.max:
            return None
        next_day = self.days.first_from(day + _ONE_DAY)
        return None if next_day is None else datetime.combine(next_day, self.times.first())

    def between(self, first: datetime, end: datetime) -> Iterator[datetime]:
        """The selected wall times with `first` <= t < `end`."""
        wall = self.after(first - _SECOND)
        while wall is not None and wall < end:
            yield wall
            wall = self.after(wall)

    def names(self, wall: datetime) -> bool:
        """Whether a wall time is selected."""
        return self.after(wall - _SECOND) == wall


def _step(midnights: "croniter", before: datetime) -> date | None:
    from croniter import CroniterBadDateError

    # A copy, because stepping modifies the croniter and threads share a schedule.
    try:
        return copy(midnights).get_next(datetime, start_time=before).date()
    except CroniterBadDateError:
        return None
    except (ValueError, OverflowError):
        if before.year > 9999 - 51:
            return None
        raise


def _first_from(values: tuple[int, ...], start: int) -> int | None:
    index = bisect_left(values, start)
    return values[index] if index < len(values) else None
