"""The numbers of tasks by stream and status."""

import asyncio

from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.store.base import Store

__all__ = ["KEPT_SECONDS", "MANY_TASKS", "TaskCounts"]

MANY_TASKS = 100_000
"""From this number on, counts are used again: each count reads all tasks."""
KEPT_SECONDS = 10.0

Counts = dict[tuple[str, str], int]


class TaskCounts:
    """Counts all tasks for clients. Counts of many tasks are at most `KEPT_SECONDS` old."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: Counts = {}
        self._kept_until = float("-inf")
        self._counting = asyncio.Lock()
        self._failure: Exception | None = None
        self._failed_at = float("-inf")

    async def read(self, sight: Sight) -> Counts:
        """The number of tasks by stream and status, of the streams in sight.

        :raises StoreError: the database cannot be queried
        """
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        async with self._counting:
            if self._failure is not None and self._failed_at >= asked_at:
                raise self._failure  # it would fail for everyone who waits, one after another
            counts, now = self._kept, clock()
            if now >= self._kept_until:
                try:
                    counts = await self._store.status_counts(ALL_SIGHT)
                except Exception as error:
                    self._failure, self._failed_at = error, clock()
                    raise
                self._keep(counts, now)
        return {key: count for key, count in counts.items() if sight.sees_stream(key[0])}

    def _keep(self, counts: Counts, now: float) -> None:
        if sum(counts.values()) >= MANY_TASKS:
            self._kept, self._kept_until = counts, now + KEPT_SECONDS
