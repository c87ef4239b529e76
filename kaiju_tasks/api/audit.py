"""`audit.*`"""

import re
from collections.abc import Sequence

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import AuditListParams, AuditPage
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import ids_in_sight, next_cursor, read_page
from kaiju_tasks.api.unseen import seen_conditions
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Sight, access
from kaiju_tasks.store.base import AUDIT_COLUMNS
from kaiju_tasks.types import AuditRecord

NEWEST_FIRST = (("at", True),)
_STAGE = re.compile(r"task:(?P<id>.+)/[^/]+/\d+", re.DOTALL)
"""What called a method: a stage of a task."""


class AuditApi:
    """The methods on audit records."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def list(self, caller: Caller, params: AuditListParams) -> AuditPage:
        """List the actions of operators, newest first."""
        query = read_page(params, AUDIT_COLUMNS, NEWEST_FIRST)
        sight = seen_by(caller, access.READ_AUDIT)
        query.conditions = await seen_conditions(
            self._store, sight, query.conditions, "remote", _caller_of
        )
        found, count = await self._store.audit(query, sight)
        if sight.streams:
            await self._hide_origins(found, sight)
        return AuditPage(found, count, params.offset, next_cursor(found, query))

    async def _hide_origins(self, records: Sequence[AuditRecord], sight: Sight) -> None:
        """Remove the tasks whose stages have made calls, of those that are not seen."""
        origins = {one.id: found["id"] for one in records if (found := _origin(one.remote))}
        seen = await ids_in_sight(self._store, list(origins.values()), sight)
        for record in records:
            if record.id in origins and origins[record.id] not in seen:
                record.remote = "task"


def _caller_of(remote: str) -> str | None:
    found = _origin(remote)
    return None if found is None else found["id"]


def _origin(remote: str | None) -> re.Match[str] | None:
    return None if remote is None else _STAGE.fullmatch(remote)
