"""Builds the public events of a committed change and of a stage's progress."""

import msgspec
from msgspec import Struct

from kaiju_tasks.lifecycle import Attempt, Definition, Row, RunRecord
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.protocol import Report
from kaiju_tasks.store.logs import StoredLine, WrittenChunk
from kaiju_tasks.types import ENDED, ENDED_WELL, FAILED_ATTEMPTS, TaskError, TaskEvent, TaskStatus

TEXT_MAX = 500
"""Maximum characters of an event's message. The row has the whole message."""

# Plain strings, as in `Step.events`: looking them up is faster than enum members.
QUEUED, STARTED, PROGRESS = "task.queued", "task.started", "task.progress"
STAGE, WAITING, SUSPENDED = "task.stage", "task.waiting", "task.suspended"
ATTEMPT_FAILED = "task.attempt_failed"
LOG = "task.log"
FINISHED, FAILED = "task.finished", "task.failed"

STATUS_OF = {
    QUEUED: TaskStatus.QUEUED,
    WAITING: TaskStatus.WAITING,
    SUSPENDED: TaskStatus.SUSPENDED,
    FINISHED: TaskStatus.FINISHED,
    FAILED: TaskStatus.FAILED,
}
ENDS = (FINISHED, FAILED)

_decode_error = msgspec.json.Decoder(TaskError).decode


class Progress(Struct):
    """The progress that a running stage reports."""

    done: float
    total: float | None = None
    message: str | None = None


class LogWritten(Struct, frozen=True):
    """The lines of an attempt that were stored together.

    :param chunk: the last chunk of them, as the store has written it
    :param line: the last line
    """

    task_id: str
    executor_id: str
    chunk: WrittenChunk
    line: StoredLine


_decode_progress = msgspec.json.Decoder(Progress).decode


def events_of(change: Change, manager_id: str) -> list[TaskEvent]:
    """Build the events of a change, in order."""
    step = change.step
    done = (attempt for attempt in step.attempts if attempt.outcome in ENDED_WELL)
    failed = (attempt for attempt in step.attempts if attempt.outcome in FAILED_ATTEMPTS)
    run = next((run for run in step.runs if run.status in ENDED), None)
    events = []
    for name in step.events:
        event = _event(name, step.row, change.definition, manager_id)
        if name == STAGE:
            _add_stage(event, next(done))
        elif name == ATTEMPT_FAILED:
            _add_failed_attempt(event, next(failed))
        elif name == STARTED:
            _add_start(event, step.row)
        elif name == SUSPENDED and step.attempts:
            event.executor_id = step.attempts[-1].executor_id
        elif name in ENDS and run is not None:
            _add_end(event, run)
        events.append(event)
    return events


def progress_event(
    report: Report, definition: Definition, executor_id: str, manager_id: str, now: float
) -> TaskEvent:
    """Build the event of a progress report.

    :raises msgspec.DecodeError: the report does not contain valid progress
    """
    progress = read_progress(report)
    row = Row(id=report.id, job_id=report.job_id, stage=report.stage, status_change=now)
    row.app_name, row.priority = definition.app_name, definition.priority
    row.status, row.stages = TaskStatus.EXECUTED, len(definition.commands)
    event = _event(PROGRESS, row, definition, manager_id)
    event.retries, event.executor_id = None, executor_id
    event.data = msgspec.structs.asdict(progress)
    return event


def log_event(written: LogWritten, definition: Definition, manager_id: str) -> TaskEvent:
    """Build the event of stored log lines, with the last of them."""
    chunk, line = written.chunk, written.line
    attempt = chunk.attempt
    row = Row(id=written.task_id, job_id=attempt.job_id, stage=attempt.stage, status_change=line.at)
    row.app_name, row.priority = definition.app_name, definition.priority
    row.status, row.stages = TaskStatus(chunk.status), chunk.stages
    event = _event(LOG, row, definition, manager_id)
    event.retries, event.executor_id = None, written.executor_id
    event.data = {
        "stage": attempt.stage,
        "attempt": attempt.attempt,
        "cycle": attempt.cycle,
        "n": line.n,
        "at": line.at,
        "level": line.level,
        "source": line.source,
        "message": _short(line.message),
    }
    return event


def read_progress(report: Report) -> Progress:
    """The progress in a report, with at most TEXT_MAX characters of its message.

    :raises msgspec.DecodeError: the report does not contain valid progress
    """
    progress = _decode_progress(report.result)
    if progress.message is not None:
        progress.message = _short(progress.message)
    return progress


def _event(name: str, row: Row, definition: Definition, manager_id: str) -> TaskEvent:
    status = STATUS_OF.get(name, row.status)
    return TaskEvent(
        event=name,
        id=row.id,
        job_id=row.job_id,
        app_name=row.app_name,
        status=status,
        status_reason=row.reason if row.status is status else None,
        stage=row.stage,
        stages=row.stages,
        retries=row.retries,
        exit_code=row.exit_code,
        executor_id=None,
        priority=row.priority,
        parent_id=definition.parent_id,
        group=definition.group,
        group_id=definition.group_id,
        user_id=definition.user_id,
        time=row.status_change,
        manager_id=manager_id,
        labels=definition.labels,
    )


def _add_start(event: TaskEvent, row: Row) -> None:
    _add_running(event, row.executor_id)
    event.time = row.run_started_at or event.time


def _add_running(event: TaskEvent, executor_id: str | None) -> None:
    """Show the task as running or, at a hook, waiting: the next event shows what followed."""
    event.executor_id, event.status_reason = executor_id, None
    event.status = TaskStatus.WAITING if executor_id is None else TaskStatus.EXECUTED


def _add_stage(event: TaskEvent, attempt: Attempt) -> None:
    _add_running(event, attempt.executor_id)
    event.stage, event.time = attempt.stage + 1, attempt.ended_at
    event.data = {
        "stage": attempt.stage,
        "name": attempt.name,
        "method": attempt.method,
        "outcome": attempt.outcome,
    }


def _add_failed_attempt(event: TaskEvent, attempt: Attempt) -> None:
    _add_running(event, attempt.executor_id)
    event.job_id, event.stage, event.time = attempt.job_id, attempt.stage, attempt.ended_at
    error = None if attempt.error is None else _decode_error(attempt.error)
    event.data = {
        "stage": attempt.stage,
        "name": attempt.name,
        "method": attempt.method,
        "attempt": attempt.attempt,
        "outcome": attempt.outcome,
        "type": None if error is None else error.type,
        "message": None if error is None else _short(error.message),
    }


def _add_end(event: TaskEvent, run: RunRecord) -> None:
    event.job_id, event.exit_code = run.job_id, run.exit_code
    event.executor_id, event.time = run.executor_id, run.ended_at
    if run.error is not None:
        error = _decode_error(run.error)
        event.data = {"type": error.type, "message": _short(error.message), "stage": error.stage}


def _short(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"
