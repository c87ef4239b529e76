"""The positional parameters of methods, for those who call them as functions."""

from typing import Any

__all__ = ["POSITIONAL", "named"]

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
    "logs.list": ("job_id", "stage", "attempt", "after"),
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
