"""`schedules.*`"""

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import UpcomingParams
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.cron import parse_time
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import coming_fires
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import access
from kaiju_tasks.store.base import Condition, TaskQuery, TaskView
from kaiju_tasks.types import ComingFire, ComingFires

TASKS_MAX = 1_000
SPAN_MAX = 366 * 86_400.0
DAY_SECONDS = 86_400.0
BY_NEXT_RUN = (("next_run", False),)


class SchedulesApi:
    """The methods on schedules."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def upcoming(self, caller: Caller, params: UpcomingParams) -> ComingFires:
        """List the coming fires of schedules, in their order. Disabled tasks have none."""
        now = await self._store.now()
        start = now if params.start is None else parse_time(params.start, field="start")
        end = start + DAY_SECONDS if params.end is None else parse_time(params.end, field="end")
        if not start <= end <= start + SPAN_MAX:
            raise InvalidParams(
                f"`end` must be at or after `start`, by at most {SPAN_MAX / DAY_SECONDS:.0f} days",
                field="end",
            )
        conditions = [*read_conditions(params.conditions), Condition("enabled", "eq", True)]
        views: dict[str, TaskView] = {}
        more = False
        for column in ("cron", "every"):
            query = TaskQuery(
                [*conditions, Condition(column, "ne", None)], BY_NEXT_RUN, limit=TASKS_MAX
            )
            page = await self._store.find(query, seen_by(caller, access.READ_TASKS))
            views |= {view.row.id: view for view in page.tasks}
            more = more or page.cut or page.total > len(page.tasks)
        fires = []
        for view in views.values():
            coming = coming_fires(view.row, view.definition, start, end, params.limit + 1)
            fires += [_fire(view, at) for at in coming]
        fires.sort(key=lambda fire: (fire.at, fire.id))
        return ComingFires(fires[: params.limit], more or len(fires) > params.limit)


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
