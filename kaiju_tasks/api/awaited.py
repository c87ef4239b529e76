"""When a wait for a run is over."""

from kaiju_tasks.store.base import TaskView
from kaiju_tasks.types import TaskStatus

ENDED = (TaskStatus.FINISHED, TaskStatus.FAILED)


class Awaited:
    """The run that somebody waits for: the open one, or else the one that begins next. A reset
    one-off is waited for on; of a schedule the next run is another one."""

    def __init__(self, first: TaskView) -> None:
        self._last_job = first.row.job_id
        self._seen_open = False

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
