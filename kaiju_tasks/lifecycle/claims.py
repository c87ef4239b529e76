"""Which tasks hold the unique key of their definition."""

from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.state import Row
from kaiju_tasks.lifecycle.statuses import IDLE, QUEUED, SUSPENDED
from kaiju_tasks.types import ENDED

NOT_STARTED = (IDLE, QUEUED, SUSPENDED)


def claimed(row: Row, definition: Definition) -> str | None:
    """The unique key that a task holds, if any: until it ends, or only until it starts."""
    if definition.unique is None:
        return None
    if definition.unique.scope == "active":
        holds = row.status not in ENDED
    else:
        holds = row.status in NOT_STARTED and row.run_started_at is None
    return definition.unique_key if holds else None


def claim_change(old: Row, before: Definition, new: Row, after: Definition) -> str | None:
    """How the claim changes: a key to acquire, "" to release it, None for no change."""
    held, wanted = claimed(old, before), claimed(new, after)
    if held == wanted:
        return None
    return wanted or ""
