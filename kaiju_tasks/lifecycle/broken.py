"""Ends a task that cannot be advanced, so that it does not hold up the others.

Its definition, its status or an earlier result cannot be read, the time zone of its schedule is
gone, or it meets a bug. The task is FAILED without a next fire, until somebody updates, resets or
deletes it.
"""

from kaiju_tasks.errors import Conflict, reason_of
from kaiju_tasks.lifecycle.claims import claim_change
from kaiju_tasks.lifecycle.definition import BrokenDefinition
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.run import announce_end, record_run
from kaiju_tasks.lifecycle.state import TaskState, is_known
from kaiju_tasks.lifecycle.statuses import FAILED, FINISHED
from kaiju_tasks.lifecycle.step import Step, Wait
from kaiju_tasks.types import ErrorType, ExitCode, Reason


class Unreadable(Conflict):
    """What is stored of a task cannot be read."""


def refuse_broken(task: TaskState) -> None:
    """:raises Unreadable: the definition or the status cannot be read"""
    status = task.row.status
    if isinstance(task.definition, BrokenDefinition):
        problem = task.definition.problem
        raise Unreadable(f"the stored definition cannot be read: {problem}", status=status)
    if not is_known(status):
        raise Unreadable(f"the stored status {status!r:.100} is unknown", status=status)


def fail_broken(task: TaskState, error: Exception, now: float) -> Step:
    """The step of a task that cannot be advanced. It uses as little of the task as possible.

    :param error: why it cannot be advanced
    """
    move = Move(task, now)
    row, step, definition = move.row, move.step, move.definition
    if row.status in (FAILED, FINISHED) and not row.open and row.due_at is None:
        move.stale()
        return step
    executor_id = row.executor_id
    if row.reason == Reason.TASKS and row.job_id is not None:
        step.abandon = Wait(row.job_id, row.stage)
    move.revoke()
    move.unlease()
    row.exit_code, row.error = int(ExitCode.EXECUTION_ERROR), move.error(*_problem(error))
    if row.open and row.job_id is not None:
        record_run(move, FAILED, executor_id=executor_id)
        step.events.append("task.failed")
        announce_end(move, FAILED)
    row.open = row.hold_next = row.start_next = row.explicit = False
    row.held = row.chain = row.fire_at = row.late_until = row.next_run = row.due_at = None
    row.wait_deadline = row.queue_deadline = row.queue_left = None
    row.ready = 0
    move.arrive(FAILED, None)
    row.version += 1
    if isinstance(definition, BrokenDefinition):
        step.claim = ""  # whatever its unique key was
    elif definition.unique_key is not None:
        step.claim = claim_change(task.row, definition, row, definition)
    return step


def _problem(error: Exception) -> tuple[str, str]:
    if isinstance(error, Unreadable):
        return ErrorType.INTERNAL, str(error)
    return (
        ErrorType.INTERNAL,
        f"the task cannot be continued: {type(error).__name__}: {reason_of(error)}",
    )
