"""`kaiju-tasks task list|count|runs|stages`"""

from typing import Any

import click

from kaiju_tasks.cli.choice import choice_options, read_choice
from kaiju_tasks.cli.completion import complete_task
from kaiju_tasks.cli.fail import USAGE, Failed, not_found
from kaiju_tasks.cli.ids import call_with_id
from kaiju_tasks.cli.listing import (
    Listing,
    columns_option,
    fields_of,
    page_options,
    print_page,
    read_sort,
)
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.since import read_since, since_option
from kaiju_tasks.cli.stage import brief_stage

__all__ = ["COMMANDS", "LISTS"]


def _seconds(entry: dict[str, Any]) -> str | None:
    start, end = entry["started_at"], entry["ended_at"]
    return None if start is None or end is None else f"{end - start:.2f}"


def _labels(entry: dict[str, Any]) -> str | None:
    found = entry.get("labels") or {}
    return ", ".join(f"{key}={value}" for key, value in sorted(found.items())) or None


TASKS = Listing(
    columns=(
        "id",
        "app_name",
        "status",
        "status_reason",
        "stage",
        "exit_code",
        "error",
        "next_run",
        "labels",
        "description",
    ),
    important=(
        "id",
        "status",
        "error",
        "exit_code",
        "next_run",
        "status_reason",
        "stage",
        "app_name",
        "labels",
        "description",
    ),
    fields=lambda: [*fields_of("Task")(), "method"],
    noun="tasks",
    sparse=("status_reason", "exit_code", "error", "next_run", "labels", "description"),
    computed={"stage": brief_stage, "labels": _labels},
)
FAILED = Listing(
    columns=("id", "since", "app_name", "stage", "method", "error"),
    important=("id", "error", "method", "since", "stage", "app_name"),
    fields=TASKS.known,
    noun="failed tasks",
    computed={"stage": brief_stage},
)
EXPLAINED = Listing(
    columns=("id", "status", "since", "why"),
    important=("id", "why", "since", "status"),
    fields=lambda: [*TASKS.known(), "why"],
    noun="tasks",
    computed={"stage": brief_stage, "labels": _labels},
)
EXPLAINED_AT_ONCE = 100
RUNS = Listing(
    columns=(
        "job_id",
        "status",
        "started_at",
        "ended_at",
        "exit_code",
        "retries",
        "error",
        "note",
    ),
    important=(
        "job_id",
        "status",
        "error",
        "exit_code",
        "started_at",
        "ended_at",
        "note",
        "retries",
    ),
    fields=fields_of("Run"),
    noun="runs",
    sparse=("error", "note"),
    computed={"stage": brief_stage, "seconds": _seconds},
)
STAGES = Listing(
    columns=(
        "stage",
        "method",
        "attempt",
        "outcome",
        "started_at",
        "seconds",
        "executor_id",
        "result",
        "error",
    ),
    important=(
        "stage",
        "method",
        "outcome",
        "error",
        "attempt",
        "result",
        "seconds",
        "started_at",
        "executor_id",
    ),
    fields=fields_of("StageRecord"),
    noun="ended stages",
    sparse=("result", "error"),
    computed={"seconds": _seconds},
)
INBOX = Listing(
    columns=("message_id", "at", "sender", "state", "name", "data"),
    important=("message_id", "state", "at", "data", "name", "sender"),
    fields=fields_of("InboxEntry"),
    noun="messages",
    sparse=("sender", "name"),
)
VERSIONS = Listing(
    columns=("rev", "at", "user_id", "changed", "reason"),
    important=("rev", "changed", "at", "user_id", "reason"),
    fields=fields_of("TaskVersion"),
    noun="versions",
    sparse=("user_id", "reason"),
    computed={"changed": lambda version: ", ".join(version["changed"])},
)
FAMILY = Listing(
    columns=("task", "status", "status_reason", "stage", "since", "app_name", "next_task"),
    important=("task", "status", "stage", "since", "status_reason", "app_name", "next_task"),
    fields=fields_of("FamilyMember"),
    noun="tasks",
    sparse=("status_reason", "next_task"),
    computed={"stage": brief_stage, "task": lambda member: "  " * member["depth"] + member["id"]},
)
COMMANDS = Listing(
    columns=("stage", "name", "method", "result"),
    important=("stage", "method", "result", "name"),
    fields=tuple,
    sparse=("name",),
)


@click.command("list")
@choice_options
@click.option(
    "--failed",
    is_flag=True,
    help="Only failed tasks, last failed first: where they failed, and why.",
)
@click.option(
    "--why",
    is_flag=True,
    help="For each task, why it is not running now: what it waits for, who holds it.",
)
@since_option("--since", "since", "Only tasks that came to their status at this time or later.")
@click.option("--sort", help="Comma-separated columns; `-` before a column sorts descending.")
@page_options
@columns_option
@json_option
def list_tasks(
    status: str | None,
    app_name: str | None,
    group: str | None,
    where: tuple[str, ...],
    failed: bool,
    why: bool,
    since: str | None,
    sort: str | None,
    limit: int,
    offset: int,
    columns: str | None,
    as_json: bool,
) -> None:
    """List tasks, newest first."""
    if failed and status is not None:
        raise Failed("--failed cannot be used with --status.", USAGE)
    if failed and why:
        raise Failed("--failed cannot be used with --why: the error is why a task failed.", USAGE)
    listing = FAILED if failed else EXPLAINED if why else TASKS
    chosen = listing.choose(columns, as_json)
    conditions = read_choice("failed" if failed else status, app_name, group, where)
    if since is not None and "status_change" in conditions:
        raise Failed("--since cannot be used with --where status_change.", USAGE)
    if since is not None:
        conditions["status_change"] = {"ge": read_since(since)}
    params: dict[str, Any] = {"conditions": conditions, "limit": limit, "offset": offset}
    if sort is not None:
        params["sort"] = read_sort(sort)
    elif failed:
        params["sort"] = ["-status_change"]
    if not as_json and (chosen is not None or failed):
        shown = {name.partition(".")[0] for name in chosen or FAILED.columns}
        params["columns"] = sorted((shown - {"why"}) | {"id", "stages"})
    page = call("tasks.list", **params)
    if why:
        _explain(page["data"])
    print_page(page, listing, chosen, as_json)


def _explain(tasks: list[dict[str, Any]]) -> None:
    """Add to each task why it is not running now. One that was deleted meanwhile has no reason."""
    for first in range(0, len(tasks), EXPLAINED_AT_ONCE):
        some = tasks[first : first + EXPLAINED_AT_ONCE]
        found = call("tasks.m_explain", ids=[task["id"] for task in some])
        reasons = {one["id"]: one["reasons"][0]["message"] for one in found}
        for task in some:
            task["why"] = reasons.get(task["id"])


@click.command()
@choice_options
@json_option
def count(
    status: str | None,
    app_name: str | None,
    group: str | None,
    where: tuple[str, ...],
    as_json: bool,
) -> None:
    """Count tasks."""
    counted = call("tasks.count", conditions=read_choice(status, app_name, group, where))
    if as_json:
        print_json(counted)
    else:
        click.echo(counted["count"])


@click.command()
@click.argument("id", shell_complete=complete_task)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="The most runs to list.",
)
@columns_option
@json_option
def runs(id: str, limit: int, columns: str | None, as_json: bool) -> None:
    """List the runs of a task, newest first."""
    chosen = RUNS.choose(columns, as_json)
    found = call_with_id("tasks.runs", id, limit=limit)
    if as_json:
        print_json(found)
    else:
        RUNS.print(found, chosen)


@click.command()
@click.argument("id", shell_complete=complete_task)
@click.option("--job-id", help="A run from `task runs`. Default: the latest run.")
@columns_option
@json_option
def stages(id: str, job_id: str | None, columns: str | None, as_json: bool) -> None:
    """List the ended attempts of a run's stages, oldest first."""
    chosen = STAGES.choose(columns, as_json)
    of_run = job_id or call_with_id("tasks.get", id)["job_id"]
    found = [] if of_run is None else call("tasks.stages", job_id=of_run)
    if job_id is not None and job_id not in [
        run["job_id"] for run in call_with_id("tasks.runs", id)
    ]:
        raise not_found(f"The task {id!r} has no run {job_id!r}. `task runs` lists its runs.")
    if as_json:
        print_json(found)
    else:
        STAGES.print(found, chosen)


@click.command()
@click.argument("id", shell_complete=complete_task)
@columns_option
@json_option
def inbox(id: str, columns: str | None, as_json: bool) -> None:
    """List the messages that the open or the next run of a task has received."""
    chosen = INBOX.choose(columns, as_json)
    found = call_with_id("tasks.inbox", id)
    if as_json:
        print_json(found)
    else:
        INBOX.print(found, chosen)


@click.command(short_help="List the versions of a task's definition, newest first.")
@click.argument("id", shell_complete=complete_task)
@click.option(
    "--rev", type=click.IntRange(1), help="Print the definition of this version, as JSON."
)
@columns_option
@json_option
def versions(id: str, rev: int | None, columns: str | None, as_json: bool) -> None:
    """List the versions of a task's definition, newest first: who has made them, when, and which
    fields they have changed.

    Earlier versions are kept as long as runs that have used them, but at most 100 of them.
    """
    chosen = VERSIONS.choose(columns, as_json)
    if rev is None:
        found = call_with_id("tasks.versions", id)
        if as_json:
            print_json(found)
        else:
            VERSIONS.print(found, chosen)
        return
    listed = call_with_id("tasks.versions", id, before=rev + 1, limit=1)
    if not listed or listed[0]["rev"] != rev:
        raise not_found(f"The task {id!r} has no version {rev}. `task versions` lists them.")
    print_json(listed[0] if as_json else listed[0]["definition"])


@click.command()
@click.argument("id", shell_complete=complete_task)
@columns_option
@json_option
def family(id: str, columns: str | None, as_json: bool) -> None:
    """List the tasks by whose stages a task was created, and all that these have created."""
    chosen = FAMILY.choose(columns, as_json)
    found = call_with_id("tasks.family", id)
    if as_json:
        print_json(found)
        return
    FAMILY.print(_as_tree(found["data"]), chosen)
    if found["more"]:
        click.echo("and more tasks", err=True)


def _as_tree(members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put each task after the one that created it."""
    created: dict[str | None, list[dict[str, Any]]] = {}
    for member in members[1:]:
        created.setdefault(member["parent_id"], []).append(member)
    ordered, left = [], members[:1]
    while left:
        member = left.pop()
        ordered.append(member)
        left += reversed(created.pop(member["id"], []))
    return ordered


LISTS = [list_tasks, count, runs, stages, inbox, versions, family]
