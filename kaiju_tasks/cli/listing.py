"""The lists that commands print, and how their entries become a table."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.output import TIMES, print_json, shown
from kaiju_tasks.cli.table import Column, line_limit, table_lines
from kaiju_tasks.cli.text import cut, cut_middle

__all__ = ["Listing", "columns_option", "fields_of", "page_options", "print_page", "read_sort"]

F = TypeVar("F", bound=Callable[..., Any])
Entry = Mapping[str, Any]

ID_CELLS, TEXT_CELLS, MESSAGE_CELLS = 12, 16, 24
"""Ids, texts and messages are not cut below these widths while another column can be left out."""
IDS = ("next_task", "target")
MESSAGES = ("error", "error.message", "message", "why")

columns_option: Callable[[F], F] = click.option(
    "--columns",
    metavar="NAME[,NAME…]",
    help="Show these columns: fields as in --json, or paths such as error.message.",
)


def page_options(command: F) -> F:
    """Give a command `--limit` and `--offset`."""
    for option in (
        click.option(
            "--offset",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Skip this number of entries.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(1, 1000),
            default=50,
            show_default=True,
            help="The most entries to list.",
        ),
    ):
        command = option(command)
    return command


def read_sort(text: str) -> list[str]:
    """The fields of `--sort`, which are separated by commas."""
    return [key.strip().lower() for key in text.split(",")]


def print_page(
    page: dict[str, Any], listing: "Listing", columns: Sequence[str] | None, as_json: bool
) -> None:
    """Print a page of entries, and to stderr how to see those that follow.

    :param columns: those that were chosen; None for those of the listing
    """
    if as_json:
        print_json(page)
        return
    listing.print(page["data"], columns)
    seen = page["offset"] + len(page["data"])
    if seen < page["count"]:
        more = "more than " if page.get("count_more") else ""
        click.echo(f"{seen} of {more}{page['count']}; --offset {seen} shows more", err=True)


def fields_of(name: str) -> Callable[[], Sequence[str]]:
    """Return a function that gives the fields of a type of `kaiju_tasks.types`.

    The module is imported only when the function is called: a one-shot command starts quickly.
    """

    def fields() -> Sequence[str]:
        from kaiju_tasks import types

        found: tuple[str, ...] = getattr(types, name).__struct_fields__
        return found

    return fields


class Listing:
    """A kind of list.

    :param columns: the columns shown by default, in this order
    :param important: the same columns, the most important first; on a narrow terminal the last
        ones are left out
    :param fields: returns the names of the fields of an entry
    :param sparse: columns that are left out if all of their cells are empty
    :param computed: columns whose value is computed from the entry
    :param noun: the entries in a text for people, such as "tasks"
    """

    def __init__(
        self,
        columns: Sequence[str],
        important: Sequence[str],
        fields: Callable[[], Iterable[str]],
        *,
        sparse: Collection[str] = (),
        computed: Mapping[str, Callable[[Any], Any]] | None = None,
        noun: str = "entries",
    ) -> None:
        self._noun = noun
        self.columns = columns
        self.important = important
        self._fields = fields
        self._sparse = sparse
        self._computed = {"error": _brief_error, **(computed or {})}

    def known(self) -> list[str]:
        """Return the names that a column can have, or begin with."""
        fields = set(self._fields())
        return sorted(fields | (self._computed.keys() - {"error"}) | set(self.columns))

    def choose(self, text: str | None, as_json: bool) -> list[str] | None:
        """Return the columns of --columns; None if the option was not given.

        :raises Failed: an unknown column, or --json was given too
        """
        if text is None:
            return None
        if as_json:
            raise Failed("--columns cannot be used with --json, which prints every field.", USAGE)
        known = self.known()
        names = list(dict.fromkeys(_named(name.strip(), known) for name in text.split(",")))
        for name in names:
            if name.partition(".")[0] not in known:
                raise Failed(
                    f"--columns: unknown column {name!r:.100}. Columns are: {', '.join(known)}.",
                    USAGE,
                )
        return names

    def print(self, entries: Sequence[Entry], chosen: Sequence[str] | None) -> None:
        """Print a table. On a terminal it is at most as wide as the terminal. Of an empty list,
        print the headings, and a note to stderr.

        :param chosen: the result of `choose`
        """
        columns = [self._column(name, entries) for name in chosen or self.columns]
        if chosen is None:
            columns = [
                column for column in columns if column.name not in self._sparse or any(column.cells)
            ]
        important = chosen or self.important
        for line in table_lines(columns, line_limit(), important, asked=chosen is not None):
            click.echo(line)
        if not entries:
            click.echo(f"no {self._noun}", err=True)

    def _column(self, name: str, entries: Sequence[Entry]) -> Column:
        values = [self._value(name, entry) for entry in entries]
        cells = [shown(name, value) for value in values]
        if name in TIMES:
            return Column(name, cells)
        if name == "seconds" or _are_numbers(values):
            return Column(name, cells, right=True)
        if _is_id(name):
            return Column(name, cells, cut_middle, ID_CELLS)
        return Column(name, cells, cut, MESSAGE_CELLS if name in MESSAGES else TEXT_CELLS)

    def _value(self, name: str, entry: Entry) -> Any:
        if name in self._computed:
            return self._computed[name](entry)
        value: Any = entry
        for part in name.split("."):
            value = _part(value, part)
        return value


def _named(name: str, known: Collection[str]) -> str:
    """Return the name of a column, which can be written as in the heading of a table."""
    return name if name.partition(".")[0] in known else name.lower()


def _part(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return None


def _is_id(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last == "id" or last.endswith("_id") or last in IDS


def _are_numbers(values: Iterable[Any]) -> bool:
    kinds = {type(value) for value in values if value is not None}
    return bool(kinds) and kinds <= {int, float}


def _brief_error(entry: Entry) -> Any:
    """Return an error in one line, without its type if that is `execution_error`."""
    error = entry.get("error")
    if isinstance(error, dict) and error.get("type") == "execution_error":
        return error.get("message")
    return error
