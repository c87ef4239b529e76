"""`schedules.*`"""

from collections.abc import Sequence

from msgspec.structs import replace

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.coming import FirstFires, Place
from kaiju_tasks.api.params import UpcomingParams
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.api.unseen import seen_conditions
from kaiju_tasks.cron import parse_time
from kaiju_tasks.errors import InvalidParams, TooLarge
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Sight, access
from kaiju_tasks.store.base import Condition, TaskQuery, TaskView
from kaiju_tasks.types import ComingFire, ComingFires

TASKS_MAX = 5_000
"""The most schedules with a cron expression, and with an interval, that a call looks at."""
BATCH = 250
SCHEDULED = ("cron", "every")
SPAN_MAX = 366 * 86_400.0
DAY_SECONDS = 86_400.0
BY_NEXT_RUN = (("next_run", False),)


class SchedulesApi:
    """The methods on schedules."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def upcoming(self, caller: Caller, params: UpcomingParams) -> ComingFires:
        """List the coming fires of schedules, in their order.

        Disabled tasks have none. Fires before the retry that a schedule waits for will be missed,
        and are left out.
        """
        now = await self._store.now()
        start = now if params.start is None else parse_time(params.start, field="start")
        end = start + DAY_SECONDS if params.end is None else parse_time(params.end, field="end")
        if not start <= end <= start + SPAN_MAX:
            raise InvalidParams(
                f"`end` must be at or after `start`, by at most {SPAN_MAX / DAY_SECONDS:.0f} days",
                field="end",
            )
        seen = seen_by(caller, access.READ_TASKS)
        conditions = read_conditions(params.conditions)
        conditions = await seen_conditions(self._store, seen, conditions)
        conditions += [Condition("enabled", "eq", True), Condition("next_run", "lt", end)]
        first = FirstFires(start, end, params.limit + 1)
        places = [await self._look_at(column, conditions, seen, first) for column in SCHEDULED]
        place = min((one for one in places if one is not None), default=None)
        fires = first.until(place)
        if place is not None and not fires:
            raise TooLarge(
                f"more than {TASKS_MAX} schedules would have to be looked at: ask for an earlier "
                "`start`, or with conditions that fewer tasks meet",
                field="start",
                limit=TASKS_MAX,
            )
        more = place is not None or len(fires) > params.limit
        listed = [_fire(view, at) for at, _, view in fires[: params.limit]]
        return ComingFires(listed, more)

    async def _look_at(
        self, column: str, conditions: Sequence[Condition], seen: Sight, first: FirstFires
    ) -> Place | None:
        """Add the schedules that can have one of the first fires.

        :return: the place of the last one, if others that can have one were not looked at
        """
        query = TaskQuery(
            [*conditions, Condition(column, "ne", None)],
            BY_NEXT_RUN,
            limit=min(BATCH, first.wanted),
            with_total=False,
        )
        looked_at = 0
        while True:
            page = await self._store.find(query, seen)
            first.add(page.tasks)
            if len(page.tasks) < query.limit and not page.cut:
                return None
            last = page.tasks[-1].row
            assert last.next_run is not None
            place = (last.next_run, last.id)
            looked_at += len(page.tasks)
            if not first.needs(place):
                return None
            query = replace(query, after=[*place], limit=BATCH)
            if looked_at >= TASKS_MAX:
                following = await self._store.find(replace(query, limit=1), seen)
                return place if following.tasks else None


def _fire(view: TaskView, at: float) -> ComingFire:
    definition = view.definition
    return ComingFire(
        id=view.row.id,
        at=at,
        app_name=view.row.app_name,
        status=view.row.status,
        cron=definition.cron,
        every=definition.every,
        timezone=definition.timezone,
        description=definition.description,
    )
