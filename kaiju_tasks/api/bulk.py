"""`tasks.m_reset`, `m_cancel`, `m_suspend`, `m_resume`: one action for all tasks that match."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import BulkParams, BulkResult, BulkSuspendParams, Refusal
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.api.task_matcher import TaskMatcher
from kaiju_tasks.errors import Conflict, InvalidParams, KaijuError, Unavailable
from kaiju_tasks.lifecycle import Cancel, Event, Reset, Resume, Step, Suspend, TaskState
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.audit import audited
from kaiju_tasks.rights import Sight, access
from kaiju_tasks.store.base import Condition, StoreError
from kaiju_tasks.store.query import sight_conditions
from kaiju_tasks.types import AuditRecord

log = logging.getLogger(__name__)

ANSWER_SECONDS = 20.0
"""Seconds after which the caller gets an answer. The manager continues in the background."""
BATCH = 500
PACE_SECONDS = 0.1
"""Seconds between two batches of a call with a rate, if the rate is high enough."""
SHOWN = 20
AUDITED_BYTES = 4096
"""Characters of conditions beyond which the audit record contains only their columns."""


class BulkApi:
    """The methods that change all tasks that match."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def m_reset(self, caller: Caller, params: BulkParams) -> BulkResult:
        """Start a new run from the first stage for all tasks that match."""
        new_id, cause = self._manager.dice.new_id, caller.cause
        return await self._all(
            caller, "m_reset", params, lambda: Reset(job_id=new_id(), cause=cause)
        )

    async def m_cancel(self, caller: Caller, params: BulkParams) -> BulkResult:
        """Cancel the open runs of all tasks that match: they end as FAILED with exit code 130."""
        return await self._all(caller, "m_cancel", params, Cancel)

    async def m_suspend(self, caller: Caller, params: BulkSuspendParams) -> BulkResult:
        """Suspend all tasks that match until they are resumed."""
        event = Suspend(wait_stage=params.wait_stage)
        return await self._all(caller, "m_suspend", params, lambda: event)

    async def m_resume(self, caller: Caller, params: BulkParams) -> BulkResult:
        """Resume all suspended tasks that match."""
        return await self._all(caller, "m_resume", params, Resume)

    async def _all(
        self, caller: Caller, action: str, params: BulkParams, make: Callable[[], Event]
    ) -> BulkResult:
        sight = seen_by(caller, access.OPERATE_TASKS)
        conditions = [*_read(params.conditions), *sight_conditions(sight)]
        store = self._manager.store
        matched = await store.count(conditions, sight)
        if params.dry_run:
            sample: list[str] = await anext(store.ids(conditions, sight, SHOWN), [])
            return BulkResult(matched=matched, sample=sample, errors=[])
        details = msgspec.structs.asdict(params)
        details["conditions"] = _brief(params.conditions)
        del details["dry_run"]
        audit = caller.audit(self._manager.dice.new_id(), f"tasks.{action}", **details)

        async def still_seen() -> Sight:
            if caller.cause is None:  # the runs of tasks outlive tokens
                await self._manager.auth.confirm(caller.principal)
            return seen_by(caller, access.OPERATE_TASKS)

        bulk = Bulk(self._manager, conditions, still_seen, make, params.rate, matched)
        return await bulk.run(audit)


class Bulk:
    """One bulk call.

    It handles tasks in the order of their ids, so that no task is handled twice, even if it is
    reset, ends and matches again during the call.

    :param sight: returns the tasks on which the caller may act now, or raises an error if its
        token has ended
    :param rate: the most tasks per second
    :param expected: number of tasks that matched at the beginning
    """

    def __init__(
        self,
        manager: Manager,
        conditions: Sequence[Condition],
        sight: Callable[[], Awaitable[Sight]],
        make: Callable[[], Event],
        rate: float | None,
        expected: int,
    ) -> None:
        self._manager = manager
        self._conditions = conditions
        self._sight = sight
        self._matcher = TaskMatcher(conditions)
        self._make = make
        self._rate = rate
        self._expected = expected
        self._failure: Exception | None = None
        self._answered = False
        self._done = self._refused = 0
        self._sample: list[str] = []
        self._errors: list[Refusal] = []

    async def run(self, audit: AuditRecord) -> BulkResult:
        """Handle all tasks, or as many as possible until the caller must get an answer.

        :raises Unavailable: the database cannot be reached; changes made before are kept
        """
        work = self._manager.spawn(self._work(audit))
        try:
            ended, _ = await asyncio.wait({work}, timeout=ANSWER_SECONDS)
        finally:
            self._answered = True
        if self._failure is not None:
            raise self._failure
        if ended and work.cancelled():
            raise Unavailable("the manager is stopping")
        return self._result(ended=bool(ended))

    def _result(self, *, ended: bool) -> BulkResult:
        seen = self._done + self._refused
        pending = 0 if ended else max(0, self._expected - seen)
        return BulkResult(
            matched=seen + pending,
            done=self._done,
            refused=self._refused,
            pending=pending,
            sample=self._sample,
            errors=self._errors,
        )

    async def _work(self, audit: AuditRecord) -> None:
        try:
            async with audited(self._manager.committer, audit):
                try:
                    await self._walk()
                finally:
                    audit.data.update(done=self._done, refused=self._refused)
        except Exception as exc:
            self._failure = exc
            if self._answered:
                trace = None if isinstance(exc, KaijuError | StoreError) else exc
                log.warning("%s stopped before its end: %s", audit.action, exc, exc_info=trace)

    async def _walk(self) -> None:
        loop = asyncio.get_running_loop()
        size = BATCH
        if self._rate is not None:
            size = max(1, min(BATCH, int(self._rate * PACE_SECONDS)))
        turn = loop.time()
        async for ids in self._manager.store.ids(self._conditions, await self._sight(), size):
            await asyncio.sleep(turn - loop.time())
            await self._sight()
            if self._rate is not None:
                turn = loop.time() + len(ids) / self._rate
            await self._apply(ids)

    async def _apply(self, ids: Sequence[str]) -> None:
        pairs = [(task_id, self._event) for task_id in ids]
        outcomes = await self._manager.committer.apply_all(pairs)
        self._sample += ids[: SHOWN - len(self._sample)]
        failure: Unavailable | None = None
        for task_id, outcome in zip(ids, outcomes, strict=True):
            if isinstance(outcome, Step):
                self._done += 1
            elif isinstance(outcome, Unavailable):
                failure = outcome
            else:
                self._refuse(task_id, outcome)
        if failure is not None:
            raise failure

    def _event(self, state: TaskState) -> Event:
        if not self._matcher.matches(state):
            raise Conflict("the task has changed and no longer matches", status=state.row.status)
        return self._make()

    def _refuse(self, task_id: str, error: BaseException) -> None:
        self._refused += 1
        if len(self._errors) >= SHOWN:
            return
        if isinstance(error, KaijuError):
            self._errors.append(Refusal(task_id, error.data.get("status"), error.message))
        else:
            self._errors.append(
                Refusal(task_id, None, "internal error of the manager; see its log")
            )


def _read(conditions: dict[str, Any]) -> list[Condition]:
    if not conditions:
        raise InvalidParams(
            '`conditions` must not be empty; to select all tasks, use {"id": {"like": "%"}}',
            field="conditions",
        )
    return read_conditions(conditions)


def _brief(conditions: dict[str, Any]) -> Any:
    if len(msgspec.json.encode(conditions)) <= AUDITED_BYTES:
        return conditions
    return dict.fromkeys(conditions, "…")
