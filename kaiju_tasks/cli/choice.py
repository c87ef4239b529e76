"""Which tasks, records or events a command is about: options that become conditions."""

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
"""Options whose name is not that of the column."""

where_option: Callable[[F], F] = click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=JSON",
    help="A condition; of several all must hold.",
)


def choice_options(command: F) -> F:
    """Give a command `--status`, `--app`, `--group` and `--where`; see `read_choice`."""
    known = ", ".join(STATUSES).lower()
    for option in (
        where_option,
        click.option("--group", help="Only this group."),
        click.option("--app", "app_name", shell_complete=complete_app, help="Only this stream."),
        click.option(
            "--status",
            shell_complete=complete_words(map(str.lower, STATUSES), separator=","),
            metavar="STATUS[,STATUS…]",
            help=f"Only these: {known}.",
        ),
    ):
        command = option(command)
    return command


def read_choice(
    status: str | None, app_name: str | None, group: str | None, where: tuple[str, ...]
) -> dict[str, Any]:
    """The conditions of the options of `choice_options`; none when none is given.

    :raises Failed: a status that does not exist, a condition without `=`, a column given twice
    """
    return read_where(where, status=status, app_name=app_name, group=group)


def read_where(where: tuple[str, ...], **options: str | None) -> dict[str, Any]:
    """The conditions of `--where`, and of options that ask for one value of a column.

    A column may have the name of its option in `--where`, and a status any case, as in the option.

    :param options: by column; None is not given
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
    places = f"by {option} and --where" if options.get(column) is not None else "by two --where"
    return (
        f"Conditions on {column} are given {places}. Give one: a list as [1, 2] is for several "
        """values, and {"ge": 1, "lt": 5} for a range."""
    )


def _statuses(value: Any) -> Any:
    """A status, several with commas between, or a list of them, as the API spells them."""
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
        raise Failed(f"{name.strip()!r:.100} is not a status; there are {known}.", USAGE)
    return status
