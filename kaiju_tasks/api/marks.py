"""`marks.*`"""

import math

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import MarkListParams, MarkParams
from kaiju_tasks.api.permission import check_target, seen_by
from kaiju_tasks.cron import parse_time
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Target, access
from kaiju_tasks.types import Mark


class MarksApi:
    """The methods on marks."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store
        self._dice = manager.dice

    async def add(self, caller: Caller, params: MarkParams) -> Mark:
        """Add a note to the time line, such as a deploy."""
        streams = None if params.app_name is None else (params.app_name,)
        target = Target(id=params.label, streams=streams)
        check_target(caller.principal, access.OPERATE_STREAMS, target, "mark")
        at = await self._store.now() if params.at is None else parse_time(params.at, field="at")
        mark = Mark(self._dice.new_id(), at, params.label, params.app_name, caller.user_id)
        await self._store.add_mark(mark)
        return mark

    async def list(self, caller: Caller, params: MarkListParams) -> "list_[Mark]":
        """List the marks of a time, the last first. Marks of all streams are always listed."""
        start = -math.inf if params.start is None else parse_time(params.start, field="start")
        end = math.inf if params.end is None else parse_time(params.end, field="end")
        sight = seen_by(caller, access.READ_STREAMS)
        return await self._store.marks(start, end, params.limit, sight)


list_ = list
