"""The local clock of a zone, and its changes.

A *wall time* is a datetime without a zone; an instant is whole UNIX seconds.
"""

from datetime import datetime, timedelta, tzinfo
from typing import Final

EPOCH: Final = datetime(1970, 1, 1)
END_OF_TIME: Final = 253402300800  # the year 10000


def wall_seconds(wall: datetime) -> int:
    """Whole seconds from 1970 to a wall time read as UTC."""
    return round((wall - EPOCH).total_seconds())


def wall_at(seconds: int) -> datetime:
    """The wall time in UTC, `seconds` after 1970."""
    return EPOCH + timedelta(seconds=seconds)


def local_at(instant: int, zone: tzinfo) -> datetime:
    """The local time at an instant; `fold` is 1 in the second pass of a repeated time."""
    return datetime.fromtimestamp(instant, zone).replace(tzinfo=None)


def offsets(wall: datetime, zone: tzinfo) -> tuple[int, int]:
    """The UTC offsets, in seconds, before and after the change of clock that affects a wall time.

    As in PEP 495, the first is larger for a time that exists twice and smaller for a time that
    does not exist. If no change affects the wall time, both are equal.
    """
    return _utc_offset(wall, 0, zone), _utc_offset(wall, 1, zone)


def _utc_offset(wall: datetime, fold: int, zone: tzinfo) -> int:
    offset = wall.replace(fold=fold, tzinfo=zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _offset(instant: int, zone: tzinfo) -> int:
    return wall_seconds(local_at(instant, zone)) - instant


def first_instant(wall: datetime, zone: tzinfo) -> int:
    """The first instant at which the clock shows a wall time, or has skipped it."""
    early, late = offsets(wall, zone)
    if early >= late:
        return wall_seconds(wall) - early
    return change_between(wall_seconds(wall) - late, wall_seconds(wall) - early, zone)


def change_between(before: int, after: int, zone: tzinfo) -> int:
    """The first instant after the only change of clock between two instants."""
    old = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == old:
            before = middle
        else:
            after = middle
    return after


def latest_wall_shown(instant: int, zone: tzinfo) -> datetime:
    """The latest wall time shown so far: the current one, unless the clock was just put back."""
    local = local_at(instant, zone)
    if local.fold == 0:
        return local
    early, late = offsets(local, zone)
    put_back = change_between(instant - (early - late), instant, zone)
    return wall_at(put_back - 1 + early)
