"""The progress of a run: lines, or a live table on a terminal."""

import sys
from types import TracebackType
from typing import Any, Protocol, Self

from kaiju_tasks.cli.output import error_line
from kaiju_tasks.cli.stage import brief_stage

__all__ = ["Progress", "can_ask", "make_progress"]


class Progress(Protocol):
    """Shows the progress of a run. `show` gets the task and its ended attempts at every change."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def shown_error(self) -> str | None:
        """The error of the last attempt that was shown, as `error_line`; None if it has none."""

    def show(self, task: dict[str, Any], records: list[dict[str, Any]]) -> None: ...

    def typed(self) -> None:
        """A line was typed on the terminal and moved its contents."""


def can_ask() -> bool:
    """Return whether stdin and stderr are terminals, so that a user can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def make_progress(quiet: bool) -> Progress:
    """Return the progress for stderr: a live table on a terminal, lines otherwise.

    :param quiet: show nothing
    """
    if quiet:
        return _Silent()
    return _Live() if sys.stderr.isatty() else _Lines()


class _Silent:
    shown_error: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, task: dict[str, Any], records: list[dict[str, Any]]) -> None:
        return None

    def typed(self) -> None:
        return None


class _Lines(_Silent):
    """Prints a line for each ended attempt, and each time the task waits."""

    def __init__(self) -> None:
        self._seen = 0
        self._waits = -1

    def show(self, task: dict[str, Any], records: list[dict[str, Any]]) -> None:
        for record in records[self._seen :]:
            self._say(_ended_line(task, record))
            self.shown_error = _error_of(record)
        self._seen = len(records)
        if task["status"] == "WAITING" and self._waits != task["stage"]:
            self._waits = task["stage"]
            self._say(_waiting_line(task))

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class _Live(_Silent):
    """Shows all stages with their state, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def typed(self) -> None:
        from rich.control import Control

        self._live.console.control(Control.move(0, -1))

    def show(self, task: dict[str, Any], records: list[dict[str, Any]]) -> None:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        from kaiju_tasks.types import ENDED_WELL

        table = Table.grid(padding=(0, 2))
        latest = {record["stage"]: record for record in records}
        room = max(1, self._live.console.height - 1)
        for index, command in _window(task, room):
            name = Text(command.get("name") or command["method"])
            if index == task["stage"] and not task["exit_code"]:
                waits = task["status"] == "WAITING"
                state = _waiting_for(task) if waits else task["status"].lower()
                table.add_row(Spinner("dots"), name, Text(state))
            elif index in latest:
                mark = "✓" if latest[index]["outcome"] in ENDED_WELL else "✗"
                table.add_row(mark, name, Text(_outcome(latest[index])))
            else:
                table.add_row(" ", name, "")
        self._live.update(table)
        self.shown_error = _error_of(records[-1]) if records else None


def _window(task: dict[str, Any], room: int) -> list[tuple[int, dict[str, Any]]]:
    """Return the stages that fit on the terminal, including the running one."""
    from kaiju_tasks.types import ENDED

    stages = list(enumerate(task["commands"]))
    if task["status"] in ENDED:
        return stages
    first = max(0, min(task["stage"] - room // 2, len(stages) - room))
    return stages[first : first + room]


def _ended_line(task: dict[str, Any], record: dict[str, Any]) -> str:
    name = record["name"] or record["method"]
    return f"[{brief_stage({**task, 'stage': record['stage']})}] {name}: {_outcome(record)}"


def _outcome(record: dict[str, Any]) -> str:
    text = str(record["outcome"]).lower()
    if record["attempt"] > 1:
        text += f" (attempt {record['attempt']})"
    if record["started_at"] is not None and record["ended_at"] is not None:
        text += f", {record['ended_at'] - record['started_at']:.2f} s"
    if error := _error_of(record):
        text += f": {error}"
    return text


def _error_of(record: dict[str, Any]) -> str | None:
    return error_line(record["error"]) if record["error"] else None


def _waiting_line(task: dict[str, Any]) -> str:
    command = task["commands"][task["stage"]]
    name = command.get("name") or command["method"]
    return f"[{brief_stage(task)}] {name}: {_waiting_for(task)}"


def _waiting_for(task: dict[str, Any]) -> str:
    if task["status_reason"] != "message":
        return f"waiting ({task['status_reason']})"
    wanted = task["commands"][task["stage"]].get("params", {}).get("name")
    called = f"the message {wanted!r}" if wanted else "a message"
    how = "type it (JSON)" if can_ask() else f"give it with --message {wanted or ''}=…"
    return f"waiting for {called}; {how}"
