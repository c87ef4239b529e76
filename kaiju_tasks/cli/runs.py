"""`kaiju-tasks runs …`"""

from typing import Any

import click

from kaiju_tasks.cli import columns as filtered
from kaiju_tasks.cli.choice import read_where, where_option
from kaiju_tasks.cli.completion import complete_app, complete_task
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.listing import (
    Listing,
    columns_option,
    fields_of,
    page_options,
    print_page,
    read_sort,
)
from kaiju_tasks.cli.output import json_option, print_fields, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.since import read_since, since_option
from kaiju_tasks.cli.stage import brief_stage
from kaiju_tasks.cli.text import ELLIPSIS

__all__ = ["runs"]


def _seconds(run: dict[str, Any]) -> str | None:
    start, end = run["started_at"], run["ended_at"]
    return None if start is None or end is None else f"{end - start:.2f}"


RUNS = Listing(
    columns=(
        "job_id",
        "task_id",
        "status",
        "ended_at",
        "seconds",
        "app_name",
        "executor_id",
        "error",
        "note",
    ),
    important=(
        "task_id",
        "status",
        "error",
        "ended_at",
        "job_id",
        "seconds",
        "note",
        "app_name",
        "executor_id",
    ),
    fields=fields_of("ListedRun"),
    noun="runs",
    sparse=("error", "note"),
    computed={"stage": brief_stage, "seconds": _seconds},
)


@click.group(cls=Group, short_help="List the ended runs of all tasks.")
def runs() -> None:
    """List the ended runs of all tasks. Without a command, list the last ones."""


@runs.command("list")
@click.option("--failed", is_flag=True, help="Only runs that failed.")
@click.option(
    "--app", "app_name", shell_complete=complete_app, help="Only runs of tasks of this stream."
)
@click.option("--group", help="Only runs of tasks of this group.")
@click.option("--task", "task_id", shell_complete=complete_task, help="Only runs of this task.")
@since_option("--since", "since", "Only runs that ended at this time or later.")
@since_option("--until", "until", "Only runs that ended before this time.")
@where_option
@click.option("--sort", help="Comma-separated columns; `-` before a column sorts descending.")
@page_options
@columns_option
@json_option
def list_runs(
    failed: bool,
    app_name: str | None,
    group: str | None,
    task_id: str | None,
    since: str | None,
    until: str | None,
    where: tuple[str, ...],
    sort: str | None,
    limit: int,
    offset: int,
    columns: str | None,
    as_json: bool,
) -> None:
    """List the ended runs and missed fires of all tasks, the last ended first."""
    chosen = RUNS.choose(columns, as_json)
    conditions = read_where(
        where,
        filtered.RUNS,
        status="failed" if failed else None,
        app_name=app_name,
        group=group,
        task_id=task_id,
    )
    bounds = {name: read_since(at) for name, at in (("ge", since), ("lt", until)) if at is not None}
    if bounds and "ended_at" in conditions:
        raise Failed("--since and --until cannot be used with --where ended_at.", USAGE)
    if bounds:
        conditions["ended_at"] = bounds
    params: dict[str, Any] = {"conditions": conditions, "limit": limit, "offset": offset}
    if sort is not None:
        params["sort"] = read_sort(sort)
    page = call("runs.list", **params)
    print_page(page, RUNS, chosen, as_json)


@runs.command()
@click.argument("job_id")
@json_option
def show(job_id: str, as_json: bool) -> None:
    """Show one run, open or ended. `task stages` lists its stages."""
    run = call("runs.get", job_id=_whole(job_id))
    if as_json:
        print_json(run)
    else:
        print_fields([(name, value) for name, value in run.items() if value is not None])


def _whole(job_id: str) -> str:
    """Return the id of the only ended run that a table has shortened to this one."""
    head, ellipsis, tail = job_id.partition(ELLIPSIS)
    if not (ellipsis and head and tail):
        return job_id
    like = f"{_literal(head)}%{_literal(tail)}"
    page = call("runs.list", conditions={"job_id": {"like": like}}, limit=1)
    found: str = page["data"][0]["job_id"] if page["count"] == 1 else job_id
    return found


def _literal(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return text
