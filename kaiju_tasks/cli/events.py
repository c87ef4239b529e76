"""`kaiju-tasks events`"""

import json
from typing import Any

import click

from kaiju_tasks.cli.choice import read_where, where_option
from kaiju_tasks.cli.fail import NO_MANAGER, Failed
from kaiju_tasks.cli.output import json_option
from kaiju_tasks.cli.remote import manager_token, manager_url
from kaiju_tasks.cli.text import one_line
from kaiju_tasks.times import show_time

__all__ = ["events"]


@click.command(short_help="Print what happens to tasks, until Ctrl-C.")
@where_option
@json_option
def events(where: tuple[str, ...], as_json: bool) -> None:
    """Print what happens to tasks, as it happens, until Ctrl-C.

    With --json one object a line. The columns for --where are the fields of an event, as in
    `--where event=task.failed` or `--where group='["a", "b"]'`.
    """
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.errors import KaijuError, Unavailable

    try:
        run_loop(_print(read_where(where), as_json))
    except KeyboardInterrupt:
        return
    except Unavailable as error:
        raise Failed(f"{error}. Is KAIJU_URL right?", NO_MANAGER) from error
    except KaijuError as error:
        raise Failed(str(error)) from error


async def _print(conditions: dict[str, Any], as_json: bool) -> None:
    from kaiju_tasks.client import Client

    async with Client(manager_url(), manager_token()) as client:
        async for event in client.events(conditions):
            click.echo(json.dumps(event, ensure_ascii=False) if as_json else _line(event))


def _line(event: dict[str, Any]) -> str:
    if "id" not in event:
        return one_line(f"{event['event']}: {event['reason']}")
    parts = [show_time(event["time"]), f"{event['event']:<14}", event["id"]]
    parts.append(f"stage {event['stage']} of {event['stages']}")
    if event["status_reason"]:
        parts.append(f"({event['status_reason']})")
    if event["data"] is not None:
        parts.append(_summary(event["event"], event["data"]))
    return one_line("  ".join(parts))


def _summary(event: str, data: dict[str, Any]) -> str:
    if event == "task.progress":
        total = "" if data["total"] is None else f" of {data['total']:g}"
        return f"{data['done']:g}{total} {data['message'] or ''}".rstrip()
    if event == "task.stage":
        return f"{data['name'] or data['method']} {data['outcome'].lower()}"
    return f"{data['type']}: {data['message']}"
