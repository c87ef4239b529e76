"""`kaiju-tasks streams`"""

from typing import Any

import click

from kaiju_tasks.cli.listing import Listing, columns_option, fields_of
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call

__all__ = ["STREAMS", "streams"]


def _held(stream: dict[str, Any]) -> str | None:
    """How many tasks are held for which reason, such as "paused 12"."""
    return ", ".join(f"{why} {number}" for why, number in sorted(stream["held"].items())) or None


def _wait(name: str) -> Any:
    def shown(stream: dict[str, Any]) -> str | None:
        seconds = stream[name]
        return None if seconds is None else f"{seconds:.2f}"

    return shown


STREAMS = Listing(
    columns=(
        "app_name",
        "ready",
        "oldest_ready",
        "running",
        "waiting",
        "held",
        "executors",
        "capacity",
        "free",
        "wait_p50",
        "wait_p95",
    ),
    important=(
        "app_name",
        "ready",
        "running",
        "free",
        "held",
        "oldest_ready",
        "waiting",
        "wait_p95",
        "executors",
        "wait_p50",
        "capacity",
    ),
    fields=fields_of("StreamInfo"),
    noun="streams",
    sparse=("oldest_ready", "held", "wait_p50", "wait_p95"),
    computed={"held": _held, "wait_p50": _wait("wait_p50"), "wait_p95": _wait("wait_p95")},
)


@click.command()
@columns_option
@json_option
def streams(columns: str | None, as_json: bool) -> None:
    """List the streams: tasks that wait, run or are held, and room on executors.

    WAIT_P50 and WAIT_P95 are seconds: half of the last runs waited no longer for an executor, and
    95 % of them.
    """
    chosen = STREAMS.choose(columns, as_json)
    found = call("streams.list")
    if as_json:
        print_json(found)
    else:
        STREAMS.print(found, chosen)
