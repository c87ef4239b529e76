"""`kaiju-tasks pauses …`"""

import json
from typing import Any

import click

from kaiju_tasks.cli.files import read_json, read_time
from kaiju_tasks.cli.output import json_option, moment, print_json, print_table
from kaiju_tasks.cli.remote import call

__all__ = ["pauses"]

COLUMNS = ("id", "holds", "now", "changes", "window", "author", "reason")


@click.group()
def pauses() -> None:
    """Hold streams, groups or methods, and let them go on."""


@pauses.command(short_help="Hold what the options name.")
@click.option("--reason", required=True, help="For people.")
@click.option("--app", "app_name", help="This stream.")
@click.option("--group", help="This group.")
@click.option("--group-id", help="This group id.")
@click.option("--method", help="Commands whose method this glob matches; `*` is every one.")
@click.option("--condition", metavar="JSON", help="Of kws and literal params.")
@click.option("--until", metavar="TIME", help="UNIX time or ISO-8601; it is over for good then.")
@click.option("--cron", help="Only in windows that begin at these moments.")
@click.option("--duration", type=float, help="Seconds that a window lasts.")
@click.option("--timezone", help="Of --cron and --until; default UTC.")
@click.option("--stop-running", is_flag=True, help="Take running stages back too.")
@click.option("--author", help="Who wants it; a token's owner is its own author.")
@click.option("--id", help="Made up when absent.")
@json_option
def add(as_json: bool, condition: str | None, until: str | None, **fields: Any) -> None:
    """Hold tasks in their streams; all that is given has to be met. What runs is left alone."""
    params = {name: value for name, value in fields.items() if value not in (None, False)}
    if condition is not None:
        params["condition"] = read_json(condition, "--condition")
    if until is not None:
        params["until"] = read_time(until)
    made = call("pauses.add", **params)
    if as_json:
        print_json(made)
    else:
        click.echo(made["id"])


@pauses.command("list")
@json_option
def list_pauses(as_json: bool) -> None:
    """List pauses."""
    found = call("pauses.list")
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, [_row(pause) for pause in found], optional=("window", "author"))


@pauses.command()
@click.argument("id")
@json_option
def remove(id: str, as_json: bool) -> None:
    """End a pause: what it holds goes on."""
    removed = call("pauses.remove", id=id)
    if as_json:
        print_json(removed)
    else:
        click.echo("removed")


def _row(pause: dict[str, Any]) -> list[Any]:
    window = ""
    if pause["cron"] is not None:
        window = f"{pause['cron']} {pause['timezone'] or 'UTC'}, {pause['duration']:g} s"
    return [
        pause["id"],
        _holds(pause),
        "held" if pause["active"] else "open",
        moment(pause["next_change"]),
        window,
        pause["author"],
        pause["reason"],
    ]


def _holds(pause: dict[str, Any]) -> str:
    names = ("app_name", "group", "group_id", "method")
    parts = [f"{name}={pause[name]}" for name in names if pause[name] is not None]
    if pause["condition"] is not None:
        parts.append(json.dumps(pause["condition"], ensure_ascii=False))
    return " ".join(parts)
