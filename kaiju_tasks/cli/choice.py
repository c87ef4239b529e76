"""Which tasks a command is about: options that become conditions."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.files import read_pairs

__all__ = ["choice_options", "read_choice"]

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = ("IDLE", "QUEUED", "EXECUTED", "WAITING", "SUSPENDED", "FINISHED", "FAILED")


def choice_options(command: F) -> F:
    """Give a command `--status`, `--app`, `--group` and `--where`; see `read_choice`."""
    known = ", ".join(STATUSES).lower()
    for option in (
        click.option("--where", multiple=True, metavar="COLUMN=JSON", help="A condition."),
        click.option("--group", help="Only this group."),
        click.option("--app", "app_name", help="Only this stream."),
        click.option("--status", metavar="STATUS[,STATUS…]", help=f"Only these: {known}."),
    ):
        command = option(command)
    return command


def read_choice(
    status: str | None, app_name: str | None, group: str | None, where: tuple[str, ...]
) -> dict[str, Any]:
    """The conditions that the options say; none when none is given.

    :raises Failed: a status that is none, a condition without `=`
    """
    chosen: dict[str, Any] = dict(read_pairs(where, "--where"))
    if status is not None:
        chosen["status"] = _statuses(status)
    return chosen | {
        name: value
        for name, value in (("app_name", app_name), ("group", group))
        if value is not None
    }


def _statuses(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",")]
    for name in names:
        if name not in STATUSES:
            known = ", ".join(STATUSES).lower()
            raise Failed(f"--status {name.lower()!r} is no status; there are {known}.", USAGE)
    return names
