"""Queues entries for the committer and groups them into batches."""

import asyncio
from collections import deque
from collections.abc import Iterable

from kaiju_tasks.manager.writing.entries import Entry

LOOK_PAST = 4
"""The search for a batch ends after this many batches of entries that must wait."""
BATCH_BYTES = 4 * 1024 * 1024


class EntryQueue:
    """Groups entries into batches. The entries of a task keep their order.

    :param batch_rows: maximum number of entries in a batch
    """

    def __init__(self, batch_rows: int) -> None:
        self._batch_rows = batch_rows
        self._entries: deque[Entry] = deque()
        self._being_written: set[str] = set()
        self._closed = False
        self._work = asyncio.Event()

    def put(self, entries: Iterable[Entry]) -> None:
        self._entries.extend(entries)
        self._work.set()

    def close(self) -> None:
        """Close the queue: `next_batch` returns the remaining entries, then an empty list."""
        self._closed = True
        self._work.set()

    def drain(self) -> list[Entry]:
        """Take all entries that are left."""
        entries = list(self._entries)
        self._entries.clear()
        return entries

    async def next_batch(self) -> list[Entry]:
        """Wait for entries and take a batch. An empty list: the queue is closed."""
        while True:
            await self._work.wait()
            batch = self._take()
            if batch or (self._closed and not self._entries):
                self._being_written.update(entry.task_id for entry in batch)
                return batch
            self._work.clear()

    def written(self, batch: Iterable[Entry]) -> None:
        """Release the tasks of a batch, written or failed: their next entries may be taken."""
        self._being_written.difference_update(entry.task_id for entry in batch)
        if self._entries or self._closed:
            self._work.set()

    def _take(self) -> list[Entry]:
        """Take at most one entry for a task, and none for a task that another lane writes."""
        queue, rows = self._entries, self._batch_rows
        batch: dict[str, Entry] = {}
        later: list[Entry] = []
        size = 0
        while queue and len(batch) < rows and len(later) < LOOK_PAST * rows and size < BATCH_BYTES:
            entry = queue.popleft()
            if entry.task_id in batch or entry.task_id in self._being_written:
                later.append(entry)
            else:
                batch[entry.task_id] = entry
                size += entry.size
        queue.extendleft(reversed(later))
        return list(batch.values())
