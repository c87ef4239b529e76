"""`runs.*`"""

from msgspec import UNSET
from msgspec.structs import asdict

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.filters import RUN_CHOICES
from kaiju_tasks.api.params import RUN_SORTED, JobParams, RunListParams
from kaiju_tasks.api.parents import with_seen_parents
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import Sort, read_after, read_conditions, read_sort, write_cursor
from kaiju_tasks.api.unseen import check_sort, seen_conditions
from kaiju_tasks.api.views import hide_data, open_run
from kaiju_tasks.errors import NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Sight, access
from kaiju_tasks.store.base import RUN_COLUMNS, Condition, FoundRun, PageQuery, TaskQuery
from kaiju_tasks.store.parts import error_part
from kaiju_tasks.types import ListedRun, RunList

LAST_ENDED: Sort = (("ended_at", True),)


class RunsApi:
    """The methods on the runs of all tasks."""

    def __init__(self, manager: Manager) -> None:
        self._store = manager.store

    async def list(self, caller: Caller, params: RunListParams) -> RunList:
        """List ended runs and missed fires of all tasks by pages, the last ended first.

        Open runs are tasks: `tasks.list` lists them. The stream and the group are those that the
        task has now. A page of large errors can have fewer than `limit`: only `cursor` says whether
        more follow.
        """
        sort = read_sort(params.sort, RUN_SORTED, LAST_ENDED)
        seen = seen_by(caller, access.READ_TASKS)
        check_sort(seen, sort)
        conditions = read_conditions(params.conditions, RUN_COLUMNS, RUN_CHOICES)
        query = PageQuery(
            conditions=await seen_conditions(self._store, seen, conditions),
            sort=sort,
            offset=params.offset,
            limit=params.limit,
            after=read_after(params.cursor, params.offset, sort, RUN_SORTED),
        )
        page = await self._store.find_runs(query, seen)
        full = page.cut or len(page.runs) == params.limit
        cursor = _cursor_after(page.runs[-1], sort) if full else None
        runs = [found.run for found in page.runs]
        await with_seen_parents(self._store, caller, runs)
        if not caller.principal.sees_data:
            hide_data(runs)
        more = True if page.more else UNSET
        return RunList(runs, page.total, params.offset, cursor, more)

    async def get(self, caller: Caller, params: JobParams) -> ListedRun:
        """Get a run, open or ended. `tasks.stages` lists its stages."""
        sight = seen_by(caller, access.READ_TASKS)
        found = await self._ended(params.job_id, sight)
        found = found or await self._open(params.job_id, sight)
        found = found or await self._ended(params.job_id, sight)  # ended between the two reads
        if found is None:
            raise NotFound(f"there is no run {params.job_id!r}", job_id=params.job_id)
        await with_seen_parents(self._store, caller, [found])
        if not caller.principal.sees_data:
            hide_data([found])
        return found

    async def _ended(self, job_id: str, sight: Sight) -> ListedRun | None:
        query = PageQuery([Condition("id", "eq", job_id)], limit=1)
        page = await self._store.find_runs(query, sight)
        return page.runs[0].run if page.runs and page.runs[0].run.job_id is not None else None

    async def _open(self, job_id: str, sight: Sight) -> ListedRun | None:
        query = TaskQuery([Condition("job_id", "eq", job_id)], limit=1)
        page = await self._store.find(query, sight)
        run = open_run(page.tasks[0].row, page.tasks[0].definition) if page.tasks else None
        if run is None:
            return None
        row, definition = page.tasks[0].row, page.tasks[0].definition
        return ListedRun(
            **asdict(run),
            app_name=row.app_name,
            group=definition.group,
            group_id=definition.group_id,
            parent_id=definition.parent_id,
            labels=definition.labels,
        )


def _cursor_after(found: FoundRun, sort: Sort) -> str:
    run = found.run

    def value(column: str) -> str | int | float | None:
        if column == "error.type":
            error = run.error
            kind: str | None = error_part(None if error is None else bytes(error).decode(), "type")
            return kind
        plain: str | int | float | None = getattr(run, column)
        return plain

    return write_cursor(sort, [*(value(column) for column, _ in sort), found.run_id])
