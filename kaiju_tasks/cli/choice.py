"""Options that select tasks, records or events, and the conditions made from them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kaiju_tasks.cli.completion import complete_app, complete_words
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.files import read_pairs

__all__ = ["choice_options", "read_choice", "read_where", "where_option"]

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = ("IDLE", "QUEUED", "EXECUTED", "WAITING", "SUSPENDED", "FINISHED", "FAILED")
OPTIONS = {"app_name": "--app", "task_id": "--task", "user_id": "--user"}
"""Options that are named differently from their column."""

where_option: Callable[[F], F] = click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=JSON",
    help="A condition. Can be repeated; all conditions must hold.",
)


def choice_options(command: F) -> F:
    """Give a command `--status`, `--app`, `--group` and `--where`; see `read_choice`."""
    known = ", ".join(STATUSES).lower()
    for option in (
        where_option,
        click.option("--group", help="Only tasks of this group."),
        click.option(
            "--app", "app_name", shell_complete=complete_app, help="Only tasks of this stream."
        ),
        click.option(
            "--status",
            shell_complete=complete_words(map(str.lower, STATUSES), separator=","),
            metavar="STATUS[,STATUS…]",
            help=f"Only tasks with one of these statuses: {known}.",
        ),
    ):
        command = option(command)
    return command


def read_choice(
    status: str | None, app_name: str | None, group: str | None, where: tuple[str, ...]
) -> dict[str, Any]:
    """Return the conditions of the options of `choice_options`; empty without options.

    :raises Failed: a status that does not exist, a condition without `=`, a column given twice
    """
    return read_where(where, status=status, app_name=app_name, group=group)


def read_where(where: tuple[str, ...], **options: str | None) -> dict[str, Any]:
    """Return the conditions of `--where` and of options that select one value of a column.

    `--where` accepts the option's name for a column, and a status in any case, as the options do.

    :param options: values by column; None for an option that was not given
    :raises Failed: a status that does not exist, a condition without `=`, a column given twice
    """
    names = {option.removeprefix("--"): column for column, option in OPTIONS.items()}
    given = [(names.get(name, name), value) for name, value in read_pairs(where, "--where")]
    given += [(column, value) for column, value in options.items() if value is not None]
    conditions: dict[str, Any] = {}
    for column, value in given:
        if column in conditions:
            raise Failed(_twice(column, options), USAGE)
        conditions[column] = _statuses(value) if column == "status" else value
    return conditions


def _twice(column: str, options: dict[str, str | None]) -> str:
    option = OPTIONS.get(column, f"--{column}")
    places = f"both {option} and --where" if options.get(column) is not None else "two --where"
    return (
        f"{column} has more than one condition, from {places}. Give one condition for each column: "
        """a list such as [1, 2] for several values, or {"ge": 1, "lt": 5} for a range."""
    )


def _statuses(value: Any) -> Any:
    """Convert a status, comma-separated statuses, or a list of them to the API's spelling."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return value
    return [_status(name) for name in value]


def _status(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    status = name.strip().upper()
    if status not in STATUSES:
        known = ", ".join(STATUSES).lower()
        raise Failed(f"{name.strip()!r:.100} is not a status. Statuses are: {known}.", USAGE)
    return status
