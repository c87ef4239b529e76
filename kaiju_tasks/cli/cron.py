"""`kaiju-tasks cron …`"""

import click

from kaiju_tasks.cli.output import json_option, moment, print_json
from kaiju_tasks.cli.remote import call

__all__ = ["cron"]


@click.group()
def cron() -> None:
    """Look at schedules."""


@cron.command(short_help="Show the next fires of a cron EXPRESSION.")
@click.argument("expression")
@click.option("--timezone", default="UTC", show_default=True, help="An IANA zone.")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True)
@json_option
def preview(expression: str, timezone: str, count: int, as_json: bool) -> None:
    """Show the next fires of a cron EXPRESSION (in quotes), in the time of its zone."""
    fires = call("cron.preview", cron=expression, timezone=timezone, n=count)
    if as_json:
        print_json(fires)
    else:
        for fire in fires:
            click.echo(moment(fire, timezone))
