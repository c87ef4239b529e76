"""`streams.*`"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.stats import bucket_percentile
from kaiju_tasks.rights import access
from kaiju_tasks.store.base import MINUTE, ExecutorRow, StreamCount
from kaiju_tasks.types import ExecutorStatus, StatName, StreamInfo

RECENT_SECONDS = 3600.0
RECENT_RUNS = 5_000
HELD = "held:"


class StreamsApi:
    """The methods on streams."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def list(self, caller: Caller) -> "list_[StreamInfo]":
        """List the streams by name: their tasks, their executors, and how long runs waited.

        A stream is listed if it has a task that is neither IDLE nor ended, an executor, or a run
        among those that are measured. Of other streams, the waits of the last hour are estimated
        from the statistics.
        """
        sight = seen_by(caller, access.READ_STREAMS)
        since = await self._store.now() - RECENT_SECONDS
        waits: dict[str, list[float]] = {}
        for app_name, wait in await self._store.recent_waits(since, RECENT_RUNS, sight):
            waits.setdefault(app_name, []).append(wait)
        counts: dict[str, list[StreamCount]] = {}
        for one in await self._store.streams(sight):
            counts.setdefault(one.app_name, []).append(one)
        serving: dict[str, list[ExecutorRow]] = {}
        for executor in await self._store.executors(sight):
            if executor.status is ExecutorStatus.ACTIVE:
                for app_name in filter(sight.sees_stream, executor.app_names):
                    serving.setdefault(app_name, []).append(executor)
        names = sorted({*waits, *counts, *serving})
        measured = {name: _measured(found) for name, found in waits.items()}
        if waits.keys() != set(names):
            measured = await self._estimated(since) | measured
        return [
            _info(name, counts.get(name, ()), serving.get(name, ()), measured.get(name, NO_WAITS))
            for name in names
        ]

    async def _estimated(self, since: float) -> "dict[str, _Waits]":
        """The waits in all streams since a time, as the managers have counted them."""
        buckets: dict[str, list_[tuple[int, int]]] = {}
        first = int(since // MINUTE) * MINUTE
        for app_name, bucket, count in await self._store.stat_durations(
            StatName.QUEUE_SECONDS, first
        ):
            buckets.setdefault(app_name, []).append((bucket, count))
        return {
            name: _Waits(
                sum(count for _, count in found),
                bucket_percentile(found, 0.5),
                bucket_percentile(found, 0.95),
            )
            for name, found in buckets.items()
        }


list_ = list


class _Waits(NamedTuple):
    """How long some runs have waited for an executor, in seconds."""

    runs: int
    p50: float | None
    p95: float | None


NO_WAITS = _Waits(0, None, None)


def _measured(waits: Sequence[float]) -> _Waits:
    ordered = sorted(waits)
    return _Waits(len(ordered), percentile(ordered, 0.5), percentile(ordered, 0.95))


def _info(
    app_name: str,
    counts: Sequence[StreamCount],
    executors: Sequence[ExecutorRow],
    waits: _Waits,
) -> StreamInfo:
    number = {one.what: one.tasks for one in counts}
    oldest = [one.oldest for one in counts if one.oldest is not None]
    held: dict[str, int] = {}
    for one in counts:
        if one.what.startswith(HELD):
            reason = one.what.removeprefix(HELD) or "other"
            held[reason] = held.get(reason, 0) + one.tasks
    suspect = number.get("suspect", 0)
    return StreamInfo(
        app_name=app_name,
        ready=number.get("ready", 0) + suspect,
        oldest_ready=min(oldest, default=None),
        suspect=suspect,
        running=number.get("running", 0),
        waiting=number.get("waiting", 0),
        held=held,
        executors=len(executors),
        capacity=sum(one.capacity for one in executors),
        free=sum(max(0, one.capacity - one.running) for one in executors),
        wait_p50=waits.p50,
        wait_p95=waits.p95,
        runs=waits.runs,
    )


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """The least value that is not exceeded by a part of the values; None without values.

    :param ordered: the values, in ascending order
    :param part: more than 0, at most 1
    """
    return ordered[math.ceil(len(ordered) * part) - 1] if ordered else None
