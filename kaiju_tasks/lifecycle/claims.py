"""Which tasks hold the unique key of their definition, and which accept another in their place."""

from typing import Any

import msgspec

from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.state import Row
from kaiju_tasks.lifecycle.statuses import IDLE, QUEUED, SUSPENDED
from kaiju_tasks.types import ENDED

NOT_STARTED = (IDLE, QUEUED, SUSPENDED)
WORK = ("commands", "kws")


def claimed(row: Row, definition: Definition) -> str | None:
    """The unique key that a task holds, if any: until it ends, or only until it starts."""
    if definition.unique is None:
        return None
    if definition.unique.scope == "active":
        holds = row.status not in ENDED
    else:
        holds = row.status in NOT_STARTED and row.run_started_at is None
    return definition.unique_key if holds else None


def differences(new: Definition, holder: Definition) -> list[str]:
    """The fields, of `commands` and `kws`, that are not the same in two tasks."""
    return [name for name in WORK if _plain(getattr(new, name)) != _plain(getattr(holder, name))]


def refuses(new: Definition, holder: Definition) -> bool:
    """Whether it is an error that a holder of the unique key stands in the place of a new task."""
    if new.unique is None:
        return False
    if new.unique.on_conflict == "error_if_different":
        return bool(differences(new, holder))
    return new.unique.on_conflict == "error"


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def claim_change(old: Row, before: Definition, new: Row, after: Definition) -> str | None:
    """How the claim changes: a key to acquire, "" to release it, None for no change."""
    held, wanted = claimed(old, before), claimed(new, after)
    if held == wanted:
        return None
    return wanted or ""
