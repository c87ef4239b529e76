"""`kaiju-tasks task …`"""

import shlex
import sys
from typing import Any

import click

from kaiju_tasks.cli.completion import complete_app, complete_file, complete_method, complete_task
from kaiju_tasks.cli.fail import CALL_FAILED, USAGE, Failed
from kaiju_tasks.cli.files import read_fields, read_task
from kaiju_tasks.cli.following import retry_option
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.ids import call_with_id
from kaiju_tasks.cli.operate import OPERATIONS, print_status
from kaiju_tasks.cli.output import (
    json_option,
    print_fields,
    print_json,
)
from kaiju_tasks.cli.reason import read_reason, reason_option
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.stage import brief_stage
from kaiju_tasks.cli.task_lists import COMMANDS, LISTS
from kaiju_tasks.cli.text import one_line
from kaiju_tasks.cli.watch import watch_task

__all__ = ["task"]

# Fields that every task has: `show` leaves them out if they have these values.
DEFAULTS = {
    "enabled": True,
    "misfire": "skip",
    "jitter": 0,
    "max_exec_timeout": 300,
    "max_retries": 0,
    "restart_policy": "CURRENT",
    "retry_delay": 0,
    "retry_backoff": 1,
    "priority": 0,
    "notify": False,
    "system": False,
    "retries": 0,
    "rev": 1,
}

strict_option = click.option(
    "--strict",
    is_flag=True,
    help="Refuse commands that no connected executor can run, instead of warning.",
)


@click.group(cls=Group, short_help="Create, list, show and operate tasks.")
def task() -> None:
    """Create, list, show and operate tasks. Without a command, list tasks."""


@task.command(short_help="Create a task from FILE or from --method.")
@click.argument("file", required=False, shell_complete=complete_file)
@click.option(
    "--method",
    shell_complete=complete_method,
    help="Create a task with this one command, instead of FILE.",
)
@click.option(
    "--param", "params", multiple=True, metavar="NAME=JSON", help="A parameter of that command."
)
@click.option("--app", "app_name", shell_complete=complete_app, help="The stream of the task.")
@click.option("--set", "fields", multiple=True, metavar="FIELD=JSON", help="A field of the task.")
@click.option("--kw", "kws", multiple=True, metavar="NAME=JSON", help="An entry of `kws`.")
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "ignore", "replace"]),
    default="error",
    show_default=True,
    help="What to do if a task with this id exists.",
)
@strict_option
@click.option("--watch", is_flag=True, help="Follow the task until its run ends; see `task watch`.")
@retry_option
@reason_option
@json_option
def create(
    file: str | None,
    method: str | None,
    params: tuple[str, ...],
    app_name: str | None,
    fields: tuple[str, ...],
    kws: tuple[str, ...],
    on_conflict: str,
    strict: bool,
    watch: bool,
    retry_seconds: float,
    reason: str | None,
    as_json: bool,
) -> None:
    """Create a task from FILE (JSON or YAML; `-` is standard input) or from --method."""
    data = _new_task(file, method, params, app_name, fields, kws)
    how = {"on_conflict": on_conflict, "strict": strict, **read_reason(reason)}
    created = call("tasks.create", data=data, **how)
    for warning in created.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
    if not created["created"]:
        redefined = on_conflict == "replace" and created["id"] == data.get("id")
        what = "it was redefined" if redefined else "nothing was created"
        click.echo(one_line(f"task {created['id']!r} already exists; {what}"), err=True)
    if watch:
        found = created if created["created"] else call("tasks.get", id=created["id"])
        watch_task(found, as_json, retry_seconds)
    elif as_json:
        print_json(created)
    else:
        click.echo(created["id"])


@task.command()
@click.argument("file", shell_complete=complete_file)
@strict_option
@json_option
def validate(file: str, strict: bool, as_json: bool) -> None:
    """Check a task file as `create` does, without creating a task."""
    found = call("tasks.validate", data=read_task(file), strict=strict)
    if as_json:
        print_json(found)
    else:
        for problem in found["errors"]:
            field, message = problem["field"], problem["message"]
            click.echo(
                message if not field or field in message else f"{field}: {message}", err=True
            )
        for warning in found["warnings"]:
            click.echo(f"warning: {warning}", err=True)
        if found["valid"]:
            click.echo("valid")
    sys.exit(0 if found["valid"] else CALL_FAILED)


@task.command(short_help="Show one task with its results.")
@click.argument("id", shell_complete=complete_task)
@json_option
def show(id: str, as_json: bool) -> None:
    """Show one task with its results.

    Fields that have their default value are left out, and long results are cut on a terminal.
    --json prints everything.
    """
    _print_task(call_with_id("tasks.get", id), as_json)


@task.command()
@click.argument("id", shell_complete=complete_task)
@json_option
def explain(id: str, as_json: bool) -> None:
    """Explain why a task is not running now."""
    explanation = call_with_id("tasks.explain", id)
    if as_json:
        print_json(explanation)
        return
    first, *others = [reason["code"] for reason in explanation["reasons"]]
    click.echo(one_line(_with_command(explanation["message"], first, explanation["id"])))
    for code, reason in zip(others, explanation["reasons"][1:], strict=True):
        text = _with_command(reason["message"], code, explanation["id"])
        click.echo(one_line(f"- {text}"))


@task.command(short_help="Follow a task until its run ends.")
@click.argument("id", shell_complete=complete_task)
@retry_option
@json_option
def watch(id: str, retry_seconds: float, as_json: bool) -> None:
    """Follow a task until its run ends, and exit with the run's exit code.

    If the manager restarts, the command waits for it.
    """
    watch_task(call_with_id("tasks.get", id), as_json, retry_seconds)


@task.command("delete-old", short_help="Delete tasks whose last run ended long ago.")
@click.option(
    "--days",
    type=click.FloatRange(0, 36_500),
    default=7,
    show_default=True,
    help="The least number of days since the end of the last run.",
)
@reason_option
@json_option
def delete_old(days: float, reason: str | None, as_json: bool) -> None:
    """Delete tasks whose last run ended long ago, with their history.

    Scheduled tasks, system tasks and tasks whose run has not ended are kept.
    """
    deleted = call("tasks.delete_old_tasks", interval_days=days, **read_reason(reason))
    if as_json:
        print_json(deleted)
    else:
        count = deleted["deleted"]
        click.echo(f"deleted {count} {'task' if count == 1 else 'tasks'}")


@task.command(short_help="Update fields of a task.")
@click.argument("id", shell_complete=complete_task)
@click.argument("fields", nargs=-1, metavar="FIELD=JSON...")
@click.option("--set", "more", multiple=True, metavar="FIELD=JSON", help="The same as FIELD=JSON.")
@click.option(
    "--if-rev",
    type=click.IntRange(1),
    help="Change nothing unless this is the task's `rev`: nobody has changed it since.",
)
@reason_option
@json_option
def update(
    id: str,
    fields: tuple[str, ...],
    more: tuple[str, ...],
    if_rev: int | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Update fields of a task, for example `enabled=false` or `cron="0 9 * * *"`."""
    given = (*fields, *more)
    if not given:
        raise Failed("Give a field to update, for example `enabled=false`.", USAGE)
    changes = read_fields(given, "FIELD")
    only = {} if if_rev is None else {"if_rev": if_rev}
    updated = call_with_id("tasks.update", id, data=changes, **only, **read_reason(reason))
    print_status(updated, as_json)


for command in (*LISTS, *OPERATIONS):
    task.add_command(command)


def _new_task(
    file: str | None,
    method: str | None,
    params: tuple[str, ...],
    app_name: str | None,
    fields: tuple[str, ...],
    kws: tuple[str, ...],
) -> dict[str, Any]:
    if file is None and method is None:
        raise Failed("Give a FILE with a task, or one command with --method.", USAGE)
    if file is not None and method is not None:
        if "=" in file:
            right = shlex.join(["--param", file])
            raise Failed(f"Give parameters of the command with --param: {right}", USAGE)
        raise Failed("Give either a FILE with a task or --method, but not both.", USAGE)
    if params and method is None:
        raise Failed("--param needs --method: the params of a FILE are in the file.", USAGE)
    if file is not None:
        data = read_task(file)
    else:
        data = {"commands": [{"method": method, "params": read_fields(params, "--param")}]}
    given = read_fields(fields, "--set")
    for field, option, value in (
        ("app_name", "--app", app_name),
        ("commands", "--method", method),
        ("kws", "--kw", kws or None),
    ):
        if field in given and value is not None:
            raise Failed(f"Give either {option} or --set {field}, but not both.", USAGE)
    data.update(given)
    if app_name is not None:
        data["app_name"] = app_name
    if kws:
        old = data.get("kws") or {}
        data["kws"] = {**(old if isinstance(old, dict) else {}), **read_fields(kws, "--kw")}
    return data


def _with_command(text: str, code: str, id: str) -> str:
    """Name the command in place of the method, in a reason of `tasks.explain`.

    :param code: code of the reason; the texts of other reasons contain texts of users
    """
    if code != "operator":
        return text
    return text.replace("tasks.resume", f"`kaiju-tasks task resume {shlex.quote(id)}`")


def _print_task(task_: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(task_)
        return
    pairs = [
        (name, brief_stage(task_) if name == "stage" else value)
        for name, value in task_.items()
        if name not in ("commands", "result", "stages")
        and value not in (None, {})
        and (name not in DEFAULTS or value != DEFAULTS[name])
    ]
    print_fields(pairs)
    results = task_["result"] or []
    click.echo()
    COMMANDS.print(
        [
            {**command, "stage": i, "result": results[i] if i < len(results) else None}
            for i, command in enumerate(task_["commands"])
        ],
        None,
    )
    _print_traceback(task_["error"] or {})


def _print_traceback(error: dict[str, Any]) -> None:
    data = error.get("data")
    traceback = data.get("traceback") if isinstance(data, dict) else None
    if isinstance(traceback, str):
        click.echo()
        for line in traceback.rstrip().splitlines():
            click.echo(one_line(line))
