"""`kaiju-tasks bulk …`"""

from typing import Any

import click

from kaiju_tasks.cli import columns as filtered
from kaiju_tasks.cli.choice import read_where, where_option
from kaiju_tasks.cli.completion import complete_bulk
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.ids import call_with_id
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of, page_options, print_page
from kaiju_tasks.cli.many import follow as follow_call
from kaiju_tasks.cli.many import raise_end
from kaiju_tasks.cli.output import json_option, print_fields, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.text import one_line

__all__ = ["bulk"]

BULKS = Listing(
    columns=(
        "id",
        "method",
        "state",
        "started",
        "done",
        "refused",
        "pending",
        "user_id",
        "reason",
    ),
    important=(
        "id",
        "state",
        "method",
        "pending",
        "done",
        "refused",
        "started",
        "user_id",
        "reason",
    ),
    fields=fields_of("BulkCall"),
    noun="bulk calls",
    sparse=("user_id", "reason"),
)
APART = ("refusals", "errors", "sample")


@click.group(cls=Group, short_help="List, show and stop calls that act on many tasks.")
def bulk() -> None:
    """List, show and stop calls that act on many tasks. Without a command, list them."""


@bulk.command("list")
@click.option("--running", is_flag=True, help="Only calls that go on.")
@where_option
@page_options
@columns_option
@json_option
def list_bulks(
    running: bool,
    where: tuple[str, ...],
    limit: int,
    offset: int,
    columns: str | None,
    as_json: bool,
) -> None:
    """List bulk calls, newest first."""
    chosen = BULKS.choose(columns, as_json)
    conditions = read_where(where, filtered.BULKS, state="RUNNING" if running else None)
    page = call("bulk.list", conditions=conditions, limit=limit, offset=offset)
    print_page(page, BULKS, chosen, as_json)


@bulk.command()
@click.argument("id", shell_complete=complete_bulk)
@click.option("--follow", "-f", is_flag=True, help="Show the progress until the call ends.")
@json_option
def show(id: str, follow: bool, as_json: bool) -> None:
    """Show a bulk call: its conditions, its progress, and why tasks were refused."""
    found = call_with_id("bulk.get", id)
    if follow and found["state"] == "RUNNING":
        found = follow_call(found["method"], id, found)
    _print(found, as_json)
    if follow:
        raise_end(found)


@bulk.command()
@click.argument("id", shell_complete=complete_bulk)
@click.option("--reason", help="Why, for people; it is kept in the audit.")
@json_option
def stop(id: str, reason: str | None, as_json: bool) -> None:
    """Stop a bulk call. Tasks that it has handled stay as they are."""
    more = {} if reason is None else {"reason": reason}
    _print(call_with_id("bulk.stop", id, **more), as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            (name, value)
            for name, value in found.items()
            if name not in APART and value not in (None, {})
        ]
    )
    for one in found["refusals"]:
        status = f" {one['status']}" if one["status"] else ""
        click.echo(one_line(f"refused{status}: {one['count']}: {one['message']}"))
