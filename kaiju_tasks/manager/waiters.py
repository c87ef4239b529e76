"""Callers who wait for a task to change."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, KeysView
from contextlib import contextmanager


class Watch:
    """One caller's look-out for changes of a task. Clear it, then look at the row, then wait: so
    no change falls in between."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.clear = self._changed.clear
        self.set = self._changed.set

    async def wait(self, seconds: float) -> None:
        """Return when the task has changed since `clear`, or after some seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return


class Waiters:
    """Wakes whoever waits for a task that was written.

    :param on_first: called with a task that somebody begins to wait for
    """

    def __init__(self, on_first: Callable[[str], None] = lambda task_id: None) -> None:
        self._on_first = on_first
        self._waiting: dict[str, set[Watch]] = {}

    @property
    def task_ids(self) -> KeysView[str]:
        """Tasks that are waited for."""
        return self._waiting.keys()

    def changed(self, task_ids: Iterable[str]) -> None:
        if self._waiting:
            for task_id in task_ids:
                for watch in self._waiting.get(task_id, ()):
                    watch.set()

    @contextmanager
    def watch(self, task_id: str) -> Iterator[Watch]:
        """Look out for changes of a task until the end of the block."""
        watch = Watch()
        watches = self._waiting.get(task_id)
        if watches is None:
            watches = self._waiting[task_id] = set()
            self._on_first(task_id)
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                del self._waiting[task_id]

    async def wait(self, task_id: str, seconds: float) -> None:
        """Return when the task is written, or after some seconds."""
        with self.watch(task_id) as watch:
            await watch.wait(seconds)
