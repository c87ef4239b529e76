"""Finds the first fires of schedules, which are looked at in the order of their next runs. Pure."""

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import islice

from kaiju_tasks.lifecycle import coming_fires
from kaiju_tasks.store.base import TaskView

AT_ONCE_MAX = 64
"""The most fires of a schedule that are calculated at once."""
Fire = tuple[float, str, TaskView]
Place = tuple[float, str]
"""A time and the id of a task, in whose order fires are listed."""


class FirstFires:
    """The first fires of a time, among those of the schedules that were added.

    No schedule fires before its `next_run`.

    :param start: UNIX seconds
    :param end: UNIX seconds; fires at this time are left out
    :ivar wanted: the number of fires
    :ivar found: the fires, in their order
    """

    def __init__(self, start: float, end: float, wanted: int) -> None:
        self._start = start
        self._end = end
        self.wanted = wanted
        self.found: list[Fire] = []
        self._added: set[str] = set()

    def add(self, views: Sequence[TaskView]) -> None:
        """Take the fires of some schedules into account.

        A schedule that was added before is left out: it has fired since and is read again, because
        its next run is later now.
        """
        new = [view for view in views if view.row.id not in self._added]
        self._added.update(view.row.id for view in new)
        merged = heapq.merge(self.found, *map(self._fires, new))
        self.found = list(islice(merged, self.wanted))

    def needs(self, place: Place) -> bool:
        """Whether a schedule with this next run and id can have one of the first fires."""
        return len(self.found) < self.wanted or place < self.found[-1][:2]

    def until(self, place: Place | None) -> list[Fire]:
        """The fires up to a place, or all."""
        return [fire for fire in self.found if place is None or fire[:2] <= place]

    def _fires(self, view: TaskView) -> Iterator[Fire]:
        start, most = self._start, 1
        while True:
            moments = coming_fires(view.row, view.definition, start, self._end, most)
            for moment in moments:
                yield moment, view.row.id, view
            if len(moments) < most:
                return
            start, most = math.nextafter(moments[-1], math.inf), min(2 * most, AT_ONCE_MAX)
