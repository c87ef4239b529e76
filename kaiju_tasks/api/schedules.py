"""`schedules.*`"""

from collections.abc import Sequence

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import UpcomingParams
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.api.unseen import seen_conditions
from kaiju_tasks.cron import parse_time
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import coming_fires
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Sight, access
from kaiju_tasks.store.base import Condition, TaskQuery, TaskView
from kaiju_tasks.types import ComingFire, ComingFires

TASKS_MAX = 1_000
"""The most schedules that are read whose next run is before the asked time."""
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
        seen, wanted = seen_by(caller, access.READ_TASKS), params.limit + 1
        conditions = read_conditions(params.conditions)
        conditions = await seen_conditions(self._store, seen, conditions)
        conditions.append(Condition("enabled", "eq", True))
        earlier, until = await self._read(
            [*conditions, Condition("next_run", "lt", start)], seen, TASKS_MAX
        )
        more = until is not None
        conditions += [Condition("next_run", "ge", start), Condition("next_run", "lt", end)]
        later, until = await self._read(conditions, seen, wanted)
        fires = _fires(earlier + later, start, end, wanted)
        if until is not None:
            certain = [fire for fire in fires if fire.at <= until]
            if len(certain) < wanted:  # the next runs of some are retries
                later, until = await self._read(conditions, seen, max(wanted, TASKS_MAX))
                fires = _fires(earlier + later, start, end, wanted)
            else:
                fires = certain
        more = more or until is not None or len(fires) > params.limit
        return ComingFires(fires[: params.limit], more)

    async def _read(
        self, conditions: Sequence[Condition], seen: Sight, limit: int
    ) -> tuple[list[TaskView], float | None]:
        """The schedules whose next run is first, and the time until which none is left out; None if
        all were read. The first N schedules have the first N fires, unless runs of them are open:
        then the next run can be a retry."""
        views: list[TaskView] = []
        until: float | None = None
        for column in ("cron", "every"):
            query = TaskQuery(
                [*conditions, Condition(column, "ne", None)],
                BY_NEXT_RUN,
                limit=limit,
                with_total=False,
            )
            page = await self._store.find(query, seen)
            views += page.tasks
            if page.cut or len(page.tasks) == limit:
                last = page.tasks[-1].row.next_run
                until = last if until is None or last is None else min(until, last)
        return views, until


def _fires(views: Sequence[TaskView], start: float, end: float, most: int) -> list[ComingFire]:
    """The fires of some schedules from `start` on and before `end`, at most so many of each."""
    fires = [
        _fire(view, at)
        for view in views
        for at in coming_fires(view.row, view.definition, start, end, most)
    ]
    return sorted(fires, key=lambda fire: (fire.at, fire.id))


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
