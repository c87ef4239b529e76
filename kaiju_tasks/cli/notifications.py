"""`kaiju-tasks notifications …`"""

from typing import Any

import click

from kaiju_tasks.cli import columns as filtered
from kaiju_tasks.cli.choice import read_where, where_option
from kaiju_tasks.cli.completion import complete_notification, complete_task
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.ids import call_with_id
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of, page_options, print_page
from kaiju_tasks.cli.output import json_option, print_fields, print_json
from kaiju_tasks.cli.remote import call

__all__ = ["notifications"]


def _dismissed(note: dict[str, Any]) -> str | None:
    return None if note["enabled"] else "yes"


def _message(note: dict[str, Any]) -> Any:
    return (note["error"] or {}).get("message") or note["message"]


NOTIFICATIONS = Listing(
    columns=("id", "created", "task_id", "status", "exit_code", "dismissed", "message"),
    important=("id", "task_id", "status", "message", "exit_code", "created", "dismissed"),
    fields=fields_of("Notification"),
    noun="notifications",
    sparse=("dismissed",),
    computed={"dismissed": _dismissed, "message": _message},
)


@click.group(cls=Group, short_help="List the notifications of ended runs and dismiss them.")
def notifications() -> None:
    """List the notifications of ended runs and dismiss them. Without a command, list them."""


@notifications.command("list")
@click.option("--all", "everything", is_flag=True, help="Include dismissed notifications.")
@click.option(
    "--task", "task_id", shell_complete=complete_task, help="Only notifications of this task."
)
@where_option
@page_options
@columns_option
@json_option
def list_notifications(
    everything: bool,
    task_id: str | None,
    where: tuple[str, ...],
    limit: int,
    offset: int,
    columns: str | None,
    as_json: bool,
) -> None:
    """List the notifications that were not dismissed, newest first."""
    chosen = NOTIFICATIONS.choose(columns, as_json)
    conditions = read_where(where, filtered.NOTIFICATIONS, task_id=task_id)
    if not everything:
        conditions.setdefault("enabled", True)
    page = call("notifications.list", conditions=conditions, limit=limit, offset=offset)
    print_page(page, NOTIFICATIONS, chosen, as_json)


@notifications.command()
@click.argument("id", shell_complete=complete_notification)
@json_option
def show(id: str, as_json: bool) -> None:
    """Show one notification with the results of its run."""
    note = call_with_id("notifications.get", id)
    if as_json:
        print_json(note)
    else:
        print_fields([(name, value) for name, value in note.items() if value not in (None, {})])


@notifications.command(short_help="Dismiss a notification.")
@click.argument("id", shell_complete=complete_notification)
@json_option
def dismiss(id: str, as_json: bool) -> None:
    """Dismiss a notification.

    It is no longer listed, but kept until it is deleted or older than retention_days.
    """
    note = call_with_id("notifications.update", id, data={"enabled": False})
    if as_json:
        print_json(note)
    else:
        click.echo("dismissed")


@notifications.command()
@click.argument("id", shell_complete=complete_notification)
@json_option
def delete(id: str, as_json: bool) -> None:
    """Delete a notification."""
    deleted = call_with_id("notifications.delete", id)
    if as_json:
        print_json(deleted)
    else:
        click.echo("deleted")
