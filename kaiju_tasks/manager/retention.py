"""Prunes old runs, notifications and audit records, in small batches."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from kaiju_tasks.errors import Conflict
from kaiju_tasks.kept import Kept, Rule, kept_of
from kaiju_tasks.lifecycle import Delete, Event, Step, TaskState
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import HOUR, MINUTE, Condition, Pruned, Store
from kaiju_tasks.store.query import NEEDED
from kaiju_tasks.types import ENDED

log = logging.getLogger(__name__)

PRUNE_EVERY_SECONDS = 3600.0
FIRST_PRUNE_SECONDS = 60.0
RETRY_SECONDS = 300.0
PRUNE_BATCH = 500
LOOKED_AT_ONCE = 5_000
"""How many tasks a statement looks at: no index has those that ended before a time."""
DAY_SECONDS = 86_400.0
GONE_EXECUTORS_KEPT_SECONDS = DAY_SECONDS
GONE_MANAGERS_KEPT_SECONDS = 2 * DAY_SECONDS
STATS_KEPT_SECONDS = {MINUTE: 2 * DAY_SECONDS, HOUR: 90 * DAY_SECONDS}
FAMILIES_COUNTED_SECONDS = DAY_SECONDS
"""A scheduled task that another task created can run for years in the same family."""


class Retention:
    """Prunes the database within a minute of the start, then once an hour.

    A manager that restarts often prunes, too. Managers that start together prune at different
    times; if they do not, each row is deleted once.

    It deletes ended tasks as `task_retention_days` says, runs, the ids of their messages,
    versions of definitions that only they used and notifications older than `retention_days`,
    audit records, marks and bulk calls older than `audit_retention_days`, executors that left
    more than a day ago, pauses that are over, unused concurrency keys, log lines without a task,
    the sizes of families that began more than a day ago, and statistics: of minutes after 48 hours,
    of hours after 90 days.
    """

    def __init__(self, store: Store, committer: Committer, settings: Settings, dice: Dice) -> None:
        self._store = store
        self._dice = dice
        self._pruned = False
        self._committer = committer
        self._kept_seconds = settings.retention_days * DAY_SECONDS
        self._audit_kept_seconds = settings.audit_retention_days * DAY_SECONDS
        self._kept = kept_of(settings.task_retention_days)
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
        while await self._store.prune_progress(PRUNE_BATCH):
            pass
        await self._prune_lost_logs()
        before = now - self._kept_seconds
        runs = await _pass(self._store.prune_runs, before)
        await _pass(self._store.prune_received, before)
        await _pass(self._store.prune_versions, before)
        await _all(self._store.prune_notifications, before)
        await _all(self._store.prune_audit, now - self._audit_kept_seconds)
        await _all(self._store.prune_marks, now - self._audit_kept_seconds)
        await _all(self._store.prune_bulks, now - self._audit_kept_seconds)
        for step, kept in STATS_KEPT_SECONDS.items():
            await _all(partial(self._store.prune_stats, step), now - kept)
        await self._delete_unkept(now)
        self._pruned = True
        return runs

    async def _prune_lost_logs(self) -> None:
        """Delete the log lines without a task: a manager of an earlier version, which does not know
        of them, has deleted it, or one has ended before it could delete late lines."""
        upto: str | None = ""
        while upto is not None:
            upto = await self._store.prune_lost_logs(PRUNE_BATCH, upto)

    async def delete_ended(self, sight: Sight, before: float) -> int:
        """Delete tasks in sight that ended before a time. Scheduled tasks, system tasks, unfinished
        tasks and tasks that others need are never deleted.

        :param before: UNIX seconds
        :returns: the number of deleted tasks
        """
        return await self._delete(_ended_before(before), sight, lambda _: before)

    async def _delete_unkept(self, now: float) -> None:
        """Delete the tasks that need not be kept any longer."""
        kept = self._kept
        total = 0
        for index, rule in enumerate(kept.rules):
            if rule.seconds is not None:
                conditions = _ended_before(now - rule.seconds)
                conditions += _decided_by(rule, kept.rules[:index])
                total += await self._delete(conditions, ALL_SIGHT, partial(_kept_since, kept, now))
        if total:
            log.info("deleted %d ended tasks, as task_retention_days says", total)

    async def _delete(
        self,
        conditions: Sequence[Condition],
        sight: Sight,
        before: Callable[[TaskState], float | None],
    ) -> int:
        """Delete tasks that match, each if it has ended before a time that depends on it."""
        total = 0
        event = partial(_delete_if_ended, before=before)
        async for ids in self._selected(conditions, sight):
            for start in range(0, len(ids), PRUNE_BATCH):
                unneeded = await self._unneeded(ids[start : start + PRUNE_BATCH])
                outcomes = await self._committer.apply_all([(one, event) for one in unneeded])
                total += sum(isinstance(outcome, Step) for outcome in outcomes)
        return total

    async def _selected(
        self, conditions: Sequence[Condition], sight: Sight
    ) -> AsyncIterator[list[str]]:
        """The ids of the tasks that match, of some tasks at a time."""
        async for looked in self._store.ids([], sight, LOOKED_AT_ONCE):
            among = [Condition("id", "ge", looked[0]), Condition("id", "le", looked[-1])]
            async for ids in self._store.ids([*among, *conditions], sight, LOOKED_AT_ONCE):
                yield ids

    async def _unneeded(self, ids: Sequence[str]) -> list[str]:
        """Those that no other task needs. Asked of few tasks at a time: it reads several indexes
        for each."""
        conditions = [Condition("id", "in", ids), Condition(NEEDED, "eq", False)]
        found = self._store.ids(conditions, ALL_SIGHT, PRUNE_BATCH)
        return [task_id async for some in found for task_id in some]


def _ended_before(before: float) -> list[Condition]:
    return [
        Condition("status", "in", [str(status) for status in ENDED]),
        Condition("status_change", "lt", before),
        Condition("system", "eq", False),
        Condition("cron", "eq", None),
        Condition("every", "eq", None),
    ]


def _decided_by(rule: Rule, earlier: Sequence[Rule]) -> list[Condition]:
    """The tasks that a rule fits, and none of those before it."""
    return [*_fitting(rule, "eq"), *(one for other in earlier for one in _fitting(other, "ne"))]


def _fitting(rule: Rule, op: str) -> list[Condition]:
    """The tasks that a rule fits or, with `ne`, all others."""
    if rule.label is not None:
        key, value = rule.label
        return [Condition(f"label.{key}", op, value)]
    return [] if rule.app_name is None else [Condition("app_name", op, rule.app_name)]


def _kept_since(kept: Kept, now: float, state: TaskState) -> float | None:
    """The time before which a task must have ended to be deleted; None if it is kept."""
    seconds = kept.seconds(state.row.app_name, state.definition.labels)
    return None if seconds is None else now - seconds


def _delete_if_ended(state: TaskState, *, before: Callable[[TaskState], float | None]) -> Event:
    row, definition = state.row, state.definition
    kept = definition.scheduled or definition.system
    limit = before(state)
    if kept or row.status not in ENDED or limit is None or row.status_change >= limit:
        raise Conflict("the task is kept", status=row.status)
    return Delete()


async def _all(prune: Callable[[float, int], Awaitable[int]], before: float) -> int:
    """Prune in batches, to keep transactions short."""
    total = 0
    while count := await prune(before, PRUNE_BATCH):
        total += count
    return total


async def _pass(prune: Callable[[float, int, float], Awaitable[Pruned]], before: float) -> int:
    """Look at all old rows once, in batches, and delete those that need not stay."""
    total, upto = 0, -1.0
    while (found := await prune(before, PRUNE_BATCH, upto)).upto is not None:
        total, upto = total + found.deleted, found.upto
    return total
