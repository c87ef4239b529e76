"""What a step of the clock means for a task.

Times that count from a moment (deadlines, timers, delays, intervals) move with the clock: SPANS.
The fires of a cron expression and the first run at a date keep their time of day.
"""

from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.handlers.due import due_at
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.schedule import keep_last_passed
from kaiju_tasks.lifecycle.state import GRACE_SECONDS, Row, TaskState
from kaiju_tasks.lifecycle.statuses import EXECUTED

SPANS = frozenset(
    {
        "queued_at",
        "queue_deadline",
        "exec_deadline",
        "stage_deadline",
        "stage_started_at",
        "wait_deadline",
        "run_queued_at",
        "run_started_at",
        "status_change",
        "reason_change",
    }
)
"""Fields of an unfinished task that move with the clock."""
SPANS_OF_INTERVALS = frozenset({"due_at", "next_run", "fire_at", "anchor", "late_until"})
"""Fields that move unless they are the time of a cron expression or a date."""
NOT_MOVED = frozenset({"scheduled_at", "queue_left", "exec_used"})
"""Nominal times of fires, which identify them, and amounts of seconds."""


def pass_over(row: Row, definition: Definition, now: float) -> Row | None:
    """Let only the last of the fires that the clock has jumped over remain.

    :param now: the clock after the step
    :returns: the changed row; None if nothing changes
    """
    if not _follows_time_of_day(row, definition):
        return None
    move = Move(TaskState(row, definition), now)
    row = move.row
    if not keep_last_passed(row, definition, now):
        return None
    move.show_next_run()
    if row.status is not EXECUTED:  # `due_at` of a lease has moved with its deadlines
        row.due_at = due_at(row, GRACE_SECONDS)
    return row


def _follows_time_of_day(row: Row, definition: Definition) -> bool:
    """Whether the next fires do not move with the clock: those of a cron expression, and those of
    an interval whose first run is at a date that has not been reached."""
    return definition.cron is not None or (row.explicit and not definition.delayed)
