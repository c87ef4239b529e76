"""`tasks.explain` and `tasks.m_explain`: collect the facts about tasks."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from kaiju_tasks.api.queries import ids_in_sight
from kaiju_tasks.api.reasons import Facts, HeldBy, reasons
from kaiju_tasks.api.views import brief_error
from kaiju_tasks.errors import with_end
from kaiju_tasks.lifecycle import Pauses, TaskState, Wait
from kaiju_tasks.manager.bulk.task_matcher import OF_DEFINITIONS, TaskMatcher
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.store.base import Condition, ExecutorRow, PageQuery, Store, TaskView
from kaiju_tasks.store.bulks import StoredBulk
from kaiju_tasks.store.parts import fields_of
from kaiju_tasks.types import Explanation, TaskStatus

SUSPEND = "tasks.suspend"
BULKS_READ = 20
LASTING = OF_DEFINITIONS | {"id", "app_name"}
"""Columns that a suspension does not change."""
"""The latest bulk calls that are looked at."""
HOLDS = (SUSPEND, "tasks.resume", "tasks.reset", "tasks.restart_from")


class Explainer:
    """Explains tasks. What concerns all of them is read once.

    :param sight: the tasks that an explanation may name
    :param data: whether to show the messages of their errors, their concurrency keys and the names
        of their messages
    """

    def __init__(self, store: Store, sight: Sight, *, data: bool = True) -> None:
        self._store = store
        self._sight = sight
        self._data = data
        self._pauses: Pauses | None = None
        self._executors: list[ExecutorRow] | None = None

    async def explain(self, view: TaskView) -> Explanation:
        """Why a task is not running now."""
        if self._pauses is None:
            self._pauses = Pauses(await self._store.pauses())
        if self._executors is None and view.row.status is TaskStatus.QUEUED:
            self._executors = await self._store.executors(ALL_SIGHT)
        executors = self._executors or []
        return await _explain(self._store, view, self._pauses, executors, self._data, self._sight)


async def _explain(
    store: Store,
    view: TaskView,
    pauses: Pauses,
    executors: Sequence[ExecutorRow],
    data: bool,
    sight: Sight,
) -> Explanation:
    row, definition = view.row, view.definition
    if not data:
        row = replace(row, error=brief_error(row.error))
    facts = Facts(row, definition, await store.now(), pauses, data)
    if row.status is TaskStatus.QUEUED:
        facts.executors = [one for one in executors if row.app_name in one.app_names]
        facts.ahead = await store.ahead(row)
        if definition.slot_key is not None:
            facts.slot_used = await store.slot_used(definition.slot_key)
    if row.status is TaskStatus.WAITING and row.job_id is not None:
        facts.children = await store.children(Wait(row.job_id, row.stage))
        if sight.streams and facts.children:
            ids = [child.child_id for child in facts.children]
            facts.unseen = frozenset(ids) - await ids_in_sight(store, ids, sight)
    if row.status is TaskStatus.SUSPENDED:
        facts.held_by = await _who_suspended(store, view)
    found = reasons(facts)
    return Explanation(
        id=row.id,
        status=row.status,
        running=row.status is TaskStatus.EXECUTED,
        message=with_end(f"The task is {row.status}: {found[0].message}"),
        reasons=found,
        now=facts.now,
        since=row.since,
    )


def _could_mean(bulk: StoredBulk, view: TaskView) -> bool:
    """Whether the task meets those conditions of a call whose columns a suspension leaves."""
    lasting = [one for one in bulk.order.conditions if one.column in LASTING]
    return TaskMatcher(lasting).matches(TaskState(view.row, view.definition))


async def _who_suspended(store: Store, view: TaskView) -> HeldBy | None:
    """Return who suspended the task, if the audit has a record, or a bulk call did. Older records
    are about another task with the same id."""
    row, created = view.row, datetime.fromisoformat(view.definition.created).timestamp()
    conditions = [
        Condition("target", "eq", row.id),
        Condition("action", "in", list(HOLDS)),
        Condition("at", "ge", created),
    ]
    records, _ = await store.audit(PageQuery(conditions, limit=1), ALL_SIGHT)
    if records and records[0].action == SUSPEND:
        data = fields_of(records[0].data)
        if data.get("wait_stage", False) or records[0].at >= row.status_change:
            return HeldBy(records[0].user_id, records[0].at, data.get("reason"))
    return await _who_suspended_many(store, view)


async def _who_suspended_many(store: Store, view: TaskView) -> HeldBy | None:
    """Return who suspended a task with a bulk call, whose record names no task: the one whose call
    went on when the task was suspended, and could mean the task. If there are several, nobody."""
    at = view.row.status_change
    conditions = [
        Condition("method", "eq", "tasks.m_suspend"),
        Condition("started", "le", at),
    ]
    page = await store.bulks(PageQuery(conditions, limit=BULKS_READ))
    open_then = [one for one in page.bulks if one.ended is None or one.ended >= at]
    calls = [one for one in open_then if _could_mean(one, view)]
    if len({one.user_id for one in calls}) != 1 or len(page.bulks) == len(open_then) < page.total:
        return None
    reasons = {one.order.reason for one in calls}
    return HeldBy(calls[0].user_id, at, reasons.pop() if len(reasons) == 1 else None)
