"""Every change of clock of every IANA zone, from 1970 to the end of 2037."""

from array import array
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

FIRST: Final = int(datetime(1970, 1, 1, tzinfo=UTC).timestamp())
LAST: Final = int(datetime(2038, 1, 1, tzinfo=UTC).timestamp())
_QUIET: Final = int(datetime(2024, 7, 1, tzinfo=UTC).timestamp())
_STEP: Final = 3 * 86400  # no clock is changed twice within 6 days


@dataclass(frozen=True, slots=True)
class Change:
    """A clock that is put on or back; or, for a zone whose clock never is, a quiet midnight.

    :param instant: the first second of the new time, UNIX seconds
    :param before: seconds from UTC until then
    :param after: seconds from UTC from then on
    """

    zone: str
    instant: int
    before: int
    after: int

    @property
    def quiet(self) -> bool:
        return self.before == self.after

    @property
    def wall(self) -> datetime:
        """What the clock would show at that instant if it were not changed."""
        return datetime.fromtimestamp(self.instant + self.before, UTC).replace(tzinfo=None)

    @property
    def put_on(self) -> int:
        """Seconds that the clock is put on; less than 0 where it is put back."""
        return self.after - self.before


@cache
def zones() -> dict[str, list[str]]:
    """The zones whose clocks differ since 1970, each with all names that show the same clock."""
    return {same[0]: same for same in _names_by_offsets().values()}


@cache
def _names_by_offsets() -> dict[bytes, list[str]]:
    names = defaultdict(list)
    for name in sorted(available_timezones() - {"Factory", "localtime"}):
        names[_offsets(name)].append(name)
    return names


@cache
def _offsets_by_zone() -> dict[str, "array[int]"]:
    return {same[0]: array("i", offsets) for offsets, same in _names_by_offsets().items()}


@cache
def changes(zone: str) -> list[Change]:
    """The changes of clock of a zone, in order; one quiet midnight where there are none."""
    place = ZoneInfo(zone)
    seen = _offsets_by_zone()[zone]
    found = []
    for number, (before, after) in enumerate(pairwise(seen)):
        if before != after:
            start = FIRST + number * _STEP
            found.append(Change(zone, _change(start, start + _STEP, place), before, after))
    return found or [Change(zone, _QUIET - seen[0], seen[0], seen[0])]


def all_changes() -> list[Change]:
    """What is to be looked at in all zones."""
    return [change for zone in zones() for change in changes(zone)]


def _offsets(name: str) -> bytes:
    """The seconds from UTC at each step."""
    place = ZoneInfo(name)
    steps = range(FIRST, LAST + 1, _STEP)
    return array("i", [offset_at(instant, place) for instant in steps]).tobytes()


def offset_at(instant: int, place: ZoneInfo) -> int:
    """Seconds from UTC."""
    offset = datetime.fromtimestamp(instant, place).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


def _change(before: int, after: int, place: ZoneInfo) -> int:
    old = offset_at(before, place)
    while after - before > 1:
        middle = (before + after) // 2
        if offset_at(middle, place) == old:
            before = middle
        else:
            after = middle
    return after
