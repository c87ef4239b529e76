"""When a run in an embedded manager goes on no more: all that is open waits for somebody."""

import shlex
from collections.abc import Collection, Sequence
from typing import Any

__all__ = ["hook_name", "moves", "what_blocks", "why_it_stands"]


def moves(task: dict[str, Any], served: Collection[str]) -> bool:
    """Whether an open task goes on by itself: with time, or because an executor works on it.

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
            return bool(task["app_name"] in served or task["max_queue_time"] is not None)
    return True


def what_blocks(task: dict[str, Any], open_tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The task that the others wait for.

    :param task: the one that was asked for
    :param open_tasks: all that are open, of which none moves
    """
    if task["status_reason"] != "tasks":
        return task
    return next((one for one in open_tasks if one["status_reason"] != "tasks"), task)


def why_it_stands(task: dict[str, Any], blocking: dict[str, Any]) -> str:
    """What the run waits for, and how that is given.

    :param task: the one that was asked for
    :param blocking: the one that it waits for, or itself
    """
    id = blocking["id"]
    if blocking["status"] == "QUEUED":
        return (
            f"No executor here serves the stream {blocking['app_name']!r} of the task {id}. "
            "Name one that does with --executor module:attr."
        )
    if blocking["status_reason"] != "message":
        return f"The task {id} is {blocking['status']}, and nobody else is here to change that."
    name = hook_name(blocking)
    if id != task["id"]:
        return (
            f"The task {id} waits for {_called(name)}. `run` answers only the messages of its own "
            "pipeline: create it on a manager with `kaiju-tasks task create`, and answer with "
            f"`kaiju-tasks task message {shlex.quote(id)}`."
        )
    return (
        f"Stage {task['stage']} waits for {_called(name)}, and there is no terminal to type it on. "
        f"Give it ahead: --message {shlex.quote(name) if name else ''}=JSON."
    )


def hook_name(task: dict[str, Any]) -> str | None:
    """The name of the message that a task waits for; None takes one without a name."""
    name: str | None = task["commands"][task["stage"]].get("params", {}).get("name")
    return name


def _called(name: str | None) -> str:
    return "a message without a name" if name is None else f"the message {name!r}"
