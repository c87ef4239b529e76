"""A manager's methods as attributes. Their signatures are in `signatures.pyi`."""

from typing import Any

from kaiju_tasks.client.calls import Ask

__all__ = ["POSITIONAL", "Method", "Methods", "TaskMethods", "named"]

# What may be given without its name, in order; other methods take an `id` first.
POSITIONAL: dict[str, tuple[str, ...]] = {
    "tasks.create": ("data", "on_conflict"),
    "tasks.m_create": ("data",),
    "tasks.validate": ("data",),
    "tasks.m_get": ("ids",),
    "tasks.m_exists": ("ids",),
    "tasks.m_update": ("ids", "data"),
    "tasks.m_delete": ("ids",),
    "tasks.list": ("conditions", "sort", "offset"),
    "tasks.count": ("conditions",),
    "tasks.m_reset": ("conditions",),
    "tasks.m_cancel": ("conditions",),
    "tasks.m_suspend": ("conditions", "wait_stage"),
    "tasks.m_resume": ("conditions",),
    "tasks.update": ("id", "data"),
    "tasks.message": ("id", "data", "name", "message_id", "job_id"),
    "tasks.write_message": ("id", "data", "name", "message_id", "job_id"),
    "tasks.suspend": ("id", "wait_stage"),
    "tasks.restart_from": ("id", "stage"),
    "tasks.runs": ("id", "limit"),
    "tasks.stages": ("job_id",),
    "tasks.delete_old_tasks": ("interval_days",),
    "notifications.list": ("conditions", "sort", "offset"),
    "notifications.update": ("id", "data"),
    "executors.list": (),
    "executors.commands": ("app_name",),
    "manager.list_active_executors": (),
    "system.info": (),
    "audit.list": ("conditions",),
    "pauses.add": ("reason",),
    "rpc.discover": (),
    "cron.preview": ("cron", "timezone", "n", "after"),
}


def named(method: str, values: tuple[Any, ...], params: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a call by their names.

    :param values: those that were given without
    :raises TypeError: there are too many of these, or one is given twice
    """
    names = POSITIONAL.get(method, ("id",))
    if len(values) > len(names):
        raise TypeError(f"{method} takes the rest of its parameters by name")
    given = dict(zip(names, values, strict=False))
    if twice := given.keys() & params.keys():
        raise TypeError(f"{method} got `{min(twice)}` twice")
    return {**given, **params}


class Methods:
    """The methods of one prefix.

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

    :param wait: waits for the run of a task, over any number of calls
    """

    def __init__(self, call: Ask, wait: Ask) -> None:
        super().__init__(call, "tasks")
        self._wait = wait

    async def wait(self, id: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the run ends (a schedule's: the open or else the coming one), or the time
        is over. A manager that restarts meanwhile is waited for, see `Client`.

        :param id: the task
        :param timeout: seconds, from 0; None waits for ever
        :returns: the task as it then is
        :raises NotFound: there is no such task
        :raises Unavailable: no manager answers, for `retry_seconds` or at the timeout
        """
        task: dict[str, Any] = await self._wait(id, timeout)
        return task
