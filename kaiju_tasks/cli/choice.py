"""Options that select tasks, records or events, and the conditions made from them."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kaiju_tasks.cli.columns import STATUSES, TASKS, Columns
from kaiju_tasks.cli.completion import complete_app, complete_words
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.files import read_json

__all__ = ["choice_options", "read_choice", "read_where", "where_option"]

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = {"app_name": "--app", "task_id": "--task", "user_id": "--user"}
"""Options that are named differently from their column."""

SIGNS = {"=": None, ">": "gt", ">=": "ge", "<": "lt", "<=": "le"}
"""The API's operators; None is equality."""
_CONDITION = re.compile(r"(?P<name>[^=<>!]+)(?P<sign><>|[=<>!]=?)(?P<value>.*)", re.DOTALL)

where_option: Callable[[F], F] = click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=JSON",
    help="A condition, such as priority=5 or 'priority>=5'. Can be repeated; all must hold.",
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

    :raises Failed: as `read_where`
    """
    return read_where(where, TASKS, status=status, app_name=app_name, group=group)


def read_where(where: tuple[str, ...], columns: Columns, **options: str | None) -> dict[str, Any]:
    """Return the conditions of `--where` and of options that select one value of a column.

    `--where` accepts the option's name for a column, a column as in the heading of a table, and a
    status in any case, as the options do.

    :param columns: the columns that exist
    :param options: values by column; None for an option that was not given
    :raises Failed: a column or a status that does not exist, a malformed condition, a column with
        two conditions that are not bounds of a range
    """
    conditions: dict[str, Any] = {}
    for text in where:
        column, operator, value = _read(text, columns)
        if operator is None:
            _add(conditions, column, value, options)
        else:
            _bound(conditions, column, operator, value, options)
    for column, option in options.items():
        if option is not None:
            _add(conditions, column, option, options)
    return {
        column: _statuses(value, columns) if column == columns.status else value
        for column, value in conditions.items()
    }


def _read(text: str, columns: Columns) -> tuple[str, str | None, Any]:
    """Return the column of a condition, the API's operator (None for equality) and the value."""
    found = _CONDITION.match(text)
    if found is not None and found["sign"] == "==":
        right = f"{found['name'].strip()}={found['value'].strip()}"
        raise Failed(f"--where: write = instead of ==, as in {right!r:.100}.", USAGE)
    if found is None or found["sign"] not in SIGNS:
        raise Failed(
            "--where must have the form COLUMN=JSON, or a comparison with > >= < or <= such as "
            f"'priority>=5', not {text!r:.100}. To exclude values, list those to select: "
            "COLUMN=[1, 2].",
            USAGE,
        )
    column = _column(found["name"].strip(), columns)
    what = f"--where {column}"
    holds_text = columns.holds_text(column)
    value = read_json(found["value"], what, numbers=not holds_text)
    if holds_text and isinstance(value, bool):
        value = found["value"]
    operator = SIGNS[found["sign"]]
    if operator is not None and isinstance(value, list | dict | None):
        raise Failed(f"{what}: {found['sign']} must be followed by one value.", USAGE)
    return column, operator, value


def _column(name: str, columns: Columns) -> str:
    names = {option.removeprefix("--"): column for column, option in OPTIONS.items()}
    column = names.get(name.lower(), name.lower())
    if not columns.has(column):
        listed = ", ".join(sorted(columns.text | columns.other) + ["label.KEY"] * columns.labelled)
        raise Failed(f"--where: unknown column {name!r:.100}. Columns are: {listed}.", USAGE)
    return column


def _add(
    conditions: dict[str, Any], column: str, value: Any, options: dict[str, str | None]
) -> None:
    if column in conditions:
        raise Failed(_twice(column, options), USAGE)
    conditions[column] = value


def _bound(
    conditions: dict[str, Any],
    column: str,
    operator: str,
    value: Any,
    options: dict[str, str | None],
) -> None:
    """Add a bound of a range. The other bound can be another condition."""
    bounds = conditions.setdefault(column, {})
    if not isinstance(bounds, dict) or operator in bounds:
        raise Failed(_twice(column, options), USAGE)
    bounds[operator] = value


def _twice(column: str, options: dict[str, str | None]) -> str:
    option = OPTIONS.get(column, f"--{column}")
    places = f"both {option} and --where" if options.get(column) is not None else "two --where"
    return (
        f"{column} has more than one condition, from {places}. Give one condition for each column: "
        """a list such as [1, 2] for several values, or {"ge": 1, "lt": 5} for a range."""
    )


def _statuses(value: Any, columns: Columns) -> Any:
    """Convert a status, comma-separated statuses, or a list of them to the API's spelling."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return value
    return [_status(name, columns) for name in value]


def _status(name: Any, columns: Columns) -> Any:
    if not isinstance(name, str):
        return name
    status = name.strip().upper()
    if status not in columns.statuses:
        known = ", ".join(columns.statuses).lower()
        raise Failed(
            f"{name.strip()!r:.100} is not a {columns.status}. Use one of: {known}.", USAGE
        )
    return status
