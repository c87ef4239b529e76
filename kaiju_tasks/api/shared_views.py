"""Reads a task once for all callers that want it at the same time."""

import asyncio

from kaiju_tasks.rights import Sight
from kaiju_tasks.rpc import measured
from kaiju_tasks.store.base import Store, TaskView


class SharedViews:
    """Reads tasks, each once for all callers with the same sight that want it at the same time.

    Nobody gets a task as it was before the call: a call that comes during a read shares the next.
    What a read costs counts for the first of those that share it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[tuple[str, Sight], asyncio.Task[TaskView | None]] = {}
        self._next: dict[tuple[str, Sight], asyncio.Task[TaskView | None]] = {}

    async def get(self, task_id: str, sight: Sight) -> TaskView | None:
        """Read a task with its results. None: there is no such task in the sight."""
        key = (task_id, sight)
        reading = self._next.get(key)
        if reading is None:
            reading = self._next[key] = asyncio.create_task(measured(self._read(*key)))
        return await asyncio.shield(reading)

    async def _read(self, task_id: str, sight: Sight) -> TaskView | None:
        key = (task_id, sight)
        if (running := self._running.get(key)) is not None:
            await asyncio.wait([running])
        own = self._running[key] = self._next.pop(key)
        try:
            return (await self._store.tasks([task_id], sight)).get(task_id)
        finally:
            if self._running.get(key) is own:
                del self._running[key]
