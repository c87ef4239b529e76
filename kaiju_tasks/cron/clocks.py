"""What the clock of a zone shows, and when it is changed.

A *wall time* is a datetime without a zone; an instant is whole UNIX seconds.
"""

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1)
END_OF_TIME: Final = 253402300800  # the year 10000


def wall_seconds(wall: datetime) -> int:
    """Whole seconds from 1970 to a wall time, as if in UTC."""
    return round((wall - EPOCH).total_seconds())


def wall_at(seconds: int) -> datetime:
    """The wall time so many seconds after 1970, as if in UTC."""
    return EPOCH + timedelta(seconds=seconds)


def local_at(instant: int, zone: ZoneInfo) -> datetime:
    """What the clock shows; `fold` is 1 in the second pass of a repeated time."""
    return datetime.fromtimestamp(instant, zone).replace(tzinfo=None)


def offsets(wall: datetime, zone: ZoneInfo) -> tuple[int, int]:
    """Seconds from UTC before and after the change of clock that a wall time falls into.

    PEP 495: (more, less) for a time that exists twice, (less, more) for one that does not exist;
    where the clock is not changed both are the same.
    """
    return _utc_offset(wall, 0, zone), _utc_offset(wall, 1, zone)


def _utc_offset(wall: datetime, fold: int, zone: ZoneInfo) -> int:
    offset = wall.replace(fold=fold, tzinfo=zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _offset(instant: int, zone: ZoneInfo) -> int:
    return wall_seconds(local_at(instant, zone)) - instant


def first_instant(wall: datetime, zone: ZoneInfo) -> int:
    """The first instant at which the clock shows a wall time, or has passed over it."""
    early, late = offsets(wall, zone)
    if early >= late:
        return wall_seconds(wall) - early
    return change_between(wall_seconds(wall) - late, wall_seconds(wall) - early, zone)


def change_between(before: int, after: int, zone: ZoneInfo) -> int:
    """The first instant after the one change of clock between two instants."""
    old = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == old:
            before = middle
        else:
            after = middle
    return after


def latest_wall_shown(instant: int, zone: ZoneInfo) -> datetime:
    """The latest wall time the clock has shown by then: its own, unless it was put back lately."""
    local = local_at(instant, zone)
    if local.fold == 0:
        return local
    early, late = offsets(local, zone)
    put_back = change_between(instant - (early - late), instant, zone)
    return wall_at(put_back - 1 + early)
