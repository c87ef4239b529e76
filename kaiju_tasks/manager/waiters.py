"""Callers who wait for a task to change."""

import asyncio
from collections.abc import Iterable


class Waiters:
    """Wakes whoever waits for a task that was written by this manager."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def changed(self, task_ids: Iterable[str]) -> None:
        if self._waiting:
            for task_id in task_ids:
                for event in self._waiting.get(task_id, ()):
                    event.set()

    async def wait(self, task_id: str, seconds: float) -> None:
        """Return when the task is written, or after some seconds."""
        event = asyncio.Event()
        self._waiting.setdefault(task_id, set()).add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            events = self._waiting[task_id]
            events.discard(event)
            if not events:
                del self._waiting[task_id]
