"""`notifications.*`"""

from collections.abc import Sequence

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import (
    Deleted,
    IdParams,
    NotificationList,
    NotificationListParams,
    NotificationUpdateParams,
)
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import next_cursor, read_page, read_sort
from kaiju_tasks.api.views import hide_data
from kaiju_tasks.errors import NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import access
from kaiju_tasks.store.base import NOTIFICATION_COLUMNS, Condition, PageQuery
from kaiju_tasks.types import Notification


class NotificationsApi:
    """The methods on notifications."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def list(self, caller: Caller, params: NotificationListParams) -> NotificationList:
        """List notifications by pages.

        A page of large ones can have fewer than `limit`: only `cursor` says whether more follow.
        """
        sort = read_sort(params.sort, NOTIFICATION_COLUMNS)
        query = read_page(params, NOTIFICATION_COLUMNS, sort)
        seen = seen_by(caller, access.READ_TASKS)
        found, count, cut = await self._store.notifications(query, seen)
        _hide(caller, found)
        return NotificationList(found, count, params.offset, next_cursor(found, query, cut=cut))

    async def get(self, caller: Caller, params: IdParams) -> Notification:
        """Get a notification."""
        query = PageQuery([Condition("id", "eq", params.id)])
        found, *_ = await self._store.notifications(query, seen_by(caller, access.READ_TASKS))
        if not found:
            raise _no_notification(params.id)
        _hide(caller, found)
        return found[0]

    async def update(self, caller: Caller, params: NotificationUpdateParams) -> Notification:
        """Dismiss a notification with `enabled` false, or restore it with true."""
        seen = seen_by(caller, access.OPERATE_TASKS)
        changed = await self._store.set_notification(params.id, params.data.enabled, seen)
        if changed is None:
            raise _no_notification(params.id)
        _hide(caller, [changed])
        return changed

    async def delete(self, caller: Caller, params: IdParams) -> Deleted:
        """Delete a notification. The result is false if it does not exist."""
        seen = seen_by(caller, access.OPERATE_TASKS)
        return Deleted(await self._store.delete_notifications([params.id], seen) > 0)


def _hide(caller: Caller, found: Sequence[Notification]) -> None:
    if not caller.principal.sees_data:
        hide_data(found)


def _no_notification(id: str) -> NotFound:
    return NotFound(f"there is no notification {id!r}", id=id)
