"""Detection of a run in an embedded manager that cannot continue: all open tasks wait for input."""

import shlex
from collections.abc import Collection, Sequence
from typing import Any

from kaiju_tasks.cli.stage import stage_of

__all__ = ["hook_name", "moves", "what_blocks", "why_it_stands"]


def moves(task: dict[str, Any], served: Collection[str]) -> bool:
    """Return whether an open task continues by itself, with time or through an executor.

    :param served: streams that have an executor
    """
    match task["status"]:
        case "SUSPENDED":
            return False
        case "WAITING":
            return bool(
                task["wait_deadline"] is not None
                or task["status_reason"] not in ("message", "tasks")
            )
        case "QUEUED":
            taken = task["app_name"] in served and task["status_reason"] != "method"
            return bool(taken or task["max_queue_time"] is not None)
    return True


def what_blocks(task: dict[str, Any], open_tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the task that blocks the run: the task itself, or one that it waits for.

    :param task: the task of the run
    :param open_tasks: all open tasks, none of which continues by itself
    """
    if task["status_reason"] != "tasks":
        return task
    return next((one for one in open_tasks if one["status_reason"] != "tasks"), task)


def why_it_stands(task: dict[str, Any], blocking: dict[str, Any]) -> str:
    """Return a message with what the run waits for, and how to provide it.

    :param task: the task of the run
    :param blocking: the task that it waits for, or the task itself
    """
    id = blocking["id"]
    if blocking["status"] == "QUEUED" and blocking["status_reason"] == "method":
        method = blocking["commands"][blocking["stage"]]["method"]
        return (
            f"No executor of this command has the method {method!r} of the task {id} on the stream "
            f"{blocking['app_name']!r}."
        )
    if blocking["status"] == "QUEUED":
        return (
            f"No executor of this command serves the stream {blocking['app_name']!r} of the task "
            f"{id}. Add an executor for it with --executor MODULE:ATTR."
        )
    if blocking["status_reason"] != "message":
        return f"The task {id} is {blocking['status']}, and nothing in this process can change it."
    name = hook_name(blocking)
    if id != task["id"]:
        return (
            f"The task {id} waits for {_called(name)}. `run` sends messages only to its own "
            "pipeline. Create the task on a manager with `kaiju-tasks task create`, and answer it "
            f"with `kaiju-tasks task message {shlex.quote(id)}`."
        )
    return (
        f"{stage_of(task).capitalize()} waits for {_called(name)}, and there is no terminal to "
        "type it on. "
        f"Give it with --message {shlex.quote(name) if name else ''}=JSON."
    )


def hook_name(task: dict[str, Any]) -> str | None:
    """Return the name of the message that a task waits for; None if it accepts any message."""
    name: str | None = task["commands"][task["stage"]].get("params", {}).get("name")
    return name


def _called(name: str | None) -> str:
    return "a message" if name is None else f"the message {name!r}"
