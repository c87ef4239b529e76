"""What a manager does at one moment: its streams, what runs, and what fails."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kaiju_tasks.cli.remote import check_result

if TYPE_CHECKING:
    from kaiju_tasks.client import Client

__all__ = ["FAILED_READ", "RUNNING_READ", "read_snapshot"]

RUNNING_READ = 100
FAILED_READ = 500
"""The most tasks that run and that have failed of which a snapshot is made."""

FAILURES = [1, 130]
"""The exit codes of runs that have failed."""

_RUNNING = ("id", "app_name", "method", "executor_id", "stage", "stages", "since", "progress")
_FAILED = ("id", "method", "error", "since")
_EACH_SECOND = "* * * * * *"
"""A cron expression, whose next fire is the manager's time. `system.info` has that time too, but
counts all tasks."""
_CALLS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("cron.preview", {"cron": _EACH_SECOND, "n": 1}),
    ("streams.list", {}),
    (
        "tasks.list",
        {
            "conditions": {"status": "EXECUTED"},
            "sort": ["status_change"],
            "limit": RUNNING_READ,
            "columns": _RUNNING,
        },
    ),
    (
        "tasks.list",
        {
            "conditions": {"status": "FAILED"},
            "sort": ["-status_change"],
            "limit": FAILED_READ,
            "columns": _FAILED,
        },
    ),
    ("runs.list", {"conditions": {"status": "FAILED"}, "limit": FAILED_READ}),
)


async def read_snapshot(client: "Client") -> dict[str, Any]:
    """Ask the manager once.

    :returns: `at`, the manager's time, rounded up to a second; `streams`, as in `streams.list`;
        `running`, `{count, data}` with the tasks that run, the longest first; `failed`, `{count,
        read, data}` with what the `read` tasks that failed last have in common: `{method, type,
        count, since, last, id}`, where `since` is the end of the first of these runs, and `last`
        that of the task `id`. Schedules whose last run has failed count as failed, if it is among
        the last 500 failed runs. A `count` that ends at 10,000 has `count_more`.
    :raises KaijuError: the manager refuses a call, or does not answer
    :raises Failed: the server is not a manager
    """
    found = await client.batch(_CALLS)
    for result in found:
        if isinstance(result, Exception):
            raise result
    (at,), streams, running, failed, runs = (
        check_result(method, result) for (method, _), result in zip(_CALLS, found, strict=True)
    )
    schedules = await _failed_schedules(client, {run["task_id"] for run in runs["data"]})
    tasks = sorted([*failed["data"], *schedules], key=lambda task: -task["since"])
    return {
        "at": at,
        "streams": streams,
        "running": {**_counted(running), "data": running["data"]},
        "failed": {
            **_counted(failed),
            "count": failed["count"] + len(schedules),
            "read": len(tasks),
            "data": _kinds(tasks),
        },
    }


async def _failed_schedules(client: "Client", ids: Collection[str]) -> list[dict[str, Any]]:
    """The tasks that wait for their next fire although their last run has failed.

    :param ids: of tasks of which a run has failed
    """
    conditions = {"id": sorted(ids), "status": "IDLE", "exit_code": FAILURES}
    if not ids:
        return []
    page = await client.tasks.list(conditions=conditions, limit=FAILED_READ, columns=_FAILED)
    found: list[dict[str, Any]] = check_result("tasks.list", page)["data"]
    return found


def _counted(page: Mapping[str, Any]) -> dict[str, Any]:
    return {name: page[name] for name in ("count", "count_more") if name in page}


def _kinds(tasks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What fails, the most frequent first.

    :param tasks: those that failed last, first
    """
    kinds: dict[tuple[str | None, str | None], list[Mapping[str, Any]]] = {}
    for task in tasks:
        error = task["error"] or {}
        kinds.setdefault((task["method"], error.get("type")), []).append(task)
    found = [_kind(method, type, alike) for (method, type), alike in kinds.items()]
    return sorted(found, key=lambda kind: -kind["count"])


def _kind(
    method: str | None, type: str | None, tasks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "method": method,
        "type": type,
        "count": len(tasks),
        "since": tasks[-1]["since"],
        "last": tasks[0]["since"],
        "id": tasks[0]["id"],
    }
