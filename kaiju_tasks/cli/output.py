"""The output of commands: fields and values for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from kaiju_tasks.cli.text import one_line, pad, width
from kaiju_tasks.times import show_time

__all__ = ["TIMES", "error_line", "json_option", "json_text", "print_fields", "print_json", "shown"]

F = TypeVar("F", bound=Callable[..., Any])

TIMES = frozenset(
    {
        "applied_at",
        "at",
        "connected_at",
        "created",
        "disabled_at",
        "ended",
        "ended_at",
        "exec_deadline",
        "expires_at",
        "last_ping",
        "last_used",
        "lease_until",
        "next_change",
        "next_run",
        "oldest_ready",
        "queued_at",
        "revoked_at",
        "scheduled_at",
        "since",
        "started",
        "started_at",
        "status_change",
        "until",
        "wait_deadline",
    }
)
"""Fields that hold times, in every list and object that commands print."""

json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs."
)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """Encode a value as JSON. Characters that standard output cannot show are escaped."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(value, indent=indent, ensure_ascii=not unicode)


def print_fields(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, one pair on each line."""
    room = max((width(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{pad(name, room)}  {shown(name, value)}".rstrip(" "))


def shown(name: str, value: Any) -> str:
    """Format the value of a field for people, in one line.

    :param name: name of the field; times and errors have their own format
    """
    if value is None:
        return ""
    if name in TIMES and isinstance(value, int | float | str):
        return show_time(value)
    if name == "error" and isinstance(value, dict):
        return error_line(value)
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def error_line(error: dict[str, Any]) -> str:
    """Format an error in one line."""
    kind, message = error.get("type", "failed"), error.get("message", "")
    return one_line(kind if message == kind else f"{kind}: {message}")
