"""A manager's methods as attributes. Their signatures are in `signatures.pyi`."""

from typing import Any

from kaiju_tasks.client.calls import Ask

__all__ = ["POSITIONAL", "Method", "Methods", "TaskMethods", "named"]

# Positional parameters of methods, in order. All other methods have one: `id`.
POSITIONAL: dict[str, tuple[str, ...]] = {
    "tasks.create": ("data", "on_conflict"),
    "tasks.m_create": ("data",),
    "tasks.validate": ("data",),
    "tasks.m_get": ("ids",),
    "tasks.m_exists": ("ids",),
    "tasks.m_explain": ("ids",),
    "tasks.m_update": ("ids", "data"),
    "tasks.m_delete": ("ids",),
    "tasks.list": ("conditions", "sort", "offset"),
    "tasks.count": ("conditions",),
    "tasks.m_reset": ("conditions",),
    "tasks.m_cancel": ("conditions",),
    "tasks.m_suspend": ("conditions", "wait_stage"),
    "tasks.m_resume": ("conditions",),
    "tasks.m_run_now": ("conditions",),
    "tasks.m_restart_from": ("conditions", "stage"),
    "tasks.m_message": ("conditions", "data"),
    "tasks.update": ("id", "data"),
    "tasks.message": ("id", "data", "name", "message_id", "job_id"),
    "tasks.write_message": ("id", "data", "name", "message_id", "job_id"),
    "tasks.suspend": ("id", "wait_stage"),
    "tasks.restart_from": ("id", "stage", "version"),
    "tasks.runs": ("id", "limit"),
    "tasks.stages": ("job_id",),
    "tasks.versions": ("id", "before"),
    "tasks.delete_old_tasks": ("interval_days",),
    "notifications.list": ("conditions", "sort", "offset"),
    "notifications.update": ("id", "data"),
    "executors.list": (),
    "executors.commands": ("app_name",),
    "manager.list_active_executors": (),
    "system.info": (),
    "system.whoami": (),
    "tokens.create": ("data",),
    "tokens.list": (),
    "audit.list": ("conditions",),
    "bulk.list": ("conditions",),
    "runs.list": ("conditions", "sort", "offset"),
    "runs.get": ("job_id",),
    "schedules.upcoming": ("start", "end"),
    "marks.add": ("label", "at", "app_name"),
    "marks.list": ("start", "end"),
    "stats.series": ("names", "start", "end", "step", "app_name"),
    "pauses.add": ("reason",),
    "principals.list": (),
    "principals.update": ("id", "data"),
    "rpc.discover": (),
    "cron.preview": ("cron", "timezone", "n", "after"),
}


def named(method: str, values: tuple[Any, ...], params: dict[str, Any]) -> dict[str, Any]:
    """Return all parameters of a call by name.

    :param values: positional arguments
    :raises TypeError: there are too many positional arguments, or a parameter is given twice
    """
    names = POSITIONAL.get(method, ("id",))
    if len(values) > len(names):
        raise TypeError(f"{method} takes its other parameters by name only")
    given = dict(zip(names, values, strict=False))
    if twice := given.keys() & params.keys():
        raise TypeError(f"{method} got multiple values for `{min(twice)}`")
    return {**given, **params}


class Methods:
    """The methods with one prefix.

    :param call: `Client.call`
    """

    def __init__(self, call: Ask, prefix: str) -> None:
        self._call = call
        self._prefix = prefix

    def __getattr__(self, verb: str) -> "Method":
        if verb.startswith("_"):
            raise AttributeError(verb)
        return Method(self._call, f"{self._prefix}.{verb}")


class Method:
    """One method."""

    def __init__(self, call: Ask, name: str) -> None:
        self._call = call
        self._name = name

    def __repr__(self) -> str:
        return f"<method {self._name}>"

    async def __call__(self, *values: Any, **params: Any) -> Any:
        return await self._call(self._name, **named(self._name, values, params))


class TaskMethods(Methods):
    """`tasks.*`.

    :param wait: waits for the run of a task, with as many calls as needed
    """

    def __init__(self, call: Ask, wait: Ask) -> None:
        super().__init__(call, "tasks")
        self._wait = wait

    async def wait(self, id: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the run of a task ends, or until the timeout.

        For a scheduled task, this is its open run or, if there is none, its next run. If the
        manager restarts, the client waits for it; see `Client`.

        :param id: id of the task
        :param timeout: seconds, 0 or more; None waits forever
        :returns: the task at the end of the wait
        :raises NotFound: the task does not exist
        :raises Unavailable: the manager does not answer for `retry_seconds`, or at the timeout
        """
        task: dict[str, Any] = await self._wait(id, timeout)
        return task
