"""`audit.*`"""

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import AuditListParams, AuditPage
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import next_cursor, read_page
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import access
from kaiju_tasks.store.base import AUDIT_COLUMNS

NEWEST_FIRST = (("at", True),)


class AuditApi:
    """The methods on audit records."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def list(self, caller: Caller, params: AuditListParams) -> AuditPage:
        """List the actions of operators, newest first."""
        query = read_page(params, AUDIT_COLUMNS, NEWEST_FIRST)
        found, count = await self._store.audit(query, seen_by(caller, access.READ_AUDIT))
        return AuditPage(found, count, params.offset, next_cursor(found, query))
