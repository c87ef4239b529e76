"""`kaiju-tasks audit`"""

import click

from kaiju_tasks.cli import columns as filtered
from kaiju_tasks.cli.choice import read_where, where_option
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of, page_options, print_page
from kaiju_tasks.cli.output import json_option
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.since import read_since, since_option

__all__ = ["audit"]

AUDIT = Listing(
    columns=("at", "user_id", "remote", "action", "target", "data"),
    important=("at", "action", "target", "user_id", "data", "remote"),
    fields=fields_of("AuditRecord"),
    noun="audit records",
    sparse=("user_id", "remote", "target", "data"),
    computed={"data": lambda record: record["data"] or None},
)


@click.command(short_help="List the actions of operators.")
@click.option("--action", help="Only actions of this method, for example tasks.reset.")
@click.option("--target", help="Only actions on this task or executor.")
@click.option("--user", "user_id", help="Only actions of this user.")
@since_option("--since", "since", "Only actions at this time or later.")
@where_option
@page_options
@columns_option
@json_option
def audit(
    action: str | None,
    target: str | None,
    user_id: str | None,
    since: str | None,
    where: tuple[str, ...],
    limit: int,
    offset: int,
    columns: str | None,
    as_json: bool,
) -> None:
    """List the actions of operators, newest first: time, user, address, method and target."""
    chosen = AUDIT.choose(columns, as_json)
    conditions = read_where(where, filtered.AUDIT, action=action, target=target, user_id=user_id)
    if since is not None and "at" in conditions:
        raise Failed("--since cannot be used with --where at.", USAGE)
    if since is not None:
        conditions["at"] = {"ge": read_since(since)}
    page = call("audit.list", conditions=conditions, limit=limit, offset=offset)
    print_page(page, AUDIT, chosen, as_json)
