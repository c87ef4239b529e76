"""Fires of any schedule, in order."""

import math
from typing import Final, Protocol

from kaiju_tasks.cron.schedule import cron_schedule
from kaiju_tasks.cron.values import shown
from kaiju_tasks.errors import InvalidParams

MAX_PREVIEW: Final = 100


class Schedule(Protocol):
    """Anything that fires at nominal times. Immutable."""

    def next_fire(self, after: float) -> float | None:
        """The first nominal fire strictly after `after`.

        :param after: UNIX seconds
        :return: UNIX seconds; None when there is no fire within about 50 years
        """
        ...


def fires_between(schedule: Schedule, after: float, until: float, limit: int) -> list[float]:
    """The nominal fires with `after` < t <= `until`, in order.

    :param after: UNIX seconds
    :param until: UNIX seconds
    :param limit: the maximum number of fires
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
    :param n: number of fires, 1 to 100
    :param after: UNIX seconds
    :return: UNIX seconds, at most `n`
    :raises InvalidParams: with field `cron`, `timezone` or `n`
    """
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_PREVIEW:
        raise InvalidParams(
            f"`n` must be a whole number from 1 to {MAX_PREVIEW}, not {shown(n)}", field="n"
        )
    return fires_between(cron_schedule(expression, timezone), after, math.inf, n)
