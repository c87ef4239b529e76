"""Wakes callers that wait for a task to change."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager

from kaiju_tasks.store.base import Standing


class Watch:
    """One caller's watch for changes of a task.

    To miss no change, clear the watch, then read the row, then wait.

    :param begin: called when a wait begins
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._changed = asyncio.Event()
        self._seen: Standing | None = None
        self._is_outdated: Callable[[], bool] = bool
        self.clear = self._changed.clear
        self.set = self._changed.set

    def saw(self, seen: Standing, is_outdated: Callable[[], bool]) -> None:
        """Let the manager compare the task with the row that was read.

        :param is_outdated: whether the caller has to read again although the task is the same
        """
        self._seen, self._is_outdated = seen, is_outdated

    def compare(self, found: Standing | None) -> None:
        """:param found: None if the task does not exist"""
        if self._seen is not None and (found != self._seen or self._is_outdated()):
            self.set()

    async def wait(self, seconds: float) -> None:
        """Return when the task has changed since `clear`, or after this many seconds."""
        self._begin()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return


class Waiters:
    """Wakes callers that wait for a task when the task is written.

    :param on_first: called with a task id when the first caller begins to wait for it
    """

    def __init__(self, on_first: Callable[[str], None] = lambda task_id: None) -> None:
        self._on_first = on_first
        self._watches: dict[str, set[Watch]] = {}
        self._awaited: set[str] = set()
        self._count = 0

    @property
    def task_ids(self) -> Set[str]:
        """The tasks that callers wait for."""
        return self._awaited

    def __len__(self) -> int:
        """The number of callers that wait."""
        return self._count

    def changed(self, task_ids: Iterable[str]) -> None:
        if self._watches:
            for task_id in task_ids:
                for watch in self._watches.get(task_id, ()):
                    watch.set()

    def compare(self, task_ids: Iterable[str], found: Mapping[str, Standing]) -> None:
        """Wake the callers that have read another state of a task than was found.

        :param found: the states of those of the tasks that exist
        """
        for task_id in task_ids:
            for watch in self._watches.get(task_id, ()):
                watch.compare(found.get(task_id))

    @contextmanager
    def watch(self, task_id: str) -> Iterator[Watch]:
        """Watch a task for changes until the end of the block."""
        watch = Watch(lambda: self._begin(task_id))
        watches = self._watches.setdefault(task_id, set())
        watches.add(watch)
        self._count += 1
        try:
            yield watch
        finally:
            self._count -= 1
            watches.discard(watch)
            if not watches:
                del self._watches[task_id]
                self._awaited.discard(task_id)

    def _begin(self, task_id: str) -> None:
        if task_id not in self._awaited:
            self._awaited.add(task_id)
            self._on_first(task_id)

    async def wait(self, task_id: str, seconds: float) -> None:
        """Return when the task is written, or after this many seconds."""
        with self.watch(task_id) as watch:
            await watch.wait(seconds)
