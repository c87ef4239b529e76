"""Looks at the tasks that callers wait for, because events can be lost (decision 0017)."""

import asyncio
from collections.abc import Callable, Collection

from kaiju_tasks.errors import KaijuError
from kaiju_tasks.manager.events.waiters import Waiters
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.store.base import Store, StoreError

LOOK_SECONDS = 1.0
"""Seconds between two looks at all awaited tasks."""
FIRST_LOOK_SECONDS = 0.05
"""Seconds after which a task is looked at for the first time, because another manager can change
it before it knows that its events are awaited."""
IDS_MAX = 1_000
"""The most tasks that one statement reads."""


class Looks:
    """Compares the awaited tasks with what their callers have read, for all callers at once.

    :param is_alone: whether no other manager is known
    """

    def __init__(self, store: Store, waiters: Waiters, is_alone: Callable[[], bool]) -> None:
        self._store = store
        self._waiters = waiters
        self._is_alone = is_alone
        self._new: set[str] = set()
        self._begun = asyncio.Event()
        self._next_at = 0.0
        self._first_at = 0.0
        self._loop = Loop(
            "looking at awaited tasks",
            wait=self._until_due,
            work=self._look,
            retry_seconds=LOOK_SECONDS,
        )
        self.start = self._loop.start
        self.stop = self._loop.stop

    def begin(self, task_id: str) -> None:
        """Look at a task while callers wait for it."""
        if not self._is_alone():
            if not self._new:
                self._first_at = asyncio.get_running_loop().time() + FIRST_LOOK_SECONDS
            self._new.add(task_id)
        self._begun.set()

    async def _until_due(self) -> None:
        now = asyncio.get_running_loop().time
        while not self._waiters.task_ids:
            self._begun.clear()
            await self._begun.wait()
            self._next_at = now() + LOOK_SECONDS
        while (due := min(self._next_at, self._first_at) if self._new else self._next_at) > now():
            self._begun.clear()
            try:
                async with asyncio.timeout_at(due):
                    await self._begun.wait()
            except TimeoutError:
                return

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time
        new, self._new = self._new, set()
        if now() < self._next_at:
            await self._compare(new & self._waiters.task_ids)
            return
        try:
            await self._compare(self._waiters.task_ids)
        finally:
            self._next_at = now() + LOOK_SECONDS

    async def _compare(self, task_ids: Collection[str]) -> None:
        ids = list(task_ids)
        for start in range(0, len(ids), IDS_MAX):
            some = ids[start : start + IDS_MAX]
            try:
                found = await self._store.standings(some)
            except (StoreError, KaijuError):
                self._waiters.changed(ids)  # each caller gets the error of its own read
                raise
            self._waiters.compare(some, found)
