"""The shape of the manager's results: another JSON service can answer at the URL.

The table repeats what the types of the API say, without importing them: a one-shot command starts
quickly. Only fields that commands read are listed.
"""

from typing import Any

__all__ = ["FIELDS", "LISTS", "NUMBERS", "is_result"]

LISTS = frozenset(
    {
        "executors.commands",
        "executors.list",
        "marks.list",
        "pauses.list",
        "streams.list",
        "tasks.inbox",
        "tasks.m_explain",
        "tasks.runs",
        "tasks.stages",
        "tasks.versions",
        "tokens.list",
    }
)
"""Methods that return a list of objects."""
NUMBERS = frozenset({"cron.preview"})
"""Methods that return a list of times."""
PAGES = frozenset({"audit.list", "bulk.list", "notifications.list", "runs.list", "tasks.list"})
"""Methods that return a page of objects."""

_TASK = (
    "id",
    "status",
    "status_reason",
    "stage",
    "stages",
    "commands",
    "exit_code",
    "error",
    "job_id",
)
_COUNTS = ("state", "matched", "done", "changed", "refused", "pending", "refusals")
_BULK = ("bulk_id", *_COUNTS, "sample", "errors")
_BULK_CALL = ("id", *_COUNTS, "error", "stopped_by")
_EXECUTOR = ("id", "status")
_NOTIFICATION = ("id", "message")
_TOKEN = ("id", "principal", "kind", "expires_at")

FIELDS: dict[str, tuple[str, ...]] = {
    "bulk.get": _BULK_CALL,
    "bulk.stop": _BULK_CALL,
    "executors.drain": _EXECUTOR,
    "executors.get": _EXECUTOR,
    "executors.resume": _EXECUTOR,
    "executors.suspend": _EXECUTOR,
    "logs.list": ("data", "cursor"),
    "notifications.delete": ("deleted",),
    "notifications.get": _NOTIFICATION,
    "notifications.update": _NOTIFICATION,
    "marks.add": ("id", "at"),
    "pauses.add": ("id", "active"),
    "pauses.remove": ("removed",),
    "principals.update": ("id", "quotas"),
    "runs.get": ("task_id", "job_id", "status"),
    "schedules.upcoming": ("data", "more"),
    "stats.series": ("start", "end", "step", "data"),
    "tasks.cancel": _TASK,
    "tasks.count": ("count",),
    "tasks.create": (*_TASK, "created", "warnings"),
    "tasks.delete": ("deleted",),
    "tasks.delete_old_tasks": ("deleted",),
    "tasks.explain": ("message", "reasons"),
    "tasks.family": ("data", "more"),
    "tasks.get": _TASK,
    "tasks.m_cancel": _BULK,
    "tasks.m_delete": ("deleted", "not_found"),
    "tasks.m_message": _BULK,
    "tasks.m_reset": _BULK,
    "tasks.m_restart_from": _BULK,
    "tasks.m_resume": _BULK,
    "tasks.m_run_now": _BULK,
    "tasks.m_suspend": _BULK,
    "tasks.message": ("accepted", "state"),
    "tasks.reset": _TASK,
    "tasks.restart_from": _TASK,
    "tasks.resume": _TASK,
    "tasks.run_now": _TASK,
    "tasks.suspend": _TASK,
    "tasks.update": _TASK,
    "tasks.validate": ("valid", "errors", "warnings"),
    "tasks.wait": _TASK,
    "tokens.create": (*_TOKEN, "token"),
    "tokens.revoke": _TOKEN,
    "tokens.rotate": (*_TOKEN, "token"),
} | dict.fromkeys(PAGES, ("data", "count", "offset"))
"""Methods that return an object, with fields that it always has."""


def is_result(method: str, result: Any) -> bool:
    """Return whether a value has the shape of the result of a method."""
    if method in LISTS:
        return _are_objects(result)
    if method in NUMBERS:
        return isinstance(result, list) and all(isinstance(time, int | float) for time in result)
    if not isinstance(result, dict) or any(name not in result for name in FIELDS[method]):
        return False
    return method not in PAGES or _are_objects(result["data"])


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
