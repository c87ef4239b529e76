"""Logs when a stage starts, and how it ends."""

import logging

from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.line_budget import LineBudget
from kaiju_tasks.protocol import ReportError, ReportState

__all__ = ["log_end", "log_start", "log_stop"]

logger = logging.getLogger("kaiju_tasks.executor.stage")
budget = LineBudget(logger)

ERROR_CHARACTERS = 500


def log_start(info: StageInfo) -> None:
    """Log at level info that a stage starts."""
    if budget.admits(logging.INFO):
        logger.info("stage started", extra=_identity(info))


def log_end(info: StageInfo, state: ReportState, error: ReportError | None, seconds: float) -> None:
    """Log the outcome of a stage: at level warning if it failed, else info. A stage that has not
    begun and is given back is logged at level debug."""
    if error is not None:
        level, message = logging.WARNING, "stage failed"
    elif state is ReportState.RELEASED:
        level, message = logging.DEBUG, "stage given back before it began"
    elif state is ReportState.SKIPPED:
        level, message = logging.INFO, "stage skipped"
    else:
        level, message = logging.INFO, "stage finished"
    if not budget.admits(level):
        return
    extra = _identity(info)
    extra["seconds"] = round(seconds, 3)
    if error is not None:
        extra["error"] = str(error.type)
        extra["reason"] = error.message[:ERROR_CHARACTERS]
    logger.log(level, message, extra=extra)


def log_stop(info: StageInfo, seconds: float) -> None:
    """Log that a running stage is stopped without an outcome, because its lease ends."""
    if budget.admits(logging.INFO):
        extra = _identity(info)
        extra["seconds"] = round(seconds, 3)
        logger.info("stage stopped: its lease ends", extra=extra)


def _identity(info: StageInfo) -> dict[str, object]:
    return {
        "task_id": info.task_id,
        "job_id": info.job_id,
        "app_name": info.app_name,
        "stage": info.stage,
        "attempt": info.attempt,
        "method": info.method,
    }
