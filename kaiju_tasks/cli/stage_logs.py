"""`kaiju-tasks logs`: what the stages of a run have logged and printed."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from kaiju_tasks.cli.completion import complete_task
from kaiju_tasks.cli.fail import Failed, when_interrupted
from kaiju_tasks.cli.following import follow, retry_option
from kaiju_tasks.cli.output import json_option, json_text, print_json
from kaiju_tasks.cli.remote import CallFailed, call, check_result
from kaiju_tasks.cli.text import one_line
from kaiju_tasks.times import show_time

if TYPE_CHECKING:
    from kaiju_tasks.client import Client

__all__ = ["logs"]

LOOK_SECONDS = 0.5
NOT_FOUND = 404


@click.command(short_help="Show what a run has logged and printed.")
@click.argument("task_or_job", shell_complete=complete_task)
@click.option("--stage", type=click.IntRange(0, 99), help="Only this stage, by its index from 0.")
@click.option("--attempt", type=click.IntRange(1), help="Only attempts with this number, from 1.")
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on until the run ends.")
@retry_option
@json_option
def logs(
    task_or_job: str,
    stage: int | None,
    attempt: int | None,
    follows: bool,
    retry_seconds: float,
    as_json: bool,
) -> None:
    """Show what the stages of a run have logged, and what their process commands have printed.

    TASK_OR_JOB is the id of a task, whose last run is shown, or of a run. With --follow and --json,
    each line is one JSON object. With --follow, the command waits until the run begins, and for a
    manager that restarts. It ends with the run, and may leave out lines that come later; without
    --follow, all are shown.
    """
    job_id, task_id = _job_of(task_or_job)
    wanted = {"job_id": job_id, "stage": stage, "attempt": attempt}
    params = {name: value for name, value in wanted.items() if value is not None}
    if follows:
        with when_interrupted("Stopped showing the log. The run continues."):
            follow(lambda client: _follow(client, params, as_json, task_id), retry_seconds)
        return
    pages = _pages(params, task_id)
    if as_json:
        lines: list[Any] = []
        cursor = None
        for page in pages:
            lines += page["data"]
            cursor = page["cursor"]
        print_json({"data": lines, "cursor": cursor})
        return
    for page in pages:
        _print(page["data"], as_json=False)


def _job_of(task_or_job: str) -> tuple[str, str | None]:
    """The run: the open or last one of a task with this id, or the one with this id; and the task,
    if it is the id of one."""
    try:
        task = call("tasks.get", id=task_or_job)
    except CallFailed as error:
        if error.code == NOT_FOUND:
            return task_or_job, None
        raise
    if task["job_id"] is None:
        raise _not_run_yet(task_or_job)
    return task["job_id"], task_or_job


def _not_run_yet(task_id: str) -> Failed:
    return Failed(f"Task {task_id!r} has not run yet.")


def _pages(params: dict[str, Any], task_id: str | None) -> Iterator[dict[str, Any]]:
    try:
        page = call("logs.list", **params)
    except CallFailed as error:
        if error.code != NOT_FOUND or task_id is None:
            raise
        raise _not_run_yet(task_id) from error
    while True:
        yield page
        if not page["data"]:
            return
        page = call("logs.list", **params, after=page["cursor"])


async def _follow(
    client: "Client", params: dict[str, Any], as_json: bool, task_id: str | None
) -> None:
    if task_id is not None:
        await _until_begun(client, task_id, params["job_id"])
    after: dict[str, Any] = {}
    while True:
        run = check_result("runs.get", await client.runs.get(params["job_id"]))
        while True:
            page = check_result("logs.list", await client.logs.list(**params, **after))
            if not page["data"]:
                break
            _print(page["data"], as_json)
            after = {"after": page["cursor"]}
        if run["ended_at"] is not None:  # before the last lines were read
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _until_begun(client: "Client", task_id: str, job_id: str) -> None:
    """Wait until a run has begun. One that never begins, because the task is reset, is left."""
    from kaiju_tasks.errors import NotFound

    while True:
        with contextlib.suppress(NotFound):
            await client.runs.get(job_id)
            return
        task = check_result("tasks.get", await client.tasks.get(task_id))
        if task["job_id"] != job_id:
            return
        await asyncio.sleep(LOOK_SECONDS)


def _print(lines: list[dict[str, Any]], as_json: bool) -> None:
    for line in lines:
        if as_json:
            click.echo(json_text(line))
            continue
        if line["left_out"]:
            click.echo(f"… {line['left_out']} lines were not kept …")
        click.echo(_text(line))


def _text(line: dict[str, Any]) -> str:
    place = f"{line['stage']}.{line['attempt']}"
    parts = [show_time(line["at"]), f"{place:<5}", f"{line['level']:<7}", line["message"] or ""]
    parts += [f"{name}={json_text(value)}" for name, value in (line["fields"] or {}).items()]
    return one_line("  ".join(parts)).rstrip()
