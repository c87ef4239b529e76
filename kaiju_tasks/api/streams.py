"""`streams.*`"""

import math
from collections.abc import Sequence

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import access
from kaiju_tasks.store.base import ExecutorRow, StreamCount
from kaiju_tasks.types import ExecutorStatus, StreamInfo

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
        among those that are measured.
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
        return [
            _info(name, counts.get(name, ()), serving.get(name, ()), waits.get(name, ()))
            for name in sorted({*waits, *counts, *serving})
        ]


list_ = list


def _info(
    app_name: str,
    counts: Sequence[StreamCount],
    executors: Sequence[ExecutorRow],
    waits: Sequence[float],
) -> StreamInfo:
    number = {one.what: one.tasks for one in counts}
    oldest = [one.oldest for one in counts if one.oldest is not None]
    held: dict[str, int] = {}
    for one in counts:
        if one.what.startswith(HELD):
            reason = one.what.removeprefix(HELD) or "other"
            held[reason] = held.get(reason, 0) + one.tasks
    ordered = sorted(waits)
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
        wait_p50=percentile(ordered, 0.5),
        wait_p95=percentile(ordered, 0.95),
        runs=len(ordered),
    )


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """The least value that is not exceeded by a part of the values; None without values.

    :param ordered: the values, in ascending order
    :param part: more than 0, at most 1
    """
    return ordered[math.ceil(len(ordered) * part) - 1] if ordered else None
