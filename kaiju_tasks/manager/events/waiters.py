"""Callers who wait for a task to change."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager


class Watch:
    """One caller's look-out for changes of a task. Clear it, then look at the row, then wait: so
    no change falls in between.

    :param begin: called when it is waited for
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._changed = asyncio.Event()
        self.clear = self._changed.clear
        self.set = self._changed.set

    async def wait(self, seconds: float) -> None:
        """Return when the task has changed since `clear`, or after some seconds."""
        self._begin()
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
        self._watches: dict[str, set[Watch]] = {}
        self._waited: set[str] = set()

    @property
    def task_ids(self) -> Set[str]:
        """Tasks that are waited for."""
        return self._waited

    def changed(self, task_ids: Iterable[str]) -> None:
        if self._watches:
            for task_id in task_ids:
                for watch in self._watches.get(task_id, ()):
                    watch.set()

    @contextmanager
    def watch(self, task_id: str) -> Iterator[Watch]:
        """Look out for changes of a task until the end of the block."""
        watch = Watch(lambda: self._begin(task_id))
        watches = self._watches.setdefault(task_id, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                del self._watches[task_id]
                self._waited.discard(task_id)

    def _begin(self, task_id: str) -> None:
        if task_id not in self._waited:
            self._waited.add(task_id)
            self._on_first(task_id)

    async def wait(self, task_id: str, seconds: float) -> None:
        """Return when the task is written, or after some seconds."""
        with self.watch(task_id) as watch:
            await watch.wait(seconds)
