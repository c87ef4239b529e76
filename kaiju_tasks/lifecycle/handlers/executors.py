"""Handlers for acquisitions, reports and losses of executors."""

import math

from kaiju_tasks.lifecycle.events import (
    Acquired,
    ExecutorLost,
    StageExtended,
    StageFailed,
    StageFinished,
)
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.retries import asked_delay, return_delay
from kaiju_tasks.lifecycle.run import (
    abort,
    fail,
    fail_exec_timeout,
    fail_results_too_large,
    postpone,
    proceed,
)
from kaiju_tasks.lifecycle.state import acquirable
from kaiju_tasks.lifecycle.statuses import QUEUED
from kaiju_tasks.types import ErrorType, Limit, Outcome

QUARANTINE_LOSSES = 3
RETURNS_OF_A_LOSS = 5
"""As many fruitless leases in a row count as one loss."""
FRUITLESS_SECONDS = 10.0
"""A lease that lasted longer is not fruitless: the executor has probably worked on the stage."""
MANAGERS_OWN = frozenset(
    {
        ErrorType.CHILD_FAILED,
        ErrorType.QUEUE_TIMEOUT,
        ErrorType.MESSAGE_TIMEOUT,
        ErrorType.EXECUTOR_LOST,
        ErrorType.CANCELLED,
        ErrorType.INTERNAL,
    }
)
"""Only the manager sets these error types; from an executor they become `execution_error`."""


def acquired(move: Move, event: Acquired) -> None:
    if not acquirable(move.row):
        move.nothing()
    elif move.pause is not None:
        move.queue()
    else:
        move.execute(event.executor_id, event.nonce)


def stage_finished(move: Move, event: StageFinished) -> None:
    row = move.row
    if not _is_current(move, event):
        return
    if row.result_bytes + len(event.result) > event.max_run_bytes:
        fail_results_too_large(move, event.max_run_bytes)
        return
    move.stage_done(event.result, Outcome.SKIPPED if event.skipped else Outcome.FINISHED)
    if row.stage == row.stages:
        proceed(move)
    elif row.hold_next:
        move.unlease()
        move.hold(QUEUED)
    elif (
        not row.enabled
        or move.command.is_hook
        or event.ends_before(row.app_name, move.command.method)
        or move.pause is not None
    ):
        move.unlease()
        proceed(move)


def stage_failed(move: Move, event: StageFailed) -> None:
    if not _is_current(move, event):
        return
    move.row.fruitless = 0
    error = event.error
    if error.type == ErrorType.RETRY_AFTER:
        postpone(move, asked_delay(error.data), error.message, error.data)
        return
    own = not error.type or error.type in MANAGERS_OWN
    fail(move, ErrorType.EXECUTION if own else error.type, error.message, error.data)


def stage_extended(move: Move, event: StageExtended) -> None:
    """Grant more time, so that the lease and the time already used do not exceed MAX_T. The
    `max_timeout` of the stage grows by all that was requested, as in the executor."""
    row = move.row
    if not _is_current(move, event):
        return
    assert row.exec_deadline is not None
    lasts = row.exec_deadline - row.status_change + max(0.0, row.exec_used)
    seconds = max(0.0, min(event.seconds, Limit.MAX_T - lasts))
    longer = event.seconds if 0 < event.seconds < math.inf else 0.0
    if not seconds and not (longer and row.stage_deadline is not None):
        move.nothing()
        return
    row.fruitless = 0
    row.exec_deadline += seconds
    row.exec_used -= seconds
    if row.stage_deadline is not None:
        row.stage_deadline += longer


def _is_current(move: Move, event: StageFinished | StageFailed | StageExtended) -> bool:
    """Whether a report is current; a stale or repeated one is answered without an effect."""
    stage = move.row.stage
    if event.stage == stage and move.holds(event.lease):
        return True
    if event.stage < stage and move.holds(event.lease):
        move.nothing()
    else:
        move.stale()
    return False


def executor_lost(move: Move, event: ExecutorLost) -> None:
    """Put the task back at the same stage; a stage that lost three executors ends the run. A task
    that is given back again and again without progress waits, longer each time."""
    row = move.row
    if (
        row.executor_id != event.executor_id
        or event.epoch not in (None, row.epoch)
        or event.nonce not in (None, row.nonce)
    ):
        move.nothing()
        return
    if event.counted or (event.fruitless and _counts_as_loss(move)):
        row.losses += 1
    if row.losses >= QUARANTINE_LOSSES:
        abort(move, ErrorType.EXECUTOR_LOST, _quarantined(move), Outcome.LOST)
    elif move.exec_spent() >= move.definition.max_exec_timeout:
        fail_exec_timeout(move)
    else:
        _put_back(move, event.outcome, return_delay(row.fruitless) if event.fruitless else 0.0)


def _counts_as_loss(move: Move) -> bool:
    """Count a lease that ended soon and without a report; whether it completes a loss."""
    row = move.row
    if move.now - row.status_change >= FRUITLESS_SECONDS:
        row.fruitless = 0
        return False
    row.fruitless += 1
    return row.fruitless % RETURNS_OF_A_LOSS == 0


def _quarantined(move: Move) -> str:
    row = move.row
    stage = f"stage {row.stage + 1} of {row.stages}"  # for people, who count from 1
    text = f"{stage} lost {row.losses} executors and is quarantined"
    if row.fruitless:
        text += f": it was given back {row.fruitless} times in a row without progress"
    return text


def _put_back(move: Move, outcome: Outcome, delay: float) -> None:
    move.record(outcome, rescued=True)
    move.unlease()
    if move.row.hold_next:
        move.hold(QUEUED)
        return
    move.step.events.append("task.suspended")
    if delay > 0:
        move.idle(move.now + delay)
    else:
        proceed(move)
