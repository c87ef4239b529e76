"""`kaiju-tasks pauses …`"""

import json
from typing import Any

import click

from kaiju_tasks.cli.completion import complete_app, complete_method, complete_pause
from kaiju_tasks.cli.files import read_json, read_time
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call

__all__ = ["pauses"]


def _holds(pause: dict[str, Any]) -> str:
    names = ("app_name", "group", "group_id", "method")
    held = [f"{name}={pause[name]}" for name in names if pause[name] is not None]
    if pause["condition"] is not None:
        held.append(json.dumps(pause["condition"], ensure_ascii=False))
    return " ".join(held)


def _now(pause: dict[str, Any]) -> str:
    return "held" if pause["active"] else "open"


def _window(pause: dict[str, Any]) -> str | None:
    if pause["cron"] is None:
        return None
    return f"{pause['cron']} {pause['timezone'] or 'UTC'}, {pause['duration']:g} s"


def _fields() -> list[str]:
    return [*fields_of("Pause")(), "active", "next_change"]


PAUSES = Listing(
    columns=("id", "holds", "now", "next_change", "window", "author", "reason"),
    important=("id", "holds", "now", "reason", "next_change", "window", "author"),
    fields=_fields,
    sparse=("next_change", "window", "author"),
    computed={"holds": _holds, "now": _now, "window": _window},
)


@click.group()
def pauses() -> None:
    """Hold streams, groups or methods, and let them go on."""


@pauses.command(short_help="Hold what the options name.")
@click.option("--reason", required=True, help="For people.")
@click.option("--app", "app_name", shell_complete=complete_app, help="This stream.")
@click.option("--group", help="This group.")
@click.option("--group-id", help="This group id.")
@click.option(
    "--method",
    shell_complete=complete_method,
    help="Commands whose method this glob matches; `*` is every one.",
)
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
@columns_option
@json_option
def list_pauses(columns: str | None, as_json: bool) -> None:
    """List pauses."""
    chosen = PAUSES.choose(columns, as_json)
    found = call("pauses.list")
    if as_json:
        print_json(found)
    else:
        PAUSES.print(found, chosen)


@pauses.command()
@click.argument("id", shell_complete=complete_pause)
@json_option
def remove(id: str, as_json: bool) -> None:
    """End a pause: what it holds goes on."""
    removed = call("pauses.remove", id=id)
    if as_json:
        print_json(removed)
    else:
        click.echo("removed")
