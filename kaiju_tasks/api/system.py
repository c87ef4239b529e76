"""`system.*` and `cron.*`"""

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.executors import is_shown
from kaiju_tasks.api.params import PreviewParams, SystemView
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.cron import parse_time, preview
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import access
from kaiju_tasks.types import Limit
from kaiju_tasks.version import __version__


class SystemApi:
    """The methods on the whole system."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def info(self, caller: Caller) -> SystemView:
        """Return the manager, and the numbers of its tasks and executors.

        The numbers of 100,000 tasks and more are at most 10 seconds old.
        """
        manager = self._manager
        tasks: dict[str, dict[str, int]] = {}
        sight = seen_by(caller, access.READ_STREAMS)
        counts = await manager.task_counts.read(sight)
        for (app_name, status), count in sorted(counts.items()):
            tasks.setdefault(app_name, {})[status] = count
        executors: dict[str, int] = {}
        for executor in await manager.store.executors(sight):
            if is_shown(executor):
                executors[executor.status] = executors.get(executor.status, 0) + 1
        return SystemView(
            version=__version__,
            manager_id=manager.id,
            store=manager.settings.db.partition(":")[0],
            now=await manager.store.now(),
            up_since=manager.uptime.presence.up_since,
            tasks=tasks,
            executors=executors,
            limits=self._limits(),
            insecure_host=manager.insecure_host,
        )

    def _limits(self) -> dict[str, float]:
        settings = self._manager.settings
        limits: dict[str, float] = dict(Limit.by_name())
        limits["ping_interval"] = settings.ping_interval
        limits["max_body_bytes"] = settings.max_body_bytes
        limits["max_result_bytes"] = settings.max_result_bytes
        limits["max_run_results_bytes"] = settings.max_run_results_bytes
        limits["max_batch"] = settings.max_batch
        limits["max_json_depth"] = settings.max_json_depth
        return limits

    async def preview(self, caller: Caller, params: PreviewParams) -> list[float]:
        """Return the next fires of a cron expression in UNIX seconds."""
        if params.after is None:
            after = await self._manager.store.now()
        else:
            after = parse_time(params.after, params.timezone, field="after")
        return preview(params.cron, params.timezone, params.n, after)
