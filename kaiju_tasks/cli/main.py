"""The commands. Each is imported only when it is called: a one-shot command starts quickly."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from kaiju_tasks.cli.fail import Failed, Interrupted, show_error
from kaiju_tasks.cli.group import Group, explained
from kaiju_tasks.cli.streams import guard_streams, when_output_fails
from kaiju_tasks.version import __version__

__all__ = ["cli", "main"]

# Name: module and attribute.
COMMANDS = {
    "serve": "kaiju_tasks.cli.serve:serve",
    "executor": "kaiju_tasks.cli.executor:executor",
    "run": "kaiju_tasks.cli.run:run",
    "task": "kaiju_tasks.cli.task:task",
    "runs": "kaiju_tasks.cli.runs:runs",
    "logs": "kaiju_tasks.cli.stage_logs:logs",
    "bulk": "kaiju_tasks.cli.bulk:bulk",
    "streams": "kaiju_tasks.cli.stream_list:streams",
    "top": "kaiju_tasks.cli.top:top",
    "stats": "kaiju_tasks.cli.stats:stats",
    "mark": "kaiju_tasks.cli.mark:mark",
    "pauses": "kaiju_tasks.cli.pauses:pauses",
    "events": "kaiju_tasks.cli.events:events",
    "executors": "kaiju_tasks.cli.executors:executors",
    "notifications": "kaiju_tasks.cli.notifications:notifications",
    "audit": "kaiju_tasks.cli.audit:audit",
    "cron": "kaiju_tasks.cli.cron:cron",
    "db": "kaiju_tasks.cli.database:db",
    "token": "kaiju_tasks.cli.token:token",
    "bench": "kaiju_tasks.cli.bench:bench",
    "conformance": "kaiju_tasks.cli.conformance:conformance",
    "openrpc": "kaiju_tasks.cli.openrpc:openrpc",
}


class _Commands(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None  # click would only print "Aborted!"

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Run a command and end the process with its exit code."""
        given = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            with when_output_fails():
                code = _ended(lambda: super(_Commands, self).main(given, *more, **extra))
                sys.stdout.flush()
        except (Failed, click.ClickException) as failed:
            error = explained(failed) if isinstance(failed, click.NoSuchOption) else failed
            show_error(error, as_json="--json" in given[: _options_end(given)])
            code = error.exit_code
        sys.exit(code)


def _ended(run: Callable[[], Any]) -> int | str | None:
    try:
        returned = run()
    except SystemExit as end:
        return end.code
    except click.Abort:
        raise Interrupted from None
    return returned if isinstance(returned, int) else 0


def _options_end(arguments: list[str]) -> int:
    return arguments.index("--") if "--" in arguments else len(arguments)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="kaiju-tasks")
def cli() -> None:
    """Run managers, executors and pipelines, and operate tasks.

    Commands that call a manager read its address from KAIJU_URL (default http://127.0.0.1:8077) and
    a token from KAIJU_TOKEN or the file that KAIJU_TOKEN_FILE names. Exit codes: 0 success, 1 the
    call failed, 2 wrong arguments, 3 no manager answers, 74 the output cannot be written, 130
    interrupted. With --json, errors are printed to stderr as JSON.
    """


def main() -> None:
    """Run the command line."""
    guard_streams()
    cli.main(prog_name="kaiju-tasks")
