"""One action for all tasks that match: it is counted, confirmed, begun and followed."""

import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kaiju_tasks.cli.choice import choice_options, read_choice
from kaiju_tasks.cli.fail import NO_MANAGER, USAGE, Failed, Interrupted, when_interrupted
from kaiju_tasks.cli.output import print_json
from kaiju_tasks.cli.progress import can_ask
from kaiju_tasks.cli.reason import read_reason, reason_option
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.text import one_line

__all__ = ["Many", "follow", "many_options", "print_result", "raise_end"]

F = TypeVar("F", bound=Callable[..., Any])

ASKS_ABOVE = 20
"""A command that acts on more tasks asks before."""
FIRST_ANSWER_SECONDS = 2.0
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 300.0
"""How long a command waits for a manager that does not answer, while its call goes on."""


def many_options(command: F) -> F:
    """Give a command the options that select tasks, and those of a bulk call; see `Many`."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask before more than 20 tasks change."),
        reason_option,
        click.option(
            "--rate",
            type=click.FloatRange(min=0.1),
            help="Change at most this number of tasks per second.",
        ),
        click.option("--dry-run", is_flag=True, help="Only count the tasks and list some of them."),
        choice_options,
    ):
        command = option(command)
    return command


class Many:
    """The options of a bulk call.

    :ivar conditions: of the options that select tasks; empty without them
    :ivar why: the parameters with the reason, for a call on one task
    """

    def __init__(
        self,
        status: str | None,
        app_name: str | None,
        group: str | None,
        where: tuple[str, ...],
        dry_run: bool,
        rate: float | None,
        reason: str | None,
        yes: bool,
    ) -> None:
        self.conditions = read_choice(status, app_name, group, where)
        self._dry_run = dry_run
        self._yes = yes
        self.why = read_reason(reason)
        more = {"rate": rate, "reason": reason}
        self._more = {name: value for name, value in more.items() if value is not None}

    def check(self, id: str | None) -> None:
        """
        :param id: the id of one task that is given; None without one
        :raises Failed: neither one task nor conditions are given, or both
        """
        if id is None and not self.conditions:
            raise Failed(
                "Give the ID of a task, or select tasks with --status, --app, --group or --where. "
                """To select all tasks, use --where id='{"like": "%"}'.""",
                USAGE,
            )
        if id is not None and self.conditions:
            raise Failed(
                "Give either an ID or --status, --app, --group and --where, but not both.", USAGE
            )
        if id is not None and (self._dry_run or "rate" in self._more):
            raise Failed("--dry-run and --rate cannot be used with an ID.", USAGE)

    def run(self, method: str, as_json: bool, **params: Any) -> None:
        """Make the call, follow it to its end, and print its result.

        :param params: more parameters of the method
        :raises Failed: the call has failed or was stopped, or the user does not confirm it
        """
        params["conditions"] = self.conditions
        if self._dry_run or not self._yes:
            with when_interrupted("Interrupted. Nothing was changed."):
                foreseen = call(method, dry_run=True, **params)
            if self._dry_run:
                _show(foreseen, as_json, dry_run=True)
                return
            if foreseen["pending"] > ASKS_ABOVE:
                _confirm(method, foreseen)
        result = _follow(method, uuid.uuid4().hex, {**params, **self._more})
        _show(result, as_json, dry_run=False)
        raise_end(result)


def _confirm(method: str, foreseen: dict[str, Any]) -> None:
    count, refused = foreseen["pending"], foreseen["refused"]
    more = f"; {refused} more will be refused" if refused else ""
    question = f"`{method}` acts on {count} tasks{more}"
    if not can_ask():
        raise Failed(f"{question}. Add --yes to do so without being asked.", USAGE)
    if not click.confirm(f"{question}. Go on?", err=True):
        raise Failed("Nothing was changed.")


def _follow(method: str, bulk_id: str, params: dict[str, Any]) -> dict[str, Any]:
    """Begin a call and wait for its end. The id makes it safe to repeat the begin.

    :returns: the answer of the method, with the latest counts
    """
    seen: dict[str, Any] = {}
    try:
        seen = _patiently(
            lambda: call(method, bulk_id=bulk_id, wait=FIRST_ANSWER_SECONDS, **params)
        )
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(_goes_on(method, bulk_id, {})) from None
    if seen["state"] != "RUNNING":
        return seen
    found = follow(method, bulk_id, seen)
    seen = {name: found.get(name, value) for name, value in seen.items()} | {
        "error": found["error"],
        "stopped_by": found["stopped_by"],
    }
    if "deleted" in seen:
        seen["deleted"] = found["changed"]
    return seen


def follow(method: str, bulk_id: str, seen: dict[str, Any]) -> dict[str, Any]:
    """Show the progress of a call until it ends.

    :param seen: its counts, as they are known
    :returns: the call as `bulk.get` returns it
    """
    progress = _Progress(bulk_id)
    try:
        while True:
            progress.show(seen)
            time.sleep(LOOK_SECONDS)
            seen = _patiently(lambda: call("bulk.get", id=bulk_id))
            if seen["state"] != "RUNNING":
                return seen
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(_goes_on(method, bulk_id, seen)) from None
    finally:
        progress.end()


def _goes_on(method: str, bulk_id: str, seen: dict[str, Any]) -> str:
    begin = f"Interrupted before the manager answered. It may still carry out `{method}`."
    if seen:
        begin = f"Interrupted. The manager goes on with `{method}`: {_handled(seen)}."
    return (
        f"{begin} To see it: `kaiju-tasks bulk show -f {bulk_id}`. "
        f"To stop it: `kaiju-tasks bulk stop {bulk_id}`."
    )


def _handled(seen: dict[str, Any]) -> str:
    return f"{seen['done'] + seen['refused']} of {seen['matched']} tasks are handled"


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask a manager, again and again as long as none answers.

    :raises Failed: no manager answers for PATIENCE_SECONDS
    """
    until = time.monotonic() + PATIENCE_SECONDS
    said = False
    while True:
        try:
            return ask()
        except Failed as error:
            if error.exit_code != NO_MANAGER or time.monotonic() > until:
                raise
            if not said:
                click.echo(f"{error.message} Trying again.", err=True)
                said = True
        time.sleep(LOOK_SECONDS)


class _Progress:
    """A line on a terminal that is written again and again; elsewhere one line.

    :param bulk_id: of the call
    """

    def __init__(self, bulk_id: str) -> None:
        self._id = bulk_id
        self._shown = False

    def show(self, seen: dict[str, Any]) -> None:
        if not sys.stderr.isatty():
            if not self._shown:
                click.echo(f"bulk call {self._id} goes on: {_handled(seen)}", err=True)
        else:
            refused = f", {seen['refused']} refused" if seen["refused"] else ""
            click.echo(f"\r\x1b[K{_handled(seen)}{refused}", nl=False, err=True)
        self._shown = True

    def end(self) -> None:
        if self._shown and sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)


def raise_end(call_: dict[str, Any]) -> None:
    """:raises Failed: a bulk call has failed or was stopped"""
    if call_["state"] == "FAILED":
        raise Failed(f"The bulk call has failed: {call_.get('error')}.")
    if call_["state"] == "STOPPED":
        by = f" by {call_['stopped_by']}" if call_.get("stopped_by") else ""
        raise Failed(one_line(f"The bulk call was stopped{by}."))


def _show(result: dict[str, Any], as_json: bool, *, dry_run: bool) -> None:
    if as_json:
        print_json({k: v for k, v in result.items() if k not in ("error", "stopped_by")})
    else:
        print_result(result, dry_run)


def print_result(result: dict[str, Any], dry_run: bool) -> None:
    """Print the counts of a bulk call, the first tasks, and why tasks were refused."""
    matched = result["matched"]
    if dry_run:
        click.echo(f"{matched} matched; nothing was changed")
    else:
        counts = ", ".join(f"{result[name]} {name}" for name in ("done", "refused", "pending"))
        click.echo(f"{matched} matched: {counts}")
    for id in result["sample"]:
        click.echo(f"  {one_line(id)}")
    if matched > len(result["sample"]):
        click.echo(f"  … and {matched - len(result['sample'])} more")
    refused = "would be refused" if dry_run else "refused"
    for refusal in result["errors"]:
        click.echo(one_line(f"{refused}: {refusal['id']}: {refusal['message']}"), err=True)
    counted = sum(one["count"] for one in result["refusals"])
    if counted > len(result["errors"]):
        for one in result["refusals"]:
            reason = " ".join(filter(None, (one["reason"], one["status"])))
            click.echo(one_line(f"{refused}: {one['count']} tasks ({reason})"), err=True)
