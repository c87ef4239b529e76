"""`kaiju-tasks notifications …`"""

from typing import Any

import click

from kaiju_tasks.cli.fail import not_found
from kaiju_tasks.cli.files import read_pairs
from kaiju_tasks.cli.output import json_option, moment, print_fields, print_json, print_table
from kaiju_tasks.cli.remote import call

__all__ = ["notifications"]


@click.group()
def notifications() -> None:
    """Look at the notifications of ended runs and dismiss them."""


@notifications.command("list")
@click.option("--all", "everything", is_flag=True, help="The dismissed ones too.")
@click.option("--task", "task_id", help="Only of this task.")
@click.option("--where", multiple=True, metavar="COLUMN=JSON", help="A condition.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True)
@json_option
def list_notifications(
    everything: bool,
    task_id: str | None,
    where: tuple[str, ...],
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List notifications that were not dismissed, the newest first."""
    conditions: dict[str, Any] = {} if everything else {"enabled": True}
    conditions |= dict(read_pairs(where, "--where"))
    if task_id is not None:
        conditions["task_id"] = task_id
    page = call("notifications.list", conditions=conditions, limit=limit, offset=offset)
    if as_json:
        print_json(page)
        return
    rows = [
        (
            note["id"],
            _created(note),
            note["task_id"],
            note["status"],
            note["exit_code"],
            "" if note["enabled"] else "yes",
            (note["error"] or {}).get("message") or note["message"],
        )
        for note in page["data"]
    ]
    columns = ("id", "created", "task_id", "status", "exit_code", "dismissed", "message")
    print_table(columns, rows, optional=("dismissed",))
    shown = offset + len(rows)
    if shown < page["count"]:
        click.echo(f"{shown} of {page['count']}; --offset {shown} shows more", err=True)


@notifications.command()
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> None:
    """Show one notification with the results of its run."""
    note = call("notifications.get", id=id)
    if as_json:
        print_json(note)
    else:
        shown = {**note, "created": _created(note), "error": _error(note)}
        print_fields([(name, value) for name, value in shown.items() if value not in (None, {})])


@notifications.command(short_help="Take a notification off the list.")
@click.argument("id")
@json_option
def dismiss(id: str, as_json: bool) -> None:
    """Take a notification off the list; it stays until it is deleted or too old."""
    note = call("notifications.update", id=id, data={"enabled": False})
    if as_json:
        print_json(note)
    else:
        click.echo("dismissed")


@notifications.command()
@click.argument("id")
@json_option
def delete(id: str, as_json: bool) -> None:
    """Delete a notification."""
    deleted = call("notifications.delete", id=id)
    if not deleted["deleted"]:
        raise not_found(f"there is no notification {id!r}")
    if as_json:
        print_json(deleted)
    else:
        click.echo("deleted")


def _created(note: dict[str, Any]) -> str:
    return moment(note["created"])


def _error(note: dict[str, Any]) -> str | None:
    error = note["error"]
    return None if error is None else f"{error['type']}: {error['message']}"
