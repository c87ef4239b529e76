"""Schedules: when a cron expression or an interval fires next. Pure: no clock, no I/O.

croniter parses the fields and steps over days; the time of day and the zone's changes of clock are
worked out here, because a fire is decided by these rules and no others:

- a *fixed* time (the hour field names hours) that exists twice fires at the first; one that does
  not exist fires once, at the next instant that does;
- an *hourly* job (a wildcard or a step in the hour field) fires whenever the local clock shows a
  matching time, so in both passes of a repeated hour; of the times that a gap leaves out, those
  that come round anyway in elapsed time are not made up for.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from .errors import InvalidParams

if TYPE_CHECKING:
    from croniter import croniter

__all__ = [
    "CronSchedule",
    "IntervalSchedule",
    "Schedule",
    "check_timezone",
    "cron_schedule",
    "every_schedule",
    "fires_between",
    "jitter_offset",
    "parse_time",
    "preview",
]

MIN_EVERY: Final = 0.01
MAX_EVERY: Final = 366 * 86400.0
MAX_PREVIEW: Final = 1000
MAX_EXPRESSION_LENGTH: Final = 512

_EPOCH: Final = datetime(1970, 1, 1)
_END_OF_TIME: Final = 253402300800  # the year 10000
_LAST_START: Final = _END_OF_TIME - 2 * 86400  # local time stays within datetime's years
_SECOND: Final = timedelta(seconds=1)
_ONE_DAY: Final = timedelta(days=1)

_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day", "1-31 or L"),
    ("month", "1-12 or jan-dec"),
    ("weekday", "0-7 (0 and 7 are Sunday) or sun-sat"),
    ("second", "0-59"),
)
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _SECONDS = range(6)
_TOPS: Final = (("59",), ("23",), ("31",), ("12", "dec"), ("6", "sat"), ("59",))
_ZONE_PREFIX: Final = re.compile(r"(cron_)?tz=", re.IGNORECASE)
_HASHED: Final = re.compile(r"[hr](\(|/|$)")
_ALLOWED: Final = re.compile(r"[0-9a-z*,/#?\- \t]*")
_ONE_VALUE_RANGE: Final = re.compile(r"(\w+)-\1(/0*[1-9]\d*)?")
_ZONE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_NOT_ZONES: Final = frozenset({"localtime", "posixrules", "Factory", "posix", "right"})
_ISO_SHAPE: Final = re.compile(r"[0-9W-]+([Tt ][0-9:.,]+([Zz]|[+-][0-9:.]+)?)?")


class Schedule(Protocol):
    """Anything that fires at nominal times; immutable."""

    def next_fire(self, after: float) -> float | None:
        """The first nominal fire strictly after `after`.

        :param after: UNIX seconds
        :return: UNIX seconds; None when there is no fire within about 50 years
        """
        ...


@dataclass(frozen=True, slots=True)
class _TimesOfDay:
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


@dataclass(frozen=True, slots=True)
class _Days:
    midnights: "tuple[croniter, ...]"  # a day is named by any of them; none: every day

    def first_from(self, day: date) -> date | None:
        if not self.midnights:
            return day
        before = datetime.combine(day, time()) - timedelta(minutes=1)
        days = (_step(midnights, before) for midnights in self.midnights)
        return min((found for found in days if found is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Calendar:
    """The wall times an expression names, in no zone."""

    days: _Days
    times: _TimesOfDay

    def after(self, wall: datetime) -> datetime | None:
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
        wall = self.after(first - _SECOND)
        while wall is not None and wall < end:
            yield wall
            wall = self.after(wall)

    def names(self, wall: datetime) -> bool:
        return self.after(wall - _SECOND) == wall


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A cron expression in a zone; made by `cron_schedule`."""

    expression: str
    timezone: str
    _calendar: _Calendar = field(compare=False, repr=False)
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
        return None if fire is None or fire >= _END_OF_TIME else float(fire)

    def _next_fixed(self, after: int) -> int | None:
        wall: datetime | None = _latest_wall_shown(after, self._zone)
        while wall is not None and (wall := self._calendar.after(wall)) is not None:
            fire = _first_instant(wall, self._zone)
            if fire > after:
                return fire
        return None

    def _next_hourly(self, after: int) -> int | None:
        local = _local(after, self._zone)
        wall = local.replace(fold=0)
        early, late = _offsets(wall, self._zone)
        if early > late and local.fold == 0:
            return self._next_in_first_pass(after, wall, early, late)
        return self._next_hourly_from(wall, after)

    def _next_in_first_pass(self, after: int, wall: datetime, early: int, late: int) -> int | None:
        put_back = _change_between(after, after + early - late, self._zone)
        fire_wall = self._calendar.after(wall)
        if fire_wall is not None and (fire := _seconds(fire_wall) - early) < put_back:
            return fire
        return self._next_hourly_from(_wall(put_back - 1 + late), put_back - 1)

    def _next_hourly_from(self, wall: datetime, after: int) -> int | None:
        while (fire_wall := self._calendar.after(wall)) is not None:
            early, late = _offsets(fire_wall, self._zone)
            if early >= late:
                first = _seconds(fire_wall) - early
                return first if first > after else _seconds(fire_wall) - late
            change = _first_instant(fire_wall, self._zone)
            resumed = _wall(change + late)
            if self._loses_a_fire(fire_wall, resumed, timedelta(seconds=late - early)):
                return change
            wall = resumed - _SECOND
        return None

    def _loses_a_fire(self, first_lost: datetime, resumed: datetime, put_on: timedelta) -> bool:
        lost = self._calendar.between(first_lost, resumed)
        return any(not self._calendar.names(wall + put_on) for wall in lost)


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """A fire every `seconds`, counted from `anchor`; made by `every_schedule`."""

    seconds: float
    anchor: float

    def next_fire(self, after: float) -> float | None:
        """The first `anchor + k * seconds`, k >= 0, strictly after `after`.

        :param after: UNIX seconds
        :return: UNIX seconds; None beyond the year 9999
        """
        if after < self.anchor:
            return self.anchor
        count = math.floor((after - self.anchor) / self.seconds) + 1
        while count > 0 and self._fire(count - 1) > after:
            count -= 1
        while self._fire(count) <= after:
            count += 1
        fire = self._fire(count)
        return fire if fire < _END_OF_TIME else None

    def _fire(self, count: int) -> float:
        return self.anchor + count * self.seconds


def cron_schedule(expression: str, timezone: str = "UTC") -> CronSchedule:
    """Parse a cron expression. The same arguments give the same, cached, schedule.

    :param expression: five fields (minute hour day month weekday), six (seconds last), or one of
        `@hourly @daily @midnight @weekly @monthly @yearly @annually`
    :param timezone: an IANA name
    :raises InvalidParams: with field `cron` or `timezone`; also when no such date ever comes
    """
    if not isinstance(expression, str):
        raise _bad_cron(f"it must be text such as '0 9 * * mon-fri', not {_shown(expression)}")
    check_timezone(timezone)
    return _cached_cron_schedule(expression, timezone)


def every_schedule(seconds: float, anchor: float) -> IntervalSchedule:
    """A schedule that fires at `anchor` and every `seconds` after it, without drift.

    :param seconds: 0.01 to 31,622,400 (366 days)
    :param anchor: UNIX seconds of the first fire
    :raises InvalidParams: with field `every` or `next_run`
    """
    if not _is_number(seconds) or not MIN_EVERY <= seconds <= MAX_EVERY:
        raise InvalidParams(
            f"every must be a number of seconds from {MIN_EVERY:g} to {MAX_EVERY:.0f} (366 days),"
            f" not {_shown(seconds)}.",
            field="every",
        )
    return IntervalSchedule(float(seconds), parse_time(anchor, field="next_run"))


def jitter_offset(task_id: str, jitter: float) -> float:
    """The share of `jitter` that a task's fires are put off by; always the same for the same task.

    :param task_id: any text
    :param jitter: seconds, 0 or more
    :return: seconds, 0 <= offset < jitter (0 when jitter is 0)
    """
    digest = blake2b(task_id.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32 * jitter


def fires_between(schedule: Schedule, after: float, until: float, limit: int) -> list[float]:
    """The nominal fires with `after` < t <= `until`, in order.

    :param after: UNIX seconds
    :param until: UNIX seconds
    :param limit: how many at most
    """
    fires: list[float] = []
    while len(fires) < limit:
        fire = schedule.next_fire(after)
        if fire is None or fire > until:
            break
        fires.append(fire)
        after = fire
    return fires


def preview(expression: str, timezone: str, n: int, after: float) -> list[float]:
    """The next fires of a cron expression.

    :param expression: as for `cron_schedule`
    :param timezone: an IANA name
    :param n: how many, 1 to 1000
    :param after: UNIX seconds
    :return: UNIX seconds, at most `n`
    :raises InvalidParams: with field `cron`, `timezone` or `n`
    """
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_PREVIEW:
        raise InvalidParams(
            f"n must be a whole number from 1 to {MAX_PREVIEW}, not {_shown(n)}.", field="n"
        )
    return fires_between(cron_schedule(expression, timezone), after, math.inf, n)


def parse_time(value: float | int | str, timezone: str = "UTC", *, field: str) -> float:
    """Read a moment.

    :param value: UNIX seconds, or ISO-8601 text; text without an offset is local time in `timezone`
        (one that does not exist means the next instant that does, one that exists twice the first)
    :param timezone: an IANA name
    :param field: what to call it in errors
    :return: UNIX seconds, sub-second kept, in the years 1970-9999
    :raises InvalidParams: with `field`, or with `timezone`
    """
    if isinstance(value, str):
        seconds = _parse_iso(value, timezone, field)
    elif _is_number(value):
        seconds = value
    else:
        raise _bad_time(value, field)
    if not 0 <= seconds < _END_OF_TIME:
        raise _bad_time(value, field)
    return float(seconds)


def check_timezone(name: str, *, field: str = "timezone") -> ZoneInfo:
    """The zone of an IANA name.

    :param name: such as `Europe/Berlin` or `UTC`, in exactly this spelling
    :param field: what to call it in errors
    :raises InvalidParams: with `field`
    """
    if isinstance(name, str) and (zone := _zone(name)) is not None:
        return zone
    raise InvalidParams(
        f"{field} must be an IANA name such as 'Europe/Berlin' or 'UTC', not {_shown(name)}."
        + _zone_hint(name),
        field=field,
    )


@lru_cache(maxsize=4096)
def _cached_cron_schedule(expression: str, timezone: str) -> CronSchedule:
    fields = _split_fields(expression)
    values = _expand(fields)
    schedule = CronSchedule(
        expression=expression,
        timezone=timezone,
        _calendar=_Calendar(_days(fields, values), _times_of_day(values)),
        _zone=check_timezone(timezone),
        _hourly=_is_hourly(fields[_HOUR], values[_HOUR]),
    )
    if schedule._calendar.after(datetime(2000, 1, 1)) is None:
        raise _bad_cron(f"{expression!r} never fires: no year has such a date")
    return schedule


def _split_fields(expression: str) -> list[str]:
    text = expression.strip().lower()
    if len(text) > MAX_EXPRESSION_LENGTH:
        raise _bad_cron(f"it has {len(text)} characters, more than {MAX_EXPRESSION_LENGTH}")
    _refuse_foreign_syntax(text)
    fields = _ALIASES.get(text, text).split()
    if len(fields) not in (5, 6):
        raise _bad_cron(
            "it must have five fields (minute hour day month weekday) or six (seconds last),"
            f" not {len(fields)}" + (" (a year field is not supported)" if len(fields) == 7 else "")
        )
    for number, text in enumerate(fields):
        if any(_HASHED.match(item) for item in text.split(",")):
            raise _bad_cron(
                f"{text!r} in the {_FIELDS[number][0]} field is a hashed or random value, which is"
                " not supported: give a number, and `jitter` to spread tasks"
            )
        if not _ALLOWED.fullmatch(text):
            raise _bad_field(number, text)
    return [_plain_single_values(number, text) for number, text in enumerate(fields)]


def _refuse_foreign_syntax(text: str) -> None:
    if _ZONE_PREFIX.match(text):
        raise _bad_cron("a zone does not belong in it: give the zone in `timezone`")
    if text.startswith("@every"):
        raise _bad_cron("@every is not supported: give the seconds in `every` instead of `cron`")
    if text.startswith("@") and text not in _ALIASES:
        raise _bad_cron(f"{_shown(text)} is not one of {' '.join(_ALIASES)}")


def _plain_single_values(number: int, text: str) -> str:
    # croniter reads 9-9 as the whole field, and before version 7 also 59/15.
    return ",".join(_plain_single_value(item, _TOPS[number]) for item in text.split(","))


def _plain_single_value(item: str, tops: tuple[str, ...]) -> str:
    if one := _ONE_VALUE_RANGE.fullmatch(item):
        return one[1]
    start, slash, step = item.partition("/")
    return start if slash and start in tops and _is_step(step) else item


def _is_step(text: str) -> bool:
    return text.isdigit() and text.strip("0") != ""


def _expand(fields: list[str]) -> list[list[int | str]]:
    try:
        return _croniter_fields(" ".join(fields))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        for number, text in enumerate(fields):
            if not _is_good_field(number, text, len(fields)):
                raise _bad_field(number, text) from error
        raise _bad_cron(f"{' '.join(fields)!r} cannot be read: {error}") from error


def _is_good_field(number: int, text: str, count: int) -> bool:
    alone = ["*"] * count
    alone[number] = text
    try:
        _croniter_fields(" ".join(alone))
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def _croniter_fields(expression: str) -> list[list[int | str]]:
    from croniter import croniter

    return cast("list[list[int | str]]", croniter.expand(expression)[0])


def _times_of_day(values: list[list[int | str]]) -> _TimesOfDay:
    return _TimesOfDay(
        hours=_numbers(values[_HOUR], 24),
        minutes=_numbers(values[_MINUTE], 60),
        seconds=_numbers(values[_SECONDS], 60) if len(values) > _SECONDS else (0,),
    )


def _numbers(values: list[int | str], count: int) -> tuple[int, ...]:
    if "*" in values:  # also beside others: *,5
        return tuple(range(count))
    return tuple(sorted({int(value) for value in values}))


def _days(fields: list[str], values: list[list[int | str]]) -> _Days:
    from croniter import croniter

    day, month, weekday = fields[_DAY], fields[_MONTH], fields[_WEEKDAY]
    if values[_DAY] == values[_MONTH] == values[_WEEKDAY] == ["*"]:
        return _Days(())
    sides = [f"0 0 {day} {month} {weekday}"]
    if values[_DAY] != ["*"] and values[_WEEKDAY] != ["*"]:
        # Apart: croniter's own union depends on its version and does not hold for # and W.
        sides = [f"0 0 {day} {month} *", f"0 0 * {month} {weekday}"]
    return _Days(tuple(croniter(side, _EPOCH) for side in sides))


def _step(midnights: "croniter", before: datetime) -> date | None:
    from croniter import CroniterBadDateError

    # A copy, because stepping writes into the croniter and a schedule is shared between threads.
    try:
        return copy(midnights).get_next(datetime, start_time=before).date()
    except CroniterBadDateError:
        return None
    except (ValueError, OverflowError):
        if before.year > 9999 - 51:
            return None
        raise


def _is_hourly(text: str, values: list[int | str]) -> bool:
    return "*" in values or (len(values) > 1 and ("*" in text or "/" in text))


def _first_from(values: tuple[int, ...], start: int) -> int | None:
    index = bisect_left(values, start)
    return values[index] if index < len(values) else None


def _seconds(wall: datetime) -> int:
    return round((wall - _EPOCH).total_seconds())


def _wall(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def _local(instant: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(instant, zone).replace(tzinfo=None)


def _offset(instant: int, zone: ZoneInfo) -> int:
    return _seconds(_local(instant, zone)) - instant


def _offsets(wall: datetime, zone: ZoneInfo) -> tuple[int, int]:
    # PEP 495: (more, less) for a time that exists twice, (less, more) for one that does not exist.
    return _utc_offset(wall, 0, zone), _utc_offset(wall, 1, zone)


def _utc_offset(wall: datetime, fold: int, zone: ZoneInfo) -> int:
    offset = wall.replace(fold=fold, tzinfo=zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _first_instant(wall: datetime, zone: ZoneInfo) -> int:
    early, late = _offsets(wall, zone)
    if early >= late:
        return _seconds(wall) - early
    return _change_between(_seconds(wall) - late, _seconds(wall) - early, zone)


def _change_between(before: int, after: int, zone: ZoneInfo) -> int:
    old = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == old:
            before = middle
        else:
            after = middle
    return after


def _latest_wall_shown(instant: int, zone: ZoneInfo) -> datetime:
    """The latest wall time the clock has shown by then: its own, unless it was put back lately."""
    local = _local(instant, zone)
    if local.fold == 0:
        return local
    early, late = _offsets(local, zone)
    put_back = _change_between(instant - (early - late), instant, zone)
    return _wall(put_back - 1 + early)


def _parse_iso(text: str, timezone: str, field: str) -> float:
    zone = check_timezone(timezone)
    if not _ISO_SHAPE.fullmatch(text):
        raise _bad_time(text, field)
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise _bad_time(text, field) from error
    if not 1970 - 1 <= moment.year <= 9999:
        raise _bad_time(text, field)
    offset = moment.utcoffset()
    wall = moment.replace(tzinfo=None)
    if offset is not None:
        return (wall - _EPOCH - offset).total_seconds()
    early, late = _offsets(wall, zone)
    if early < late:
        return _first_instant(wall.replace(microsecond=0), zone)
    return (wall - _EPOCH).total_seconds() - early


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    if not _ZONE_NAME.fullmatch(name) or name.partition("/")[0] in _NOT_ZONES:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _zone_hint(name: object) -> str:
    if not isinstance(name, str):
        return ""
    known = _known_zones()
    exact = known.get(name.lower())
    close = [exact] if exact else get_close_matches(name[:64], known.values(), n=1, cutoff=0.75)
    return f" Did you mean {close[0]!r}?" if close else ""


@lru_cache(maxsize=1)
def _known_zones() -> dict[str, str]:
    return {name.lower(): name for name in sorted(available_timezones())}


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number far too large"
    return text if len(text) <= 60 else text[:57] + "..."


def _bad_cron(reason: str) -> InvalidParams:
    return InvalidParams(f"cron is not right: {reason}.", field="cron")


def _bad_field(number: int, text: str) -> InvalidParams:
    name, values = _FIELDS[number]
    return _bad_cron(
        f"its {name} field {_shown(text)} cannot be read; give {values}, or *, with lists (1,2),"
        " ranges (1-5) and steps (*/2)"
    )


def _bad_time(value: object, field: str) -> InvalidParams:
    return InvalidParams(
        f"{field} must be UNIX seconds or ISO-8601 such as '2030-01-31T09:00:00+01:00', in the"
        f" years 1970-9999, not {_shown(value)}.",
        field=field,
    )
