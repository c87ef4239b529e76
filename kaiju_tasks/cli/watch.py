"""Following one task until its run ends."""

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from kaiju_tasks.cli.fail import when_interrupted
from kaiju_tasks.cli.following import follow
from kaiju_tasks.cli.operate import progress_line
from kaiju_tasks.cli.output import error_line, print_json
from kaiju_tasks.cli.remote import check_result

if TYPE_CHECKING:
    from kaiju_tasks.client import Client

__all__ = ["watch_task"]

WAIT_SECONDS = 30


def watch_task(id: str, as_json: bool, retry_seconds: float) -> None:
    """Print a task's progress until its run ends, then exit with the run's exit code."""
    again = f"`kaiju-tasks task watch {shlex.quote(id)}`"
    with when_interrupted(f"Stopped watching. Task {id!r} continues. Watch it again with {again}."):
        ended = follow(lambda client: _until_ended(client, id, quiet=as_json), retry_seconds)
    if as_json:
        print_json(ended)
    elif ended["exit_code"]:
        click.echo(error_line(ended["error"] or {}), err=True)
    sys.exit(ended["exit_code"] or 0)


async def _until_ended(client: "Client", id: str, *, quiet: bool) -> dict[str, Any]:
    from kaiju_tasks.types import ENDED

    task: dict[str, Any] = check_result("tasks.get", await client.tasks.get(id))
    shown = ""
    while True:
        line = progress_line(task)
        if line != shown and not quiet:
            click.echo(line)
            shown = line
        if task["status"] in ENDED or _ended_between_fires(task):
            return task
        seen = {name: task[name] for name in ("status", "stage", "status_reason")}
        waited = await client.call("tasks.wait", id=id, timeout=WAIT_SECONDS, seen=seen)
        task = check_result("tasks.wait", waited)


def _ended_between_fires(task: dict[str, Any]) -> bool:
    return task["status"] == "IDLE" and task["exit_code"] is not None
