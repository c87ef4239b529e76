"""`logs.*`: what the stages of a run have logged and printed."""

import msgspec
from msgspec.structs import replace

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import JobParams, LogListParams
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.runs import RunsApi
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Sight, access
from kaiju_tasks.store.logs import (
    Attempt,
    LogPart,
    LogPosition,
    LogQuery,
    StoredLine,
    decode_lines,
)
from kaiju_tasks.types import LogLine, LogPage

PARTS = 100
"""How many rows of lines are read at once."""
PAGE_BYTES = 4 * 1024 * 1024
PLACE_MAX = 2**53
START = LogPosition(0, 0, 0, 0)


class LogsApi:
    """The methods on the log lines of runs."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._runs = RunsApi(manager)

    async def list(self, caller: Caller, params: LogListParams) -> LogPage:
        """List what the stages of a run have logged, and what their process commands have printed.

        Of each attempt, the first 128 KiB and the last are kept; `left_out` says where lines are
        missing. A page of long lines can have fewer than `limit`. Lines are in the order of
        cycles, stages and attempts. While the run is open, a later call with the `cursor` lists
        what has been written after it, but not lines of earlier stages and attempts that have
        come late: a call without `after` lists all.
        """
        after = params.after
        place = _place(after) if isinstance(after, str) else None
        above = after if isinstance(after, int) else 0
        query = LogQuery(params.job_id, params.stage, params.attempt, place, above)
        if self._manager.logs.unsettled(params.job_id):
            await self._runs.get(caller, JobParams(params.job_id))  # others need not wait
            await self._manager.logs.settled(params.job_id)
        lines = await self._read(query, seen_by(caller, access.READ_TASKS), params.limit)
        if not lines:
            await self._runs.get(caller, JobParams(params.job_id))
            return LogPage([], after if isinstance(after, str) else None)
        if not caller.principal.sees_data:
            for line in lines:
                line.message = line.fields = None
        return LogPage(lines, _cursor(lines[-1]))

    async def _read(self, query: LogQuery, sight: Sight, limit: int) -> "list_[LogLine]":
        page = _Page(query, limit)
        while True:
            parts = await self._manager.store.log_parts(query, sight, PARTS)
            for part in parts:
                page.add(part)
            if page.full or len(parts) < PARTS:
                return page.lines
            query = replace(query, after=_position(parts[-1].attempt, parts[-1].last))


class _Page:
    """Collects the lines of a query up to the limit, and notes where lines are missing."""

    def __init__(self, query: LogQuery, limit: int) -> None:
        self.lines: list[LogLine] = []
        self.full = False
        self._query = query
        self._limit = limit
        self._size = 0
        self._last: LogPosition | None = query.after

    def add(self, part: LogPart) -> None:
        for line in _lines(part):
            place = _position(part.attempt, line.n)
            if line.n <= self._query.above or place <= (self._query.after or START):
                continue
            if self.full:
                return
            self._append(place, line)

    def _append(self, place: LogPosition, line: StoredLine) -> None:
        before = self._query.above
        if self._last is not None and self._last[:3] == place[:3]:
            before = self._last.n
        self.lines.append(
            LogLine(
                n=line.n,
                at=line.at,
                level=line.level,  # type: ignore[arg-type]
                source=line.source,  # type: ignore[arg-type]
                message=line.message,
                fields=line.fields,
                stage=place.stage,
                attempt=place.attempt,
                cycle=place.cycle,
                left_out=line.n - before - 1,
            )
        )
        self._last = place
        self._size += len(line.message) + len(memoryview(line.fields))
        self.full = len(self.lines) >= self._limit or self._size >= PAGE_BYTES


def _position(attempt: Attempt, n: int) -> LogPosition:
    return LogPosition(attempt.cycle, attempt.stage, attempt.attempt, n)


def _lines(part: LogPart) -> "list_[StoredLine]":
    """The lines of a part. Those that cannot be read count as left out."""
    try:
        return decode_lines(part.body)
    except msgspec.DecodeError:
        return []


def _place(cursor: str) -> LogPosition:
    numbers = cursor.split(".")
    if len(numbers) == 4 and all(one.isdecimal() and one.isascii() for one in numbers):
        place = LogPosition(*map(int, numbers))
        if max(place) <= PLACE_MAX:
            return place
    raise InvalidParams("`after` must be a number, or the `cursor` of `logs.list`", field="after")


def _cursor(line: LogLine) -> str:
    return f"{line.cycle}.{line.stage}.{line.attempt}.{line.n}"


list_ = list
