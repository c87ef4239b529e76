"""`kaiju-tasks conformance`"""

import sys
from typing import TYPE_CHECKING

import click

from kaiju_tasks.cli.fail import USAGE, Failed

if TYPE_CHECKING:
    from kaiju_tasks.conformance import Outcome, Report

__all__ = ["conformance"]

LEVELS = ("core", "templates", "full")


@click.command(short_help="Check an executor in any language.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="full",
    show_default=True,
    help="The level to reach. Cases above it are left out.",
)
@click.option("--only", multiple=True, metavar="CASE", help="Run only this case. Can be repeated.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=10.0,
    show_default=True,
    help="How long to wait for what the executor must do.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many cases to run at a time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def conformance(
    command: tuple[str, ...],
    level: str,
    only: tuple[str, ...],
    seconds: float,
    jobs: int,
    as_json: bool,
) -> None:
    """Check which parts of the protocol the executor that COMMAND starts implements.

    The command plays the manager. The executor must serve the stream `default` with
    do.echo(data), do.sleep(seconds) and do.fail(), and connect to the URL in KAIJU_URL, which also
    replaces {url} in COMMAND. Each case starts a new process. Put -- before COMMAND.

    The exit code is 0 if the level is reached, else 1.
    """
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.conformance import check_executor
    from kaiju_tasks.conformance.cases import CASES

    known = [case.name for case in CASES]
    for name in only:
        if name not in known:
            raise Failed(f"There is no case {name!r}. Cases: {', '.join(known)}.", USAGE)
    wanted = LEVELS[: LEVELS.index(level) + 1]
    names = only or tuple(case.name for case in CASES if case.level in wanted)
    show = _nothing if as_json else _show
    try:
        report = run_loop(
            check_executor(command, seconds=seconds, only=names, jobs=jobs, on_outcome=show)
        )
    except OSError as error:
        reason = error.strerror or error
        raise Failed(f"{command[0]} cannot be started: {reason}.", USAGE) from error
    if as_json:
        _print_json(report)
    else:
        _print_end(report, whole=not only)
    sys.exit(any(outcome.problem is not None for outcome in report.outcomes))


def _nothing(outcome: "Outcome") -> None:
    return None


def _show(outcome: "Outcome") -> None:
    mark = "ok  " if outcome.problem is None else "FAIL"
    click.echo(f"{mark} {outcome.level:9} {outcome.name}")
    if outcome.problem is not None:
        click.echo(f"     rule: {' '.join(outcome.rule.split())}")
        click.echo(f"     but {outcome.problem}")


def _print_end(report: "Report", *, whole: bool) -> None:
    passed = sum(outcome.problem is None for outcome in report.outcomes)
    level = f" Level reached: {report.reached or 'none'}." if whole else ""
    fill = " The manager fills its commands." if report.fill else ""
    click.echo(f"{passed} of {len(report.outcomes)} cases passed.{level}{fill}")


def _print_json(report: "Report") -> None:
    import msgspec

    document = {"level": report.reached, "fill": report.fill, "cases": report.outcomes}
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
