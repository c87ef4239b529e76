"""`kaiju-tasks audit`"""

import click

from kaiju_tasks.cli.output import json_option, moment, print_json, print_table
from kaiju_tasks.cli.remote import call

__all__ = ["audit"]


@click.command(short_help="List who did what to which task or executor.")
@click.option("--action", help="Only this method, as tasks.reset.")
@click.option("--target", help="Only on this task or executor.")
@click.option("--user", "user_id", help="Only of this user.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True)
@json_option
def audit(
    action: str | None,
    target: str | None,
    user_id: str | None,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List who did which operator action when, from where; the newest first."""
    given = {"action": action, "target": target, "user_id": user_id}
    conditions = {name: value for name, value in given.items() if value is not None}
    page = call("audit.list", conditions=conditions, limit=limit, offset=offset)
    if as_json:
        print_json(page)
        return
    columns = ("at", "user_id", "remote", "action", "target", "data")
    rows = [
        (
            moment(record["at"]),
            record["user_id"],
            record["remote"],
            record["action"],
            record["target"],
            record["data"] or None,
        )
        for record in page["data"]
    ]
    print_table(columns, rows, optional=("user_id", "remote", "target", "data"))
    shown = offset + len(rows)
    if shown < page["count"]:
        click.echo(f"{shown} of {page['count']}; --offset {shown} shows more", err=True)
