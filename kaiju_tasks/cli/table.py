"""The layout of a table: which columns are shown, and the width of each."""

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kaiju_tasks.cli.text import cut, pad, width

__all__ = ["Column", "line_limit", "table_lines"]

GAP = "  "
SHORT, NARROW = 6, 3
"""Smallest widths of columns that the user has chosen: SHORT for columns that can be cut; if that
is not enough, NARROW for all columns."""
KEPT = 4
"""The most important columns: those that can be cut are cut to SHORT, but not below their heading,
before one is left out."""


class Column(NamedTuple):
    """A column with its cells.

    :param cells: one line of text for each row
    :param shortens: cuts a text to a width; None if the values are useless when cut
    :param least: the width to which it is cut before another column is left out
    :param right: align to the right, for numbers
    """

    name: str
    cells: Sequence[str]
    shortens: Callable[[str, int], str] | None = None
    least: int = 0
    right: bool = False

    @property
    def head(self) -> str:
        return self.name.upper()

    @property
    def natural(self) -> int:
        """The width that shows all of it."""
        return max(width(text) for text in (self.head, *self.cells))


class _Range(NamedTuple):
    """The least and the greatest width of a column."""

    column: Column
    least: int
    most: int


def line_limit() -> int | None:
    """The width of the terminal in cells; None if standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table_lines(
    columns: Sequence[Column], limit: int | None, important: Sequence[str], *, asked: bool = False
) -> list[str]:
    """Return the lines of a table, headings first.

    :param columns: in the order in which they are shown
    :param limit: the greatest width of a line in cells; None for no limit
    :param important: names of columns, the most important first; the last ones are left out if
        not all fit
    :param asked: the user has chosen these columns: cut them further before one is left out
    """
    widths = _widths(columns, limit, important, asked)
    shown = [(column, widths[column.name]) for column in columns if column.name in widths]
    rows = zip(*([column.head, *column.cells] for column, _ in shown), strict=True)
    return [
        GAP.join(
            pad(_shortened(column, text, room), room, right=column.right)
            for text, (column, room) in zip(row, shown, strict=True)
        ).rstrip(" ")
        for row in rows
    ]


def _shortened(column: Column, text: str, room: int) -> str:
    return (column.shortens or cut)(text, room)


def _widths(
    columns: Sequence[Column], limit: int | None, important: Sequence[str], asked: bool
) -> dict[str, int]:
    ranges = [_Range(column, _least(column), column.natural) for column in columns]
    if limit is None:
        return {column.name: most for column, _, most in ranges}
    ranges.sort(key=lambda one: important.index(one.column.name))
    if asked and not _fit(ranges, limit):
        ranges = [_to(SHORT, one) if one.column.shortens else one for one in ranges]
    if asked and not _fit(ranges, limit):
        ranges = [_to(NARROW, one) for one in ranges]
    while len(ranges) > KEPT and not _fit(ranges, limit):
        ranges.pop()
    if not asked and not _fit(ranges, limit):
        ranges = [
            _to(max(SHORT, width(one.column.head)), one) if one.column.shortens else one
            for one in ranges
        ]
    while len(ranges) > 1 and not _fit(ranges, limit):
        ranges.pop()
    return _shared(ranges, limit - len(GAP) * (len(ranges) - 1))


def _to(cells: int, one: _Range) -> _Range:
    return one._replace(least=min(one.least, cells))


def _least(column: Column) -> int:
    natural = column.natural
    if column.shortens is None:
        return natural
    return min(natural, max(column.least, width(column.head)))


def _fit(ranges: Sequence[_Range], limit: int) -> bool:
    return sum(one.least for one in ranges) + len(GAP) * (len(ranges) - 1) <= limit


def _shared(ranges: Sequence[_Range], room: int) -> dict[str, int]:
    """Return the width of each column: all grow to a common width, and no further than needed."""
    level = _highest(ranges, room)
    widths = {one.column.name: _at(one, level) for one in ranges}
    left = room - sum(widths.values())
    for one in ranges:
        name = one.column.name
        more = max(0, min(left, _at(one, level + 1) - widths[name]))
        widths[name] += more
        left -= more
    if left < 0:  # a single column on a terminal that is narrower than its least width
        widths = dict.fromkeys(widths, max(1, room))
    return widths


def _highest(ranges: Sequence[_Range], room: int) -> int:
    """Return the greatest common width for which there is room."""
    low, high = 0, max(0, room)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(_at(one, middle) for one in ranges) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _at(one: _Range, level: int) -> int:
    return min(one.most, max(one.least, level))
