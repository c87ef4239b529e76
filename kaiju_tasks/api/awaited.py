"""The condition that ends a wait for a run."""

from kaiju_tasks.api.params import Seen
from kaiju_tasks.store.base import TaskView
from kaiju_tasks.types import ENDED


class Awaited:
    """The run that a caller waits for: the open run, or the next run if none is open.

    If a one-off is reset, the wait continues with its new run. For a schedule, the next run is a
    different run, and the wait ends.

    :param seen: the wait also ends if the task differs from this state
    """

    def __init__(self, first: TaskView, seen: Seen | None = None) -> None:
        self._last_job = first.row.job_id
        self._seen_open = False
        self._seen = seen

    def over(self, view: TaskView) -> bool:
        row = view.row
        stands = Seen(row.status, row.stage, row.reason)
        return self.ended(view) or self._seen not in (None, stands)

    def ended(self, view: TaskView) -> bool:
        row = view.row
        if row.status in ENDED:
            return True
        was_seen, self._seen_open = self._seen_open, self._seen_open or row.open
        another = row.job_id != self._last_job
        self._last_job = row.job_id
        if not row.open:
            return was_seen or another
        return was_seen and another and view.definition.scheduled
