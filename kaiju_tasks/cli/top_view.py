"""A snapshot of a manager as lines of text, which fit on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kaiju_tasks.cli.stage import brief_stage
from kaiju_tasks.cli.table import Column, table_lines
from kaiju_tasks.cli.text import cut, cut_middle, one_line
from kaiju_tasks.times import show_time

__all__ = ["View", "age"]

MINUTE, HOUR, DAY = 60, 3600, 86_400
Entry = Mapping[str, Any]


class _Section(NamedTuple):
    """A table with a name.

    :ivar number: how many entries there are, of which the rows are the first ones
    :ivar columns: of all rows; one without any text is left out
    :ivar important: the names of the columns, the most important first
    """

    name: str
    number: str
    columns: Sequence[Column]
    important: Sequence[str]

    @property
    def rows(self) -> int:
        return len(self.columns[0].cells)

    def first(self, rows: int) -> "_Section":
        """The section with its first rows."""
        if self.rows <= rows:
            return self
        cut_off = [column._replace(cells=column.cells[:rows]) for column in self.columns]
        return self._replace(columns=cut_off)

    def lines(self, cells: int | None) -> list[str]:
        """:param cells: the greatest width of a line; None for no limit"""
        whole = str(self.rows) == self.number or not self.number.isdecimal()
        heading = f"{self.name} ({self.number})"
        if not whole:
            heading = f"{self.name} ({self.rows} of {self.number})"
        if not self.rows:
            return [heading]
        columns = [column for column in self.columns if any(column.cells)]
        return [heading, *table_lines(columns, cells, self.important)]


class View:
    """The lines of one snapshot.

    :param snapshot: as `read_snapshot` returns it
    """

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._at: float = snapshot["at"]
        self._streams: Sequence[Entry] = snapshot["streams"]
        self._running = snapshot["running"]
        self._failed = snapshot["failed"]

    def lines(self, cells: int | None = None, rows: int | None = None) -> list[str]:
        """
        :param cells: the greatest width of a line; None for no limit
        :param rows: the greatest number of lines; None for no limit
        """
        sections = [self._stream_section(None), self._running_section(), self._failed_section()]
        if rows is not None:
            # of each section its heading, its column heads and the empty line before it
            left = rows - 1 - sum(3 if section.rows else 2 for section in sections)
            shares = _shared([section.rows for section in sections], left)
            sections[0] = self._stream_section(shares[0])
            sections = [one.first(share) for one, share in zip(sections, shares, strict=True)]
        lines = [self._title()]
        for section in sections:
            lines += ["", *section.lines(cells)]
        if cells is not None:
            lines = [cut(line, cells) for line in lines]
        return lines if rows is None else lines[:rows]

    def _title(self) -> str:
        held = sum(sum(stream["held"].values()) for stream in self._streams)
        ready, free = (sum(one[name] for one in self._streams) for name in ("ready", "free"))
        return (
            f"{ready} ready, {_number(self._running)} running, {held} held, "
            f"{_number(self._failed)} failed, {free} places free  {show_time(self._at)}"
        )

    def _stream_section(self, rows: int | None) -> _Section:
        """:param rows: show only the busiest ones, if there are more"""
        shown = self._streams
        if rows is not None and len(shown) > rows:
            busiest = sorted(shown, key=_busy, reverse=True)[:rows]
            shown = [stream for stream in shown if stream in busiest]
        columns = (
            _names("stream", [stream["app_name"] for stream in shown]),
            _numbers("ready", [stream["ready"] for stream in shown]),
            _numbers("held", [sum(stream["held"].values()) for stream in shown]),
            _numbers("running", [stream["running"] for stream in shown]),
            _numbers("capacity", [stream["capacity"] for stream in shown]),
            _numbers("oldest", [self._age(stream["oldest_ready"]) for stream in shown]),
            _texts("held by", [_held(stream) for stream in shown]),
        )
        important = ("stream", "ready", "running", "held", "oldest", "capacity", "held by")
        return _Section("STREAMS", str(len(self._streams)), columns, important)

    def _running_section(self) -> _Section:
        tasks: Sequence[Entry] = self._running["data"]
        columns = (
            _names("task", [task["id"] for task in tasks]),
            _texts("method", [task["method"] for task in tasks]),
            _numbers("stage", [brief_stage(task) for task in tasks]),
            _numbers("for", [self._age(task["since"]) for task in tasks]),
            _texts("stream", [task["app_name"] for task in tasks]),
            _names("executor", [task["executor_id"] for task in tasks]),
            _texts("progress", [_progress(task["progress"]) for task in tasks]),
        )
        important = ("task", "method", "for", "stage", "progress", "stream", "executor")
        return _Section("RUNNING", _number(self._running), columns, important)

    def _failed_section(self) -> _Section:
        kinds: Sequence[Entry] = self._failed["data"]
        columns = (
            _texts("method", [kind["method"] for kind in kinds]),
            _texts("error", [kind["type"] for kind in kinds]),
            _numbers("count", [kind["count"] for kind in kinds]),
            _numbers("first", [self._age(kind["since"]) for kind in kinds]),
            _numbers("last", [self._age(kind["last"]) for kind in kinds]),
            _names("for example", [kind["id"] for kind in kinds]),
        )
        important = ("method", "error", "count", "last", "for example", "first")
        read, number = self._failed["read"], _number(self._failed)
        of = f"{number} tasks" if str(read) == number else f"the last {read} of {number} tasks"
        return _Section("FAILED", of, columns, important)

    def _age(self, since: float | None) -> str:
        return "" if since is None else age(self._at - since)


def age(seconds: float) -> str:
    """Format a duration in at most six characters, such as `42s`, `2m10s`, `3h5m` or `4d3h`."""
    whole = max(0, int(seconds))
    for unit, name, part, its in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "m")):
        if whole >= unit:
            units = whole // unit
            rest = f"{whole % unit // part}{its}" if units < 100 else ""
            return f"{units}{name}{rest}"
    return f"{whole}s" if whole < MINUTE else f"{whole // MINUTE}m{whole % MINUTE}s"


def _number(page: Mapping[str, Any]) -> str:
    more = "more than " if page.get("count_more") else ""
    return f"{more}{page['count']}"


def _busy(stream: Entry) -> tuple[int, int, int]:
    return stream["ready"], stream["running"], sum(stream["held"].values())


def _held(stream: Entry) -> str:
    return ", ".join(f"{why} {number}" for why, number in sorted(stream["held"].items()))


def _progress(progress: Mapping[str, Any] | None) -> str:
    if progress is None:
        return ""
    total = "" if progress["total"] is None else f"/{progress['total']:g}"
    return f"{progress['done']:g}{total} {progress['message'] or ''}".rstrip()


def _names(name: str, values: Sequence[str | None]) -> Column:
    return Column(name, [one_line(value or "") for value in values], cut_middle, 12)


def _texts(name: str, values: Sequence[str | None]) -> Column:
    return Column(name, [one_line(value or "") for value in values], cut, 12)


def _numbers(name: str, values: Sequence[object]) -> Column:
    return Column(name, [str(value) for value in values], right=True)


def _shared(wanted: Sequence[int], room: int) -> list[int]:
    """How much each gets of the room, so that none gets less than another that wants no less."""
    left, shares = max(0, room), [0] * len(wanted)
    for rank, index in enumerate(sorted(range(len(wanted)), key=lambda at: wanted[at])):
        shares[index] = min(wanted[index], left // (len(wanted) - rank))
        left -= shares[index]
    return shares
