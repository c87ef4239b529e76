"""Logs how runs end, and that leases move to another executor."""

import logging
from collections.abc import Iterable

import msgspec

from kaiju_tasks.lifecycle import Attempt, Row, RunRecord
from kaiju_tasks.line_budget import LineBudget
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.types import ErrorType, Outcome, RunOutcome, TaskError

log = logging.getLogger("kaiju_tasks.manager.runs")
budget = LineBudget(log)

ERROR_CHARACTERS = 500
MOVES = {
    Outcome.LOST: (logging.WARNING, "lease moved: its executor was lost"),
    Outcome.RELEASED: (logging.INFO, "lease moved: its executor gave the task back"),
}

_decode_error = msgspec.json.Decoder(TaskError).decode


def log_changes(changes: Iterable[Change]) -> None:
    """Log what committed changes ended: a failed run at level error, a lost lease at level
    warning, everything else at level info."""
    spent, left_out = budget.is_spent(), 0
    for change in changes:
        step = change.step
        for attempt in step.attempts:
            if attempt.rescued and attempt.outcome in MOVES:
                _log_move(attempt, step.row)
        for run in step.runs:
            if run.status == RunOutcome.MISSED:
                continue
            if spent and run.error is None:
                left_out += 1
            else:
                _log_end(run, step.row)
    if left_out:
        budget.leave_out(left_out)


def _log_move(attempt: Attempt, row: Row) -> None:
    level, message = MOVES[attempt.outcome]
    if not budget.admits(level):
        return
    extra = {
        "task_id": row.id,
        "job_id": attempt.job_id,
        "app_name": row.app_name,
        "stage": attempt.stage,
        "attempt": attempt.attempt,
        "method": attempt.method,
        "executor_id": attempt.executor_id,
    }
    log.log(level, message, extra=extra)


def _log_end(run: RunRecord, row: Row) -> None:
    error = _error_of(run)
    cancelled = error is not None and error.type == ErrorType.CANCELLED
    failed = run.status == RunOutcome.FAILED and not cancelled
    level = logging.ERROR if failed else logging.INFO
    if not budget.admits(level):
        return
    extra: dict[str, object] = {
        "task_id": run.task_id,
        "job_id": run.job_id,
        "app_name": row.app_name,
        "retries": run.retries,
    }
    if run.queued_at is not None:
        extra["seconds"] = round(run.ended_at - run.queued_at, 3)
    if error is not None:
        extra["stage"] = error.stage
        extra["error"] = str(error.type)
        extra["reason"] = error.message[:ERROR_CHARACTERS]
    log.log(level, "run cancelled" if cancelled else f"run {run.status.lower()}", extra=extra)


def _error_of(run: RunRecord) -> TaskError | None:
    """The error of a run. A run that was dropped has that of its last attempt, as it was stored."""
    if run.error is None:
        return None
    try:
        return _decode_error(run.error)
    except (msgspec.DecodeError, UnicodeError):
        return None
