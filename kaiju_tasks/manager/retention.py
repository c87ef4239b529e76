"""Prunes old runs, notifications and audit records, in small batches."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from kaiju_tasks.errors import Conflict
from kaiju_tasks.lifecycle import Delete, Event, Step, TaskState
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.rights import Sight
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Condition, Store, Transaction
from kaiju_tasks.types import ENDED

PRUNE_EVERY_SECONDS = 3600.0
FIRST_PRUNE_SECONDS = 60.0
RETRY_SECONDS = 300.0
PRUNE_BATCH = 500
DAY_SECONDS = 86_400.0
GONE_EXECUTORS_KEPT_SECONDS = DAY_SECONDS
GONE_MANAGERS_KEPT_SECONDS = 2 * DAY_SECONDS
FAMILIES_COUNTED_SECONDS = DAY_SECONDS
"""A scheduled task that another task created can run for years in the same family."""


class Retention:
    """Prunes the database within a minute of the start, then once an hour.

    A manager that restarts often prunes, too. Managers that start together prune at different
    times; if they do not, each row is deleted once.

    It deletes runs, the ids of their messages, versions of definitions that they used and
    notifications older than `retention_days`, audit records, marks and bulk calls older than
    `audit_retention_days`, executors that left more than a day ago, pauses that are over, unused
    concurrency keys, and the sizes of families that began more than a day ago.
    """

    def __init__(self, store: Store, committer: Committer, settings: Settings, dice: Dice) -> None:
        self._store = store
        self._dice = dice
        self._pruned = False
        self._committer = committer
        self._kept_seconds = settings.retention_days * DAY_SECONDS
        self._audit_kept_seconds = settings.audit_retention_days * DAY_SECONDS
        self._loop = Loop(
            "pruning", wait=self._until_next, work=self.prune, retry_seconds=RETRY_SECONDS
        )

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    async def _until_next(self) -> None:
        first = FIRST_PRUNE_SECONDS * self._dice.fraction()
        await asyncio.sleep(PRUNE_EVERY_SECONDS if self._pruned else first)

    async def prune(self) -> int:
        """Prune once.

        :returns: the number of deleted runs
        """
        now = await self._store.now()
        await self._store.forget_executors(now - GONE_EXECUTORS_KEPT_SECONDS)
        await self._store.forget_managers(now - GONE_MANAGERS_KEPT_SECONDS)
        await self._store.forget_slots()
        await self._store.prune_pauses(now)
        await self._store.prune_families(now - FAMILIES_COUNTED_SECONDS)
        before = now - self._kept_seconds
        runs = await _all(self._store.prune_runs, before)
        await _all(self._store.prune_received, before)
        await _all(self._store.prune_versions, before)
        await _all(self._store.prune_notifications, before)
        await _all(self._store.prune_audit, now - self._audit_kept_seconds)
        await _all(self._store.prune_marks, now - self._audit_kept_seconds)
        await _all(self._store.prune_bulks, now - self._audit_kept_seconds)
        self._pruned = True
        return runs

    async def delete_ended(self, before: float) -> int:
        """Delete tasks that ended before a time. Cron tasks, system tasks and unfinished tasks
        are never deleted.

        :param before: UNIX seconds
        :returns: the number of deleted tasks
        """
        total = 0
        while count := await self._delete_some(before):
            total += count
        return total

    async def delete_ended_in(self, sight: Sight, before: float) -> int:
        """Delete tasks in sight that ended before a time, as `delete_ended` does."""
        conditions = [
            Condition("status", "in", [str(status) for status in ENDED]),
            Condition("status_change", "lt", before),
            Condition("system", "eq", False),
            Condition("cron", "eq", None),
        ]
        total = 0
        async for ids in self._store.ids(conditions, sight, PRUNE_BATCH):
            event = partial(_delete_if_ended, before=before)
            outcomes = await self._committer.apply_all([(task_id, event) for task_id in ids])
            total += sum(isinstance(outcome, Step) for outcome in outcomes)
        return total

    async def _delete_some(self, before: float) -> int:
        async def work(tx: Transaction) -> Written[int]:
            return Written(len(await tx.delete_ended(before, PRUNE_BATCH)), [])

        return await self._committer.transact(work)


def _delete_if_ended(state: TaskState, before: float) -> Event:
    row, definition = state.row, state.definition
    kept = definition.scheduled or definition.system
    if kept or row.status not in ENDED or row.status_change >= before:
        raise Conflict("the task is kept", status=row.status)
    return Delete()


async def _all(prune: Callable[[float, int], Awaitable[int]], before: float) -> int:
    """Prune in batches, to keep transactions short."""
    total = 0
    while count := await prune(before, PRUNE_BATCH):
        total += count
    return total
