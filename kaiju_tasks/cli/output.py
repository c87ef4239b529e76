"""What commands print: tables for people, JSON for programs."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import click

from kaiju_tasks.times import show_time

__all__ = [
    "json_option",
    "moment",
    "one_line",
    "print_fields",
    "print_json",
    "print_table",
    "short",
]

F = TypeVar("F", bound=Callable[..., Any])

json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs."
)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], optional: Collection[str] = ()
) -> None:
    """Print rows under their columns. On a terminal they are cut to its width.

    :param rows: each as long as `columns`
    :param optional: columns that are left out where no row has anything in them
    """
    kept = [
        i
        for i, column in enumerate(columns)
        if column not in optional or any(row[i] is not None and row[i] != "" for row in rows)
    ]
    columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
    lines = [[column.upper() for column in columns]]
    lines += [[_cell(value) for value in row] for row in rows]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(columns))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        text = "  ".join(_padded(cell, width) for cell, width in zip(line, widths, strict=True))
        click.echo(short(text.rstrip(), limit) if limit else text.rstrip())


def print_fields(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {_cell(value)}".rstrip())


def moment(value: float | str | None) -> str:
    """A time of an answer, as `show_time` shows it; empty where there is none."""
    return "" if value is None else show_time(value)


def one_line(text: str) -> str:
    """A text without control characters: those of a task's data are not for the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def short(text: str, width: int) -> str:
    """Cut a text to a width."""
    return text if _width(text) <= width else text[: max(0, width - 1)] + "…"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
