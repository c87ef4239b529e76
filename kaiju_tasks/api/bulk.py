"""`tasks.m_reset`, `m_cancel` and others: one action for all tasks that match; and `bulk.*`."""

from typing import Any

import msgspec

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import (
    BulkCallPage,
    BulkListParams,
    BulkMessageParams,
    BulkParams,
    BulkRestartParams,
    BulkResult,
    BulkStopParams,
    BulkSuspendParams,
    DeletedMany,
    DeleteManyParams,
    IdParams,
)
from kaiju_tasks.api.permission import permitted, seen_by
from kaiju_tasks.api.queries import next_cursor, read_conditions, read_page
from kaiju_tasks.api.unseen import seen_conditions
from kaiju_tasks.errors import Conflict, InvalidParams, NotFound
from kaiju_tasks.lifecycle import Delete, situation_of
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.bulk.actions import ACTIONS, Action
from kaiju_tasks.manager.bulk.ledger import brief, refusal_of, shown_args, shown_conditions
from kaiju_tasks.rights import Access, Decision, Principal, Sight, Target, access, may
from kaiju_tasks.store.base import BULK_COLUMNS, Condition
from kaiju_tasks.store.bulks import BulkArgs, BulkOrder, BulkProgress, StoredBulk
from kaiju_tasks.store.query import sight_conditions
from kaiju_tasks.types import BulkCall, BulkState, RefusalCount

SHOWN = 20
LASTS_SECONDS_MAX = 24 * 3600.0
"""The most seconds that a call may take at its rate."""
NEWEST_FIRST = (("started", True),)


class BulkApi:
    """The methods that change all tasks that match, and those on such calls."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._store = manager.store
        self._bulks = manager.bulks

    # -- one action for many tasks -------------------------------------------------------------

    async def m_reset(self, caller: Caller, params: BulkParams) -> BulkResult:
        """Start a new run from the first stage for all tasks that match."""
        return await self._all(caller, "tasks.m_reset", params)

    async def m_cancel(self, caller: Caller, params: BulkParams) -> BulkResult:
        """Cancel the open runs of all tasks that match: they end as FAILED with exit code 130."""
        return await self._all(caller, "tasks.m_cancel", params)

    async def m_suspend(self, caller: Caller, params: BulkSuspendParams) -> BulkResult:
        """Suspend all tasks that match until they are resumed."""
        args = BulkArgs(wait_stage=params.wait_stage)
        return await self._all(caller, "tasks.m_suspend", params, args)

    async def m_resume(self, caller: Caller, params: BulkParams) -> BulkResult:
        """Resume all suspended tasks that match."""
        return await self._all(caller, "tasks.m_resume", params)

    async def m_run_now(self, caller: Caller, params: BulkParams) -> BulkResult:
        """Run all idle tasks that match now, without waiting for their times."""
        return await self._all(caller, "tasks.m_run_now", params)

    async def m_restart_from(self, caller: Caller, params: BulkRestartParams) -> BulkResult:
        """Start a new run from a stage for all tasks that match. Earlier results are copied.

        With `stage` `failed`, each task starts from the stage at which its last run has failed;
        tasks whose last run has not failed are refused.
        """
        args = BulkArgs(stage=params.stage)
        return await self._all(caller, "tasks.m_restart_from", params, args)

    async def m_message(self, caller: Caller, params: BulkMessageParams) -> BulkResult:
        """Send a message to the runs of all tasks that match. Runs that do not take it are refused.

        A dry run does not know which later hooks take it: it only refuses runs that are over.
        """
        data = bytes(params.data).decode()
        args = BulkArgs(data=data, name=params.name, message_id=params.message_id)
        return await self._all(caller, "tasks.m_message", params, args)

    async def m_delete(self, caller: Caller, params: DeleteManyParams) -> DeletedMany:
        """Delete tasks in any status, with their history: by their ids, or all that match.

        By ids, the result has the unknown ids. By conditions, this is a bulk call as the others.
        """
        if params.ids is not None:
            if params.conditions is not None or params.dry_run or params.rate is not None:
                raise InvalidParams(
                    "`ids`: give either `ids`, or `conditions` with `dry_run` and `rate`",
                    field="ids",
                )
            return await self._delete(caller, params.ids, params.reason)
        if params.conditions is None:
            raise InvalidParams("`ids` or `conditions` is required", field="ids")
        result = await self._all(caller, "tasks.m_delete", params)
        return DeletedMany(deleted=result.changed, not_found=[], **msgspec.structs.asdict(result))

    async def _delete(self, caller: Caller, given: list[str], reason: str | None) -> DeletedMany:
        ids, new_id = list(dict.fromkeys(given)), self._manager.dice.new_id
        outcomes = await self._manager.committer.apply_all(
            [(task_id, permitted(caller, access.CHANGE_TASKS, Delete())) for task_id in ids],
            audits=[
                caller.audit(new_id(), "tasks.m_delete", task_id, reason=reason) for task_id in ids
            ],
        )
        unknown = []
        for task_id, outcome in zip(ids, outcomes, strict=True):
            if isinstance(outcome, NotFound):
                unknown.append(task_id)
            elif isinstance(outcome, BaseException):
                raise outcome
        return DeletedMany(deleted=len(ids) - len(unknown), not_found=unknown)

    async def _all(
        self,
        caller: Caller,
        method: str,
        params: BulkParams,
        args: BulkArgs = BulkArgs(),  # noqa: B008 - it is immutable
    ) -> BulkResult:
        action = ACTIONS[method]
        sight = seen_by(caller, action.access)
        conditions = await seen_conditions(self._store, sight, _read(params.conditions))
        seen = [*conditions, *sight_conditions(sight)]
        if params.dry_run:
            return await self._foresee(caller.principal, action, seen, sight, args)
        expected = await self._store.count(seen, sight)
        _check_rate(params.rate, expected)
        new_id = self._manager.dice.new_id
        order = BulkOrder(
            conditions=conditions,
            args=args,
            reason=params.reason,
            rate=params.rate,
            token_id=caller.principal.token_id,
            remote=caller.remote,
            cause=caller.cause,
            audit_id=new_id(),
        )
        bulk = StoredBulk(
            id=params.bulk_id or new_id(),
            method=method,
            user_id=caller.user_id,
            state=BulkState.RUNNING,
            started=0.0,
            ended=None,
            manager_id=self._manager.id,
            epoch=1,
            cursor=None,
            order=order,
            progress=BulkProgress(expected=expected),
        )
        begun = await self._bulks.begin(bulk)
        found = await self._bulks.wait(begun.id, params.wait)
        if found.state is BulkState.FAILED:  # on another manager, or before this call
            failure = found.progress.failure
            raise Conflict(f"the bulk call has failed: {failure}", status=str(found.state))
        return _result(found)

    async def _foresee(
        self,
        principal: Principal,
        action: Action,
        seen: list[Condition],
        sight: Sight,
        args: BulkArgs,
    ) -> BulkResult:
        """What a call would do now."""
        matched = refused = 0
        refusals: dict[tuple[str, str | None], RefusalCount] = {}
        for situation, count in await self._store.situations(seen, sight):
            matched += count
            error = action.foresee(situation, args, principal, None)
            refusal = None if error is None else refusal_of("", error)
            if refusal is not None:
                refused += count
                key = (refusal.reason, refusal.status)
                empty = RefusalCount(refusal.reason, refusal.status, 0, refusal.message)
                refusals.setdefault(key, empty).count += count
        sample: list[str] = await anext(self._store.ids(seen, sight, SHOWN), [])
        views = await self._store.tasks(sample, sight, results=False)
        errors = []
        for task_id in sample:
            if (view := views.get(task_id)) is None:
                continue
            error = action.foresee(situation_of(view.row), args, principal, task_id)
            if error is not None and (refusal := refusal_of(task_id, error)) is not None:
                errors.append(refusal)
        return BulkResult(
            bulk_id=None,
            state=None,
            matched=matched,
            done=0,
            changed=0,
            refused=refused,
            pending=matched - refused,
            refusals=list(refusals.values()),
            sample=sample,
            errors=errors,
        )

    # -- such calls ------------------------------------------------------------------------------

    async def list(self, caller: Caller, params: BulkListParams) -> BulkCallPage:
        """List bulk calls, newest first: those that go on, and those that have ended.

        A caller that does not see all streams sees its own calls.
        """
        query = read_page(params, BULK_COLUMNS, NEWEST_FIRST)
        if not _sees_all(caller, access.READ_AUDIT):
            own = Condition("user_id", "eq", caller.user_id)
            query = msgspec.structs.replace(query, conditions=[*query.conditions, own])
        page = await self._store.bulks(query)
        cursor = next_cursor(page.bulks, query, cut=page.cut)
        return BulkCallPage([_listed(one) for one in page.bulks], page.total, params.offset, cursor)

    async def get(self, caller: Caller, params: IdParams) -> BulkCall:
        """Get a bulk call, with its progress."""
        return _shown(await self._seen(caller, access.READ_AUDIT, params.id))

    async def stop(self, caller: Caller, params: BulkStopParams) -> BulkCall:
        """Stop a bulk call. Tasks that it has handled stay as they are."""
        await self._seen(caller, access.OPERATE_TASKS, params.id)
        new_id, reason = self._manager.dice.new_id(), params.reason
        audit = caller.audit(new_id, "bulk.stop", params.id, reason=reason)
        return _shown(await self._bulks.stop_call(params.id, caller.user_id, audit))

    async def _seen(self, caller: Caller, needs: Access, bulk_id: str) -> StoredBulk:
        """:raises NotFound: there is no such call, or the caller does not see it"""
        bulk = await self._store.bulk(bulk_id)
        if bulk is None or not (_sees_all(caller, needs) or bulk.user_id == caller.user_id):
            raise NotFound(f"there is no bulk call {bulk_id!r}", id=bulk_id)
        return bulk


list_ = list


def _sees_all(caller: Caller, needs: Access) -> bool:
    """Whether a caller sees the calls of others: their tasks can be in any stream."""
    return may(caller.principal, needs, Target(id="", streams=None)) is Decision.ALLOWED


def _read(conditions: dict[str, Any]) -> list_[Condition]:
    if not conditions:
        raise InvalidParams(
            '`conditions` must not be empty; to select all tasks, use {"id": {"like": "%"}}',
            field="conditions",
        )
    return read_conditions(conditions)


def _check_rate(rate: float | None, expected: int) -> None:
    """:raises InvalidParams: the call would take too long"""
    if rate is not None and expected > rate * LASTS_SECONDS_MAX:
        hours, least = LASTS_SECONDS_MAX / 3600, expected / LASTS_SECONDS_MAX
        raise InvalidParams(
            f"`rate`: {expected} tasks would take more than {hours:g} hours: use a rate of at "
            f"least {least:.1f}, or conditions that fewer tasks meet",
            field="rate",
        )


def _pending(bulk: StoredBulk) -> int:
    progress = bulk.progress
    if bulk.state is BulkState.FINISHED:
        return 0
    return max(0, progress.expected - progress.done - progress.refused)


def _result(bulk: StoredBulk) -> BulkResult:
    progress, pending = bulk.progress, _pending(bulk)
    return BulkResult(
        bulk_id=bulk.id,
        state=bulk.state,
        matched=progress.done + progress.refused + pending,
        done=progress.done,
        changed=progress.changed,
        refused=progress.refused,
        pending=pending,
        refusals=progress.refusals,
        sample=progress.sample,
        errors=progress.errors,
    )


def _shown(bulk: StoredBulk) -> BulkCall:
    order, progress, pending = bulk.order, bulk.progress, _pending(bulk)
    return BulkCall(
        id=bulk.id,
        method=bulk.method,
        conditions=shown_conditions(order.conditions),
        args=shown_args(bulk),
        rate=order.rate,
        reason=order.reason,
        user_id=bulk.user_id,
        state=bulk.state,
        started=bulk.started,
        ended=bulk.ended,
        manager_id=bulk.manager_id,
        matched=progress.done + progress.refused + pending,
        done=progress.done,
        changed=progress.changed,
        refused=progress.refused,
        pending=pending,
        refusals=progress.refusals,
        error=progress.failure,
        stopped_by=progress.stopped_by,
        sample=progress.sample,
        errors=progress.errors,
    )


def _listed(bulk: StoredBulk) -> BulkCall:
    shown = _shown(bulk)
    shown.conditions = brief(shown.conditions)
    shown.sample = shown.errors = msgspec.UNSET
    return shown
