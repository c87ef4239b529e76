"""Operations on one task or on all tasks that match: `kaiju-tasks task reset`, `cancel`, …"""

from typing import Any

import click

from kaiju_tasks.cli.completion import complete_task
from kaiju_tasks.cli.fail import CALL_FAILED, USAGE, Failed, not_found
from kaiju_tasks.cli.files import read_json
from kaiju_tasks.cli.ids import call_with_id, whole_ids
from kaiju_tasks.cli.many import Many, many_options
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.stage import stage_of
from kaiju_tasks.cli.text import one_line

__all__ = ["OPERATIONS", "print_status", "progress_line"]

BULK = "Without an ID, do so for all tasks that match --status, --app, --group and --where."


def progress_line(task_: dict[str, Any]) -> str:
    """Return a line with the id, the status and the stage of a task."""
    reason = f" ({task_['status_reason']})" if task_["status_reason"] else ""
    return one_line(f"{task_['id']}: {task_['status']}{reason}, {stage_of(task_)}")


def print_status(task_: dict[str, Any], as_json: bool) -> None:
    """Print the status of a task, or the whole task as JSON."""
    if as_json:
        print_json(task_)
    else:
        click.echo(progress_line(task_))


def _operation(name: str, text: str, *options: Any) -> click.Command:
    verb = name.replace("-", "_")

    @click.argument("id", required=False, shell_complete=complete_task)
    @many_options
    @json_option
    def operate(
        id: str | None,
        status: str | None,
        app_name: str | None,
        group: str | None,
        where: tuple[str, ...],
        dry_run: bool,
        rate: float | None,
        reason: str | None,
        yes: bool,
        as_json: bool,
        **more: Any,
    ) -> None:
        many = Many(status, app_name, group, where, dry_run, rate, reason, yes)
        many.check(id)
        if id is not None:
            print_status(call_with_id(f"tasks.{verb}", id, **more, **many.why), as_json)
        else:
            many.run(f"tasks.m_{verb}", as_json, **more)

    for option in options:
        operate = option(operate)
    return click.command(name, help=f"{text}\n\n{BULK}", short_help=text)(operate)


@click.command("restart-from", short_help="Start a new run from STAGE (an index or a name).")
@click.argument("id", required=False, shell_complete=complete_task)
@click.argument("stage", required=False)
@click.option("--failed", is_flag=True, help="Start at the stage at which the last run has failed.")
@click.option("--stage", "index", type=click.IntRange(0, 99), help="Start all tasks at this index.")
@click.option(
    "--version",
    type=click.IntRange(1),
    help="Run with this version (`rev`) of the task's definition, from now on.",
)
@many_options
@json_option
def restart_from(
    id: str | None,
    stage: str | None,
    failed: bool,
    index: int | None,
    version: int | None,
    status: str | None,
    app_name: str | None,
    group: str | None,
    where: tuple[str, ...],
    dry_run: bool,
    rate: float | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Start a new run from STAGE (an index or a name), or with --failed from the stage that has
    failed. If a command is named `failed`, --failed starts from that one. The results of earlier
    stages are copied.

    Without an ID, do so for all tasks that match --status, --app, --group and --where, with
    --failed or --stage in place of STAGE.
    """
    many = Many(status, app_name, group, where, dry_run, rate, reason, yes)
    many.check(id)
    if id is not None:
        if failed == (stage is not None) or index is not None:
            raise Failed(
                "Give the STAGE of the task after its ID, as an index or a name, or --failed.",
                USAGE,
            )
        at: int | str = "failed" if stage is None else int(stage) if stage.isdecimal() else stage
        of = {} if version is None else {"version": version}
        print_status(call_with_id("tasks.restart_from", id, stage=at, **of, **many.why), as_json)
        return
    if version is not None:
        raise Failed("Give the ID of the task whose --version is meant.", USAGE)
    if failed == (index is not None):
        raise Failed("Give either --failed or --stage.", USAGE)
    many.run("tasks.m_restart_from", as_json, stage="failed" if index is None else index)


@click.command(short_help="Send DATA to a task's Message hook.")
@click.argument("words", nargs=-1, metavar="[ID] [DATA]", shell_complete=complete_task)
@click.option("--name", help="The name of the message.")
@click.option("--message-id", help="An id that makes it safe to send the message again.")
@many_options
@json_option
def message(
    words: tuple[str, ...],
    name: str | None,
    message_id: str | None,
    status: str | None,
    app_name: str | None,
    group: str | None,
    where: tuple[str, ...],
    dry_run: bool,
    rate: float | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Send DATA to a task's Message hook. DATA that is not JSON is sent as text.

    Without an ID, do so for all tasks that match --status, --app, --group and --where.
    """
    many = Many(status, app_name, group, where, dry_run, rate, reason, yes)
    id, data = _id_and_data(words, one=not many.conditions)
    many.check(id)
    params = {"data": read_json(data, "DATA")}
    params |= {k: v for k, v in (("name", name), ("message_id", message_id)) if v is not None}
    if id is None:
        many.run("tasks.m_message", as_json, **params)
        return
    if many.why:
        raise Failed("--reason cannot be used with an ID: one message leaves no record.", USAGE)
    receipt = call_with_id("tasks.message", id, **params)
    if as_json:
        print_json(receipt)
    else:
        because = f": {receipt['reason']}" if receipt.get("reason") else ""
        click.echo(f"{receipt['state']}{because}")
    if not receipt["accepted"]:
        raise SystemExit(CALL_FAILED)


def _id_and_data(words: tuple[str, ...], *, one: bool) -> tuple[str | None, str]:
    """
    :param one: whether the message is for one task, whose id comes first
    :raises Failed: there are too many words
    """
    left = list(words)
    id = left.pop(0) if left and (one or len(left) > 1) else None
    data = left.pop(0) if left else "null"
    if left:
        raise Failed(f"Give one DATA; quote it if it has spaces: {left[0]!r:.100}.", USAGE)
    return id, data


@click.command(short_help="Delete tasks and their history.")
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_task)
@many_options
@json_option
def delete(
    ids: tuple[str, ...],
    status: str | None,
    app_name: str | None,
    group: str | None,
    where: tuple[str, ...],
    dry_run: bool,
    rate: float | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete tasks in any status, with their history.

    If some of several tasks do not exist, the others are deleted, and the exit code is 1. Without
    an ID, delete all tasks that match --status, --app, --group and --where.
    """
    many = Many(status, app_name, group, where, dry_run, rate, reason, yes)
    many.check(ids[0] if ids else None)
    if not ids:
        many.run("tasks.m_delete", as_json)
        return
    if len(ids) == 1:
        _print_deleted(call_with_id("tasks.delete", ids[0], **many.why), 1, as_json)
        return
    deleted = call("tasks.m_delete", ids=whole_ids("tasks", ids), **many.why)
    _print_deleted(deleted, deleted["deleted"], as_json)
    if unknown := deleted["not_found"]:
        listed = " and no task ".join(map(repr, unknown))
        raise not_found(one_line(f"there is no task {listed}"), ids=unknown)


def _print_deleted(deleted: dict[str, Any], count: int, as_json: bool) -> None:
    if as_json:
        print_json(deleted)
    elif count:
        click.echo("deleted" if count == 1 else f"deleted {count} tasks")


_WAIT_STAGE = click.option(
    "--wait-stage", is_flag=True, help="Suspend only after the running stage has ended."
)

OPERATIONS = [
    _operation("reset", "Start a new run from the first stage now."),
    _operation("cancel", "Cancel the open run: it ends as FAILED with exit code 130."),
    _operation("suspend", "Suspend a task until it is resumed.", _WAIT_STAGE),
    _operation("resume", "Resume a suspended task."),
    _operation(
        "run-now",
        "Run an idle task now, without waiting for its scheduled time or the time of its retry.",
    ),
    restart_from,
    message,
    delete,
]
