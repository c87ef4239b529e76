"""When a wait for a run is over."""

from kaiju_tasks.api.params import Seen
from kaiju_tasks.store.base import TaskView
from kaiju_tasks.types import ENDED


class Awaited:
    """The run that somebody waits for: the open one, or else the one that begins next. A reset
    one-off is waited for on; of a schedule the next run is another one.

    :param seen: the wait is over, too, when the task no longer stands so
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
