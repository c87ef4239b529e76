"""The columns that `--where` filters by.

The tables repeat those of the API, without importing them: a one-shot command starts quickly.
"""

from typing import NamedTuple

__all__ = ["AUDIT", "BULKS", "EVENTS", "NOTIFICATIONS", "RUNS", "STATUSES", "TASKS", "Columns"]


STATUSES = ("IDLE", "QUEUED", "EXECUTED", "WAITING", "SUSPENDED", "FINISHED", "FAILED")
"""The statuses of tasks."""
OUTCOMES = ("FINISHED", "FAILED", "CANCELLED", "MISSED")
"""How runs end."""
STATES = ("RUNNING", "FINISHED", "STOPPED", "FAILED")
"""The states of bulk calls."""


LABEL = "label."


class Columns(NamedTuple):
    """The columns of one kind of entry.

    :ivar text: columns that hold text: `123` is text there, too
    :ivar other: columns that hold numbers, flags or times
    :ivar statuses: the values of the column that `status` names
    :ivar labelled: `label.KEY` is a column with text, too
    """

    text: frozenset[str]
    other: frozenset[str]
    statuses: tuple[str, ...] = STATUSES
    labelled: bool = True
    status: str = "status"

    def holds_text(self, name: str) -> bool:
        """Whether a column holds text."""
        return name in self.text or self._is_label(name)

    def has(self, name: str) -> bool:
        """Whether a column exists."""
        return name in self.text | self.other or self._is_label(name)

    def _is_label(self, name: str) -> bool:
        return self.labelled and name.startswith(LABEL) and name != LABEL


def _columns(
    text: str,
    other: str,
    statuses: tuple[str, ...] = STATUSES,
    *,
    labelled: bool = False,
    status: str = "status",
) -> Columns:
    return Columns(frozenset(text.split()), frozenset(other.split()), statuses, labelled, status)


TASKS = _columns(
    "id app_name status status_reason method error.type job_id executor_id cron next_task group "
    "group_id user_id parent_id description",
    "enabled priority stage stages retries exit_code next_run queued_at exec_deadline "
    "every wait_deadline scheduled_at status_change created system notify",
    labelled=True,
)
RUNS = _columns(
    "job_id task_id app_name status error.type executor_id cron group group_id user_id parent_id",
    "exit_code scheduled_at queued_at started_at ended_at retries stage stages every rev",
    OUTCOMES,
    labelled=True,
)
NOTIFICATIONS = _columns(
    "id user_id task_id job_id status message",
    "created enabled exit_code",
)
AUDIT = _columns("id user_id remote action target", "at")
BULKS = _columns("id method user_id state", "started ended", STATES, status="state")
EVENTS = _columns(
    "event id job_id app_name status status_reason executor_id parent_id group group_id user_id "
    "manager_id",
    "stage stages retries exit_code priority time",
    labelled=True,
)
