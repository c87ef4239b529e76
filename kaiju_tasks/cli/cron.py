"""`kaiju-tasks cron …`"""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from kaiju_tasks.cli.files import read_time
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.times import show_time

__all__ = ["cron"]


@click.group()
def cron() -> None:
    """Look at schedules."""


@cron.command(short_help="Show the next fires of a cron EXPRESSION.")
@click.argument("expression")
@click.option("--timezone", default="UTC", show_default=True, help="An IANA zone.")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--after", metavar="TIME", help="UNIX time or ISO-8601; default now.")
@json_option
def preview(expression: str, timezone: str, count: int, after: str | None, as_json: bool) -> None:
    """Show the next fires of a cron EXPRESSION (in quotes), in the time of its zone."""
    params = {} if after is None else {"after": read_time(after)}
    fires = call("cron.preview", cron=expression, timezone=timezone, n=count, **params)
    if as_json:
        print_json(fires)
    else:
        for fire in fires:
            click.echo(show_time(fire, _zone(timezone)))


def _zone(name: str) -> tzinfo:
    """The zone, or UTC where only the manager's machine knows it."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
