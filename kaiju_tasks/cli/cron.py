"""`kaiju-tasks cron …`"""

import shlex
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from kaiju_tasks.cli.completion import complete_app
from kaiju_tasks.cli.files import read_time
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.times import show_time

__all__ = ["cron"]


UPCOMING = Listing(
    columns=("at", "id", "app_name", "status", "cron", "every", "description"),
    important=("at", "id", "status", "app_name", "cron", "every", "description"),
    fields=fields_of("ComingFire"),
    noun="fires",
    sparse=("cron", "every", "description"),
)


def _preview_of(word: str) -> str:
    if word.isalpha():
        return ""
    expression = word if " " in word else "0 9 * * 1-5"  # a part of an expression without quotes
    quoted = shlex.quote(expression)
    return f"To show the fires of an expression, use `kaiju-tasks cron preview {quoted}`."


@click.group(cls=Group, hint=_preview_of)
def cron() -> None:
    """Inspect schedules."""


@cron.command(short_help="Show the next fires of a cron EXPRESSION.")
@click.argument("expression")
@click.option("--timezone", default="UTC", show_default=True, help="An IANA time zone.")
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="The number of fires to show.",
)
@click.option("--after", metavar="TIME", help="UNIX seconds or ISO-8601. Default: now.")
@json_option
def preview(expression: str, timezone: str, count: int, after: str | None, as_json: bool) -> None:
    """Show the next fires of a cron EXPRESSION in its time zone. Put EXPRESSION in quotes."""
    params = {} if after is None else {"after": read_time(after)}
    fires = call("cron.preview", cron=expression, timezone=timezone, n=count, **params)
    if as_json:
        print_json(fires)
    else:
        for fire in fires:
            click.echo(show_time(fire, _zone(timezone)))


@cron.command()
@click.option("--app", "app_name", shell_complete=complete_app, help="Only tasks of this stream.")
@click.option("--from", "start", metavar="TIME", help="UNIX seconds or ISO-8601. Default: now.")
@click.option("--to", "end", metavar="TIME", help="The same. Default: a day later.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="The most fires to list.",
)
@columns_option
@json_option
def upcoming(
    app_name: str | None,
    start: str | None,
    end: str | None,
    limit: int,
    columns: str | None,
    as_json: bool,
) -> None:
    """List the coming fires of schedules, in their order."""
    chosen = UPCOMING.choose(columns, as_json)
    times = {name: read_time(at) for name, at in (("start", start), ("end", end)) if at is not None}
    conditions = {} if app_name is None else {"app_name": app_name}
    found = call("schedules.upcoming", conditions=conditions, limit=limit, **times)
    if as_json:
        print_json(found)
        return
    UPCOMING.print(found["data"], chosen)
    if found["more"]:
        click.echo("and more fires; --limit lists more of them", err=True)


def _zone(name: str) -> tzinfo:
    """Return the time zone, or UTC if only the manager's machine knows the zone."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
