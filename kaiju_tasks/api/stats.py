"""`stats.*`"""

from collections.abc import Iterable, Sequence

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import StatParams
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.cron import parse_time
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.retention import STATS_KEPT_SECONDS
from kaiju_tasks.manager.stats import bucket_percentile
from kaiju_tasks.rights import Sight, access
from kaiju_tasks.store.base import HOUR, MINUTE, StatRow
from kaiju_tasks.types import StatName, StatPoint, Stats, StatSeries

POINTS_MAX = 5000
"""The most points of all series of a call: 34 hours of minutes of two names."""
AHEAD_SECONDS = 3600.0


class StatsApi:
    """The methods on statistics."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def series(self, caller: Caller, params: StatParams) -> Stats:
        """Count runs, stages and their durations by intervals, over all managers.

        Every manager adds what it has counted every 10 seconds, so the last interval grows. Times
        are rounded to whole intervals. A call reads at most 5000 points. Counts are kept for 48
        hours by minute, and for 90 days by hour: what happened more than 48 hours ago needs a
        `step` of whole hours.
        """
        names, interval = list(dict.fromkeys(params.names)), params.step
        start = int(parse_time(params.start, field="start") // interval) * interval
        asked_end, now = parse_time(params.end, field="end"), await self._store.now()
        asked_end = min(asked_end, now + AHEAD_SECONDS)
        end = -int(-asked_end // interval) * interval
        points = (end - start) // interval
        if points < 1:
            raise InvalidParams("`start` must be before `end` and not in the future", field="start")
        if points * len(names) > POINTS_MAX:
            raise InvalidParams(
                f"these are {points * len(names)} points; at most {POINTS_MAX} are allowed: take a "
                "longer `step`, a shorter time or fewer names",
                field="step",
                points=points * len(names),
                most=POINTS_MAX,
            )
        step = MINUTE if interval % HOUR else HOUR
        if step == MINUTE and start + interval <= now - STATS_KEPT_SECONDS[MINUTE]:
            raise InvalidParams(
                "`step` must be a whole number of hours (3600 seconds) for what happened more than "
                "48 hours ago: minutes are not kept for longer",
                field="step",
            )
        streams = await self._streams(
            seen_by(caller, access.READ_STREAMS), params, step, start, end
        )
        found = await self._store.stats(step, start, end, interval, names, streams)
        moments = range(start, end, interval)
        return Stats(start, end, interval, [_series(name, moments, found) for name in names])

    async def _streams(
        self, sight: Sight, params: StatParams, step: int, start: int, end: int
    ) -> list[str] | None:
        """The streams to read; None for all."""
        if params.app_name is not None:
            return [params.app_name] if sight.sees_stream(params.app_name) else []
        if not sight.streams:
            return None
        return list(filter(sight.sees_stream, await self._store.stat_streams(step, start, end)))


def _series(name: StatName, moments: Iterable[int], found: Iterable[StatRow]) -> StatSeries:
    by_moment: dict[int, list[StatRow]] = {}
    for row in found:
        if row.name == name:
            by_moment.setdefault(row.at, []).append(row)
    return StatSeries(name, [_point(at, by_moment.get(at, ())) for at in moments])


def _point(at: int, rows: Sequence[StatRow]) -> StatPoint:
    count = sum(row.count for row in rows)
    if not count or rows[0].bucket < 0:
        return StatPoint(at, count)
    mean = sum(row.total for row in rows) / count
    counts = [(row.bucket, row.count) for row in rows]
    return StatPoint(at, count, mean, *(bucket_percentile(counts, q) for q in (0.5, 0.95, 0.99)))
