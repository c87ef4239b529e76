"""`kaiju-tasks stats`"""

import time
from collections.abc import Sequence
from typing import Any

import click

from kaiju_tasks.cli.completion import complete_app
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.since import read_seconds, read_since, read_span, since_option
from kaiju_tasks.cli.sparkline import narrowed, sparkline
from kaiju_tasks.cli.table import Column, line_limit, table_lines
from kaiju_tasks.times import show_time

__all__ = ["NAMES", "stats"]

NAMES = (
    "runs.started",
    "runs.finished",
    "runs.failed",
    "runs.cancelled",
    "runs.retried",
    "stages.finished",
    "stages.failed",
    "stages.lost",
    "fires.missed",
    "runs.queue_seconds",
    "runs.run_seconds",
    "stages.seconds",
)
"""What the API counts. The table repeats it, without importing it: a one-shot command starts
quickly."""
STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800)
BARS = 60
"""The most bars of a line, if no step is given."""
SPARK_CELLS = 8
IMPORTANT = ("name", "count", "series", "p95", "mean", "highest")


@click.command(short_help="Show what was counted: runs, stages and their durations.")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(NAMES))
@since_option("--since", "since", "From this time on; by default, one hour ago.")
@since_option("--until", "until", "Before this time; by default, now.")
@click.option(
    "--step",
    metavar="SPAN",
    help="The interval of a bar, such as 60, 5m or 1h: whole minutes. Default: at most 60 bars.",
)
@click.option(
    "--app", "app_name", shell_complete=complete_app, help="Only runs of tasks of this stream."
)
@json_option
def stats(
    names: tuple[str, ...],
    since: str | None,
    until: str | None,
    step: str | None,
    app_name: str | None,
    as_json: bool,
) -> None:
    """Show what was counted over time, each NAME with a bar for every interval; by default all.

    HIGHEST is the greatest number of one interval. Of durations, MEAN is over all of them, P95 is
    that of the slowest interval, and the bars are the P95 of the intervals; both are seconds.
    Minutes are kept for 48 hours, and hours, which a step of whole hours reads, for 90 days.
    """
    now = time.time()
    end = now if until is None else read_seconds(read_since(until), "--until")
    start = end - 3600 if since is None else read_seconds(read_since(since), "--since")
    span = _step(end - start) if step is None else read_span(step, "--step")
    params: dict[str, Any] = {"names": names or NAMES, "start": start, "end": end, "step": span}
    if app_name is not None:
        params["app_name"] = app_name
    found = call("stats.series", **params)
    if as_json:
        print_json(found)
        return
    click.echo(f"{show_time(found['start'])} to {show_time(found['end'])}, by {found['step']} s")
    for line in _table(found["data"], line_limit()):
        click.echo(line)


def _step(seconds: float) -> int:
    """The shortest interval of which there are not too many."""
    return next((step for step in STEPS if seconds <= step * BARS), STEPS[-1])


def _table(series: Sequence[dict[str, Any]], cells: int | None) -> list[str]:
    points = [one["points"] for one in series]
    columns = (
        Column("name", [one["name"] for one in series]),
        Column("count", [str(sum(_values(one, "count"))) for one in points], right=True),
        Column("highest", [str(max(_values(one, "count"))) for one in points], right=True),
        Column("mean", [_mean(one) for one in points], right=True),
        Column("p95", [_slowest(one) for one in points], right=True),
        Column("series", [_bars(one) for one in points], narrowed, SPARK_CELLS),
    )
    return table_lines([one for one in columns if any(one.cells)], cells, IMPORTANT)


def _values(points: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return [point[name] for point in points if name in point]


def _mean(points: Sequence[dict[str, Any]]) -> str:
    measured = [point for point in points if "mean" in point]
    total = sum(point["count"] for point in measured)
    whole = sum(point["mean"] * point["count"] for point in measured)
    return _seconds(whole / total if total else None)


def _slowest(points: Sequence[dict[str, Any]]) -> str:
    return _seconds(max(_values(points, "p95"), default=None))


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3g}"


def _bars(points: Sequence[dict[str, Any]]) -> str:
    by = "p95" if _values(points, "p95") else "count"
    return sparkline([point.get(by, 0) for point in points])
