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


def watch_task(task: dict[str, Any], as_json: bool, retry_seconds: float) -> None:
    """Print a task's progress until its run ends, then exit with the run's exit code.

    :param task: the task as a manager has just returned it; its state is printed first
    """
    id = task["id"]
    again = f"`kaiju-tasks task watch {shlex.quote(id)}`"
    with when_interrupted(f"Stopped watching. Task {id!r} continues. Watch it again with {again}."):
        watched = _Watched(task, quiet=as_json)
        if watched.ended:
            watched.see(task)
        else:
            follow(watched.until_ended, retry_seconds)
    ended = watched.task
    if as_json:
        print_json(ended)
    elif ended["exit_code"]:
        click.echo(error_line(ended["error"] or {}), err=True)
    sys.exit(ended["exit_code"] or 0)


class _Watched:
    """One task, as it was last seen."""

    def __init__(self, task: dict[str, Any], *, quiet: bool) -> None:
        self._quiet = quiet
        self._shown = ""
        self.task = task

    @property
    def ended(self) -> bool:
        """Whether its run has ended; for a task between two fires, its last run."""
        from kaiju_tasks.types import ENDED

        idle_again = self.task["status"] == "IDLE" and self.task["exit_code"] is not None
        return self.task["status"] in ENDED or idle_again

    async def until_ended(self, client: "Client") -> None:
        now = check_result("tasks.get", await client.tasks.get(self.task["id"]))
        self.see(self.task)  # from here on, the client retries when the manager does not answer
        self.see(now)
        while not self.ended:
            seen = {name: self.task[name] for name in ("status", "stage", "status_reason")}
            waited = await client.call(
                "tasks.wait", id=self.task["id"], timeout=WAIT_SECONDS, seen=seen
            )
            self.see(check_result("tasks.wait", waited))

    def see(self, task: dict[str, Any]) -> None:
        """Take the next state of the task, and print it if it differs from the last one."""
        self.task = task
        line = progress_line(task)
        if line != self._shown and not self._quiet:
            click.echo(line)
            self._shown = line
