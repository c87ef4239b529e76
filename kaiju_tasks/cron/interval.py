"""Intervals: fires at a fixed number of seconds."""

import math
from dataclasses import dataclass
from typing import Final

from kaiju_tasks.cron.moments import parse_time
from kaiju_tasks.cron.values import is_number, shown
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.local_time import END_OF_TIME

MIN_EVERY: Final = 0.1
MAX_EVERY: Final = 366 * 86400.0


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
        return fire if fire < END_OF_TIME else None

    def _fire(self, count: int) -> float:
        return self.anchor + count * self.seconds


def every_schedule(seconds: float, anchor: float) -> IntervalSchedule:
    """A schedule that fires at `anchor` and every `seconds` after it, without drift.

    :param seconds: 0.1 to 31,622,400 (366 days)
    :param anchor: UNIX seconds of the first fire
    :raises InvalidParams: with field `every` or `next_run`
    """
    if not is_number(seconds) or not MIN_EVERY <= seconds <= MAX_EVERY:
        raise InvalidParams(
            f"`every` must be a number of seconds from {MIN_EVERY:g} to {MAX_EVERY:.0f} (366 days),"
            f" not {shown(seconds)}",
            field="every",
        )
    return IntervalSchedule(float(seconds), parse_time(anchor, field="next_run"))


def same_phase(anchor: float, seconds: float, *, after: float) -> float:
    """An anchor for the same fires that is not so late that it skips those soon after `after`.

    :param anchor: UNIX seconds of a fire
    :param seconds: between fires
    :param after: UNIX seconds
    :return: the anchor itself, or `anchor - k * seconds` at most `seconds` after `after`
    """
    return anchor - max(0, math.ceil((anchor - after) / seconds) - 1) * seconds
