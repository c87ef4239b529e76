"""Handlers for due times: first runs, retries, fires, deadlines; and for `next_task` starts."""

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.lifecycle import hooks
from kaiju_tasks.lifecycle.events import Due, Start
from kaiju_tasks.lifecycle.lineage import WAIT_SECONDS, chained
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.run import (
    abort,
    begin,
    fail_exec_timeout,
    fail_stage_timeout,
    fail_template,
    proceed,
    rest,
)
from kaiju_tasks.lifecycle.schedule import (
    missed_run,
    next_moment,
    record_missed,
    take_fire,
)
from kaiju_tasks.lifecycle.state import Row
from kaiju_tasks.lifecycle.statuses import EXECUTED, IDLE, QUEUED, WAITING
from kaiju_tasks.types import ENDED, ErrorType, Limit, Outcome


def due_at(row: Row, grace_seconds: float) -> float | None:
    """When the manager must next handle a row.

    :param grace_seconds: see `TaskState`
    """
    status = row.status
    if status is EXECUTED:
        return _lease_deadline(row) + grace_seconds
    if status is QUEUED:
        return row.queue_deadline
    if status is IDLE:
        if not row.enabled:
            return None
        return row.status_change if row.start_next and not row.begun else row.next_run
    if status is WAITING:
        return row.wait_deadline
    return None


def due(move: Move, event: Due) -> None:
    moment = due_at(move.row, move.task.grace_seconds)
    if moment is None or moment > move.now:
        move.nothing()
    else:
        WHEN_DUE[move.row.status](move, event)


def _lease_deadline(row: Row) -> float:
    assert row.exec_deadline is not None
    if row.stage_deadline is None:
        return row.exec_deadline
    return min(row.stage_deadline, row.exec_deadline)


def due_idle(move: Move, event: Due) -> None:
    if move.row.open:
        proceed(move)
    elif move.row.start_next:
        begin(move, event.job_id, chain=move.row.chain)
    else:
        fire(move, event)


def fire(move: Move, event: Due) -> None:
    """Begin the run of the next fire, unless it was missed."""
    row, definition = move.row, move.definition
    record_missed(
        row, definition, move.step, definition.misfire, before=event.up_since, now=move.now
    )
    moment = next_moment(row, definition)
    if moment is None or moment > move.now:
        rest(move)
        return
    scheduled_at = row.fire_at
    assert scheduled_at is not None
    chain = row.chain if row.explicit else None
    take_fire(row, definition, move.step, move.now, event.grace, event.heard_since)
    begin(move, event.job_id, scheduled_at=scheduled_at, chain=chain)


def due_queued(move: Move, event: Due) -> None:
    abort(
        move,
        ErrorType.QUEUE_TIMEOUT,
        "no executor took the task within its max_queue_time",
        Outcome.FAILED,
    )


def due_executed(move: Move, event: Due) -> None:
    """Revoke the lease and fail the stage: the executor did not enforce the deadline itself. An
    executor that may have been unable to report gets the time in which it would be expelled."""
    row = move.row
    judged_at = event.heard_since + Limit.SUSPEND_AFTER_PINGS * move.task.grace_seconds
    if row.status_change < event.heard_since and move.now < judged_at:
        move.not_before = judged_at
        return
    move.revoke()
    if row.stage_deadline == _lease_deadline(row):
        fail_stage_timeout(move)
    else:
        fail_exec_timeout(move)


def due_waiting(move: Move, event: Due) -> None:
    try:
        goes_on = hooks.time_is_up(move)
    except TemplateError as exc:
        fail_template(move, exc)
        return
    if goes_on:
        proceed(move)
        return
    abort(
        move,
        ErrorType.MESSAGE_TIMEOUT,
        f"the wait exceeded its max_timeout of {move.command.max_timeout or 0:g} seconds",
        Outcome.FAILED,
    )


WHEN_DUE = {
    IDLE: due_idle,
    QUEUED: due_queued,
    EXECUTED: due_executed,
    WAITING: due_waiting,
}


def start(move: Move, event: Start) -> None:
    """Start one run now, or one run right after the open run."""
    row = move.row
    chain = chained(event.cause, row.id)
    if not row.enabled:
        _skip(move, event, "this task is disabled")
    elif event.denied is not None:
        _skip(move, event, event.denied)
    elif chain is None:
        _skip(move, event, f"the tasks form a circle without a wait of {WAIT_SECONDS:g} second")
    elif event.later:
        row.start_next, row.chain = True, chain
        if row.status in ENDED:
            move.idle(move.now)
    elif row.status in ENDED:
        begin(move, event.job_id, chain=chain)
    elif row.status is IDLE and not row.begun:
        if row.open:
            row.chain = chain
            proceed(move)
        else:
            begin(move, event.job_id, chain=chain)
    else:
        row.start_next, row.chain = True, chain


def _skip(move: Move, event: Start, reason: str) -> None:
    note = f"skipped: next_task of {event.cause.by}, but {reason}"
    run = missed_run(move.row, move.definition, move.now, move.now, note, event.cause.by)
    move.step.runs.append(run)
