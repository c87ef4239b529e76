"""`kaiju-tasks mark …`"""

import click

from kaiju_tasks.cli.completion import complete_app
from kaiju_tasks.cli.files import read_time
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.since import read_since, since_option

__all__ = ["MARKS", "mark"]

MARKS = Listing(
    columns=("at", "label", "app_name", "user_id"),
    important=("at", "label", "app_name", "user_id"),
    fields=fields_of("Mark"),
    noun="marks",
    sparse=("app_name", "user_id"),
)


@click.group(cls=Group, short_help="List and add notes on the time line, such as deploys.")
def mark() -> None:
    """List and add notes on the time line, such as deploys. Without a command, list them."""


@mark.command("list")
@since_option("--from", "start", "Only marks of this time or later.")
@since_option("--to", "end", "Only marks before this time.")
@columns_option
@json_option
def list_marks(start: str | None, end: str | None, columns: str | None, as_json: bool) -> None:
    """List the last 100 marks of a time, the last first."""
    chosen = MARKS.choose(columns, as_json)
    times = {
        name: read_since(at) for name, at in (("start", start), ("end", end)) if at is not None
    }
    found = call("marks.list", **times)
    if as_json:
        print_json(found)
    else:
        MARKS.print(found, chosen)


@mark.command()
@click.argument("label")
@click.option("--at", metavar="TIME", help="UNIX seconds or ISO-8601. Default: now.")
@click.option("--app", "app_name", shell_complete=complete_app, help="Only this stream.")
@json_option
def add(label: str, at: str | None, app_name: str | None, as_json: bool) -> None:
    """Add a mark with a LABEL, such as "v2.3"."""
    params = {} if at is None else {"at": read_time(at)}
    added = call("marks.add", label=label, app_name=app_name, **params)
    if as_json:
        print_json(added)
    else:
        click.echo("added")
