"""Remembers the rows of running tasks, so that their next change needs no query for them."""

from collections import OrderedDict
from collections.abc import Iterable

from kaiju_tasks.lifecycle import Row
from kaiju_tasks.types import TaskStatus

MAX_ROWS = 10_000


class KnownRows:
    """The rows of EXECUTED tasks as this manager has last committed them, which may be outdated.

    :param limit: maximum number of rows; the oldest are forgotten first
    """

    def __init__(self, limit: int = MAX_ROWS) -> None:
        self._limit = limit
        self._rows: OrderedDict[str, Row] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, task_id: str) -> Row | None:
        return self._rows.get(task_id)

    def committed(self, row: Row) -> None:
        """Remember a committed row if its task is EXECUTED; otherwise forget the task."""
        if row.status is not TaskStatus.EXECUTED:
            self._rows.pop(row.id, None)
            return
        self._rows[row.id] = row
        if len(self._rows) > self._limit:
            self._rows.popitem(last=False)

    def forget(self, ids: Iterable[str]) -> None:
        for task_id in ids:
            self._rows.pop(task_id, None)
