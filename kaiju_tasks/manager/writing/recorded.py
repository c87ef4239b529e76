"""Finds out whether a commit that was in doubt has happened, by the audit record of its action."""

from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store.base import Condition, PageQuery, Store
from kaiju_tasks.types import AuditRecord


async def is_recorded(store: Store, record: AuditRecord) -> bool:
    """Whether the action of this record was committed: by an attempt whose commit was in doubt, if
    a later attempt has found nothing to do."""
    _, found = await store.audit(PageQuery([Condition("id", "eq", record.id)], limit=1), ALL_SIGHT)
    return found > 0
