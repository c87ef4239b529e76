"""`kaiju-tasks events`"""

from typing import TYPE_CHECKING, Any

import click

from kaiju_tasks.cli import columns as filtered
from kaiju_tasks.cli.choice import read_where, where_option
from kaiju_tasks.cli.fail import when_interrupted
from kaiju_tasks.cli.following import follow, retry_option
from kaiju_tasks.cli.output import json_option, json_text
from kaiju_tasks.cli.stage import stage_of
from kaiju_tasks.cli.text import one_line
from kaiju_tasks.times import show_time

if TYPE_CHECKING:
    from kaiju_tasks.client import Client

__all__ = ["events"]


@click.command(short_help="Print the events of tasks until Ctrl-C.")
@where_option
@retry_option
@json_option
def events(where: tuple[str, ...], retry_seconds: float, as_json: bool) -> None:
    """Print the events of tasks as they happen, until Ctrl-C.

    With --json, each event is one JSON object on a line. --where filters by the fields of an event,
    for example `--where event=task.failed` or `--where group='["a", "b"]'`. If the manager
    restarts, the command waits for it, and prints `events.lost` if events may be missing.
    """
    conditions = read_where(where, filtered.EVENTS)
    with when_interrupted("Stopped printing events. The tasks continue."):
        follow(lambda client: _print(client, conditions, as_json), retry_seconds)


async def _print(client: "Client", conditions: dict[str, Any], as_json: bool) -> None:
    async for event in client.events(conditions):
        click.echo(json_text(event) if as_json else _line(event))


OF_ATTEMPTS = ("task.stage", "task.attempt_failed")


def _line(event: dict[str, Any]) -> str:
    if "id" not in event:
        return one_line(f"{event['event']}: {event['reason']}")
    parts = [show_time(event["time"]), f"{event['event']:<14}", event["id"]]
    ended = event["data"]["stage"] if event["event"] in OF_ATTEMPTS else event["stage"]
    parts.append(stage_of({**event, "stage": ended}))
    if event["status_reason"]:
        parts.append(f"({event['status_reason']})")
    if event["data"] is not None:
        parts.append(_summary(event["event"], event["data"]))
    return one_line("  ".join(parts))


def _summary(event: str, data: dict[str, Any]) -> str:
    if event == "task.progress":
        total = "" if data["total"] is None else f" of {data['total']:g}"
        return f"{data['done']:g}{total} {data['message'] or ''}".rstrip()
    if event == "task.log":
        return data["message"] or ""
    if event == "task.stage":
        return f"{data['name'] or data['method']} {data['outcome'].lower()}"
    if event == "task.attempt_failed":
        what = f"attempt {data['attempt']} of {data['name'] or data['method']}"
        end = "was lost" if data["type"] is None else f"failed: {data['type']}: {data['message']}"
        return f"{what} {end}"
    return f"{data['type']}: {data['message']}"
