"""`kaiju-tasks task reset|cancel|suspend|resume`: of one task, or of all that match."""

from typing import Any

import click

from kaiju_tasks.cli.choice import choice_options, read_choice
from kaiju_tasks.cli.completion import complete_task
from kaiju_tasks.cli.fail import USAGE, Failed, when_interrupted
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.text import one_line

__all__ = ["OPERATIONS", "print_status", "progress_line"]


def progress_line(task_: dict[str, Any]) -> str:
    """Where a task stands."""
    reason = f" ({task_['status_reason']})" if task_["status_reason"] else ""
    stage = f"stage {task_['stage']} of {task_['stages']}"
    return one_line(f"{task_['id']}: {task_['status']}{reason}, {stage}")


def print_status(task_: dict[str, Any], as_json: bool) -> None:
    """Print where a task stands, or all of it as JSON."""
    if as_json:
        print_json(task_)
    else:
        click.echo(progress_line(task_))


def _operation(name: str, text: str, *options: Any) -> click.Command:
    @click.argument("id", required=False, shell_complete=complete_task)
    @choice_options
    @click.option("--dry-run", is_flag=True, help="Only count the tasks and show a few.")
    @click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Tasks per second.")
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
            print_status(call(f"tasks.{name}", id=id, **more), as_json)
            return
        if rate is not None:
            more["rate"] = rate
        with when_interrupted(_bulk_goes_on(name, dry_run)):
            result = call(f"tasks.m_{name}", conditions=conditions, dry_run=dry_run, **more)
        if as_json:
            print_json(result)
        else:
            _print_result(result, dry_run)

    for option in options:
        operate = option(operate)
    help_text = f"{text}\n\nWithout an ID: of all tasks that --status, --app, --group, --where say."
    return click.command(name, help=help_text, short_help=text)(operate)


def _bulk_goes_on(name: str, dry_run: bool) -> str:
    if dry_run:
        return "Interrupted; nothing was changed."
    return (
        f"Interrupted; the manager goes on with `tasks.m_{name}`. "
        "The same command with --dry-run counts the tasks that still match."
    )


def _check(id: str | None, conditions: dict[str, Any], *, bulk_only: bool) -> None:
    if id is None and not conditions:
        raise Failed(
            "Give the ID of a task, or say which tasks: --status, --app, --group, --where. "
            """All of them are --where id='{"like": "%"}'.""",
            USAGE,
        )
    if id is not None and conditions:
        raise Failed("Give an ID, or say which tasks; not both.", USAGE)
    if id is not None and bulk_only:
        raise Failed("--dry-run and --rate are for many tasks, not for one ID.", USAGE)


def _print_result(result: dict[str, Any], dry_run: bool) -> None:
    matched = result["matched"]
    if dry_run:
        click.echo(f"{matched} match; nothing was changed")
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
        click.echo("the manager goes on with what is pending", err=True)


_WAIT_STAGE = click.option("--wait-stage", is_flag=True, help="Let the running stage end first.")

OPERATIONS = [
    _operation("reset", "Start a new run from the first stage, now."),
    _operation("cancel", "End the open run: FAILED, exit code 130."),
    _operation("suspend", "Hold a task until it is resumed.", _WAIT_STAGE),
    _operation("resume", "Lift a hold."),
]
