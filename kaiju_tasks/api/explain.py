"""`tasks.explain`: collects the facts about a task."""

import msgspec
from msgspec.structs import replace

from kaiju_tasks.api.reasons import Facts, reasons
from kaiju_tasks.api.views import brief_error
from kaiju_tasks.errors import with_end
from kaiju_tasks.lifecycle import Pauses, Row, Wait
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store.base import Condition, PageQuery, Store, TaskView
from kaiju_tasks.types import Explanation, TaskStatus

SUSPEND = "tasks.suspend"
HOLDS = (SUSPEND, "tasks.resume", "tasks.reset", "tasks.restart_from")


async def explain(store: Store, view: TaskView, *, data: bool = True) -> Explanation:
    """Why a task is not running now.

    :param data: whether to show the messages of its errors, its concurrency key and the name of
        its message
    """
    row, definition = view.row, view.definition
    if not data:
        row = replace(row, error=brief_error(row.error))
    facts = Facts(row, definition, await store.now(), Pauses(await store.pauses()), data)
    if row.status is TaskStatus.QUEUED:
        executors = await store.executors(ALL_SIGHT)
        facts.executors = [one for one in executors if row.app_name in one.app_names]
        facts.ahead = await store.ahead(row)
        if definition.slot_key is not None:
            facts.slot_used = await store.slot_used(definition.slot_key)
    if row.status is TaskStatus.WAITING and row.job_id is not None:
        facts.children = await store.children(Wait(row.job_id, row.stage))
    if row.status is TaskStatus.SUSPENDED:
        facts.held_by = await _who_suspended(store, row)
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


async def _who_suspended(store: Store, row: Row) -> tuple[str | None, float] | None:
    """Return who suspended the task, if the audit has a record. A bulk record names no task."""
    conditions = [Condition("target", "eq", row.id), Condition("action", "in", list(HOLDS))]
    records, _ = await store.audit(PageQuery(conditions, limit=1), ALL_SIGHT)
    if not records or records[0].action != SUSPEND:
        return None
    (suspended,) = records
    begins_later = msgspec.json.decode(suspended.data).get("wait_stage", False)
    if not begins_later and suspended.at < row.status_change:
        return None
    return suspended.user_id, suspended.at
