"""`kaiju-tasks task reset|cancel|suspend|resume`, for one task or for all tasks that match."""

from typing import Any

import click

from kaiju_tasks.cli.choice import choice_options, read_choice
from kaiju_tasks.cli.completion import complete_task
from kaiju_tasks.cli.fail import USAGE, Failed, when_interrupted
from kaiju_tasks.cli.ids import call_with_id
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.stage import stage_of
from kaiju_tasks.cli.text import one_line

__all__ = ["OPERATIONS", "print_status", "progress_line"]


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
    @click.argument("id", required=False, shell_complete=complete_task)
    @choice_options
    @click.option("--dry-run", is_flag=True, help="Only count the tasks and list some of them.")
    @click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        help="Change at most this number of tasks per second.",
    )
    @json_option
    def operate(
        id: str | None,
        status: str | None,
        app_name: str | None,
        group: str | None,
        where: tuple[str, ...],
        dry_run: bool,
        rate: float | None,
        as_json: bool,
        **more: Any,
    ) -> None:
        conditions = read_choice(status, app_name, group, where)
        _check(id, conditions, bulk_only=dry_run or rate is not None)
        if id is not None:
            print_status(call_with_id(f"tasks.{name}", id, **more), as_json)
            return
        if rate is not None:
            more["rate"] = rate
        with when_interrupted(_bulk_interrupted(name, dry_run)):
            result = call(f"tasks.m_{name}", conditions=conditions, dry_run=dry_run, **more)
        if as_json:
            print_json(result)
        else:
            _print_result(result, dry_run)

    for option in options:
        operate = option(operate)
    bulk = "Without an ID, do so for all tasks that match --status, --app, --group and --where."
    return click.command(name, help=f"{text}\n\n{bulk}", short_help=text)(operate)


def _bulk_interrupted(name: str, dry_run: bool) -> str:
    if dry_run:
        return "Interrupted. Nothing was changed."
    return (
        f"Interrupted. The manager continues `tasks.m_{name}`. "
        "The same command with --dry-run counts the tasks that still match."
    )


def _check(id: str | None, conditions: dict[str, Any], *, bulk_only: bool) -> None:
    if id is None and not conditions:
        raise Failed(
            "Give the ID of a task, or select tasks with --status, --app, --group or --where. "
            """To select all tasks, use --where id='{"like": "%"}'.""",
            USAGE,
        )
    if id is not None and conditions:
        raise Failed(
            "Give either an ID or --status, --app, --group and --where, but not both.", USAGE
        )
    if id is not None and bulk_only:
        raise Failed("--dry-run and --rate cannot be used with an ID.", USAGE)


def _print_result(result: dict[str, Any], dry_run: bool) -> None:
    matched = result["matched"]
    if dry_run:
        click.echo(f"{matched} matched; nothing was changed")
    else:
        counts = ", ".join(f"{result[name]} {name}" for name in ("done", "refused", "pending"))
        click.echo(f"{matched} matched: {counts}")
    for id in result["sample"]:
        click.echo(f"  {one_line(id)}")
    if matched > len(result["sample"]):
        click.echo(f"  … and {matched - len(result['sample'])} more")
    for refusal in result["errors"]:
        click.echo(one_line(f"refused: {refusal['id']}: {refusal['message']}"), err=True)
    if result["pending"]:
        click.echo("the manager continues with the pending tasks", err=True)


_WAIT_STAGE = click.option(
    "--wait-stage", is_flag=True, help="Suspend only after the running stage has ended."
)

OPERATIONS = [
    _operation("reset", "Start a new run from the first stage now."),
    _operation("cancel", "Cancel the open run: it ends as FAILED with exit code 130."),
    _operation("suspend", "Suspend a task until it is resumed.", _WAIT_STAGE),
    _operation("resume", "Resume a suspended task."),
]
