"""`kaiju-tasks events`"""

import json
from typing import Any

import click

from kaiju_tasks.cli.fail import CALL_FAILED, NO_MANAGER, Failed, when_interrupted
from kaiju_tasks.cli.files import read_pairs
from kaiju_tasks.cli.output import json_option, moment, one_line
from kaiju_tasks.cli.remote import manager_token, manager_url

__all__ = ["events"]


@click.command(short_help="Print what happens to tasks, until Ctrl-C.")
@click.option("--where", "conditions", multiple=True, metavar="COLUMN=JSON", help="A condition.")
@json_option
def events(conditions: tuple[str, ...], as_json: bool) -> None:
    """Print what happens to tasks, as it happens, until Ctrl-C.

    With --json one object a line. The columns for --where are the fields of an event, as in
    `--where event=task.failed` or `--where group='["a", "b"]'`.
    """
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.errors import KaijuError, Unavailable

    try:
        with when_interrupted("Stopped printing events; the tasks go on."):
            run_loop(_print(dict(read_pairs(conditions, "--where")), as_json))
    except Unavailable as error:
        raise Failed(f"{error}. Is KAIJU_URL right?", NO_MANAGER, error) from error
    except KaijuError as error:
        raise Failed(str(error), CALL_FAILED, error) from error


async def _print(conditions: dict[str, Any], as_json: bool) -> None:
    from kaiju_tasks.client import Client

    async with Client(manager_url(), manager_token()) as client:
        async for event in client.events(conditions):
            click.echo(json.dumps(event, ensure_ascii=False) if as_json else _line(event))


def _line(event: dict[str, Any]) -> str:
    if "id" not in event:
        return one_line(f"{event['event']}: {event['reason']}")
    parts = [moment(event["time"]), f"{event['event']:<14}", event["id"]]
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
