"""`kaiju-tasks top`"""

import sys

import click

from kaiju_tasks.cli.fail import when_interrupted
from kaiju_tasks.cli.following import follow
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.table import line_limit

__all__ = ["top"]

INTERVAL_SECONDS = 2.0


@click.command(short_help="Show what waits, runs and fails, until q.")
@click.option(
    "--interval",
    type=click.FloatRange(min=1, max=3600),
    default=INTERVAL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How often to ask the manager while no event arrives.",
)
@click.option("--once", is_flag=True, help="Print this once, also on a terminal.")
@json_option
def top(interval: float, once: bool, as_json: bool) -> None:
    """Show the streams, the tasks that run, and what fails, until q or Ctrl-C.

    The screen follows the events of tasks, at most once a second, and is refreshed every --interval
    seconds. If the manager restarts, the command waits for it. OLDEST is how long the first ready
    task has waited. What fails is counted by the method of the failed stage and the type of the
    error, over the last 500 tasks that have failed and the schedules whose last run has failed.
    Without a terminal, or with --once or --json, the command prints this once.
    """
    from kaiju_tasks.cli.snapshot import read_snapshot
    from kaiju_tasks.cli.top_view import View

    if as_json or once or not _is_screen():
        with when_interrupted("Interrupted before the manager answered."):
            snapshot = follow(read_snapshot, 0.0)
        if as_json:
            print_json(snapshot)
        else:
            for line in View(snapshot).lines(line_limit()):
                click.echo(line)
        return
    _follow(interval)


def _is_screen() -> bool:
    """Whether standard output is a terminal that can be redrawn."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return not Console().is_dumb_terminal


def _follow(interval: float) -> None:
    from kaiju_tasks.cli.top_live import LiveTop

    with when_interrupted("Stopped showing the manager. The tasks continue."):
        if code := follow(LiveTop(interval).run, 0.0):
            raise SystemExit(code)
