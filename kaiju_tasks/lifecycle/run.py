"""Runs: how a run opens, proceeds, is retried and ends."""

from typing import Any

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.lifecycle import hooks
from kaiju_tasks.lifecycle.lineage import WAIT_SECONDS, cause_of
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.retries import is_retried, retry_delay
from kaiju_tasks.lifecycle.schedule import is_late, let_pass, next_moment, record_missed
from kaiju_tasks.lifecycle.statuses import EXECUTED, FAILED, FINISHED, IDLE
from kaiju_tasks.lifecycle.step import NotificationDraft, RunEnd, RunRecord
from kaiju_tasks.lifecycle.versions import edits_note
from kaiju_tasks.types import (
    ErrorType,
    ExitCode,
    Outcome,
    RestartPolicy,
    TaskStatus,
)


def open_run(
    move: Move,
    job_id: str,
    *,
    at: float,
    scheduled_at: float | None = None,
    chain: str | None = None,
) -> None:
    """Open a new run that begins at a given time, from the first stage.

    :param chain: the starts that led to it
    """
    row = move.row
    row.job_id = job_id
    row.chain = chain
    row.open = True
    row.held = None
    row.hold_next = row.start_next = False
    row.stage = row.cycle = row.attempt = row.retries = row.result_bytes = 0
    row.losses = row.fruitless = 0
    row.stages = len(move.definition.commands)
    row.exec_used = 0.0
    row.exit_code = row.error = None
    row.scheduled_at = scheduled_at
    row.queued_at = row.wait_deadline = row.stage_started_at = None
    row.run_queued_at = row.run_started_at = None
    move.results = {}
    move.idle(at)


def begin(
    move: Move, job_id: str, *, scheduled_at: float | None = None, chain: str | None = None
) -> None:
    """Begin a new run now. The run of a disabled task stays IDLE until the task is enabled."""
    open_run(move, job_id, at=move.now, scheduled_at=scheduled_at, chain=chain)
    if move.row.enabled:
        proceed(move)


def proceed(move: Move) -> None:
    """Continue from the current stage: to the stream, through hooks, or to the end of the run."""
    row = move.row
    if row.run_queued_at is None:
        row.run_queued_at = move.now
        row.start_next = False
    row.next_run = None if row.fire_at is None else next_moment(row, move.definition)
    while row.stage < row.stages:
        command = move.command
        if not row.enabled:
            move.queue()
            return
        if not command.is_hook:
            _queue_within_time(move)
            return
        move.start_stage()
        try:
            if not hooks.reach(move, command):
                return
        except TemplateError as exc:
            fail_template(move, exc)
            return
    end(move, FINISHED, ExitCode.SUCCESS)


def _queue_within_time(move: Move) -> None:
    if move.row.exec_used < move.definition.max_exec_timeout:
        move.queue()
    else:
        fail_exec_timeout(move)


# -- failures ----------------------------------------------------------------------------


def fail(move: Move, type: str, message: str, data: Any = None, *, final: bool = False) -> None:
    """Fail the current stage: retry, or end the run.

    :param final: a retry must not repeat what failed
    """
    error = move.error(type, message, data)
    move.record(Outcome.FAILED, error=error)
    move.leave_children()
    if not final and is_retried(move.row, move.definition, type):
        _retry(move, error)
        return
    timeout = type == ErrorType.EXEC_TIMEOUT
    end(move, FAILED, ExitCode.ABORTED if timeout else ExitCode.EXECUTION_ERROR, error)


def fail_template(move: Move, exc: TemplateError) -> None:
    fail(move, ErrorType.TEMPLATE, str(exc), exc.data)


def fail_results_too_large(move: Move, max_run_bytes: int) -> None:
    fail(
        move,
        ErrorType.RESULT_TOO_LARGE,
        f"the results of the run would exceed {max_run_bytes} bytes",
    )


def fail_exec_timeout(move: Move) -> None:
    seconds = move.definition.max_exec_timeout
    fail(
        move,
        ErrorType.EXEC_TIMEOUT,
        f"the run executed longer than its max_exec_timeout of {seconds:g} seconds",
    )


def fail_stage_timeout(move: Move) -> None:
    row = move.row
    assert row.stage_deadline is not None
    assert row.stage_started_at is not None
    seconds = row.stage_deadline - row.stage_started_at
    fail(
        move,
        ErrorType.STAGE_TIMEOUT,
        f"the stage ran longer than its `max_timeout` of {seconds:g} seconds",
    )


def abort(move: Move, type: ErrorType, message: str, outcome: Outcome, data: Any = None) -> None:
    """End the run without a retry; a running or waiting stage is recorded."""
    error = move.error(type, message, data)
    if move.row.status is EXECUTED or move.at_hook:
        move.record(outcome, error=error)
    move.leave_children()
    end(move, FAILED, ExitCode.ABORTED, error)


def _retry(move: Move, error: str) -> None:
    row, definition = move.row, move.definition
    move.unlease()
    row.retries += 1
    row.exec_used = 0.0
    row.error, row.exit_code = error, None
    row.wait_deadline = None
    if definition.restart_policy is RestartPolicy.FIRST:
        _rewind(move)
    _wait(move, retry_delay(definition, f"{row.job_id}", row.retries))


def postpone(move: Move, seconds: float, message: str, data: Any = None) -> None:
    """Run the current stage again later, as its command has asked. This is no retry: the time that
    the run has executed still counts."""
    if move.exec_spent() >= move.definition.max_exec_timeout:
        fail_exec_timeout(move)
        return
    row = move.row
    error = move.error(ErrorType.RETRY_AFTER, message, data)
    move.record(Outcome.FAILED, error=error)
    move.unlease()
    row.error, row.exit_code = error, None
    _wait(move, seconds)


def _wait(move: Move, delay: float) -> None:
    """Continue after a delay."""
    row = move.row
    if delay >= WAIT_SECONDS:
        row.chain = None
    hold = row.hold_next
    move.idle(move.now + delay)
    if hold:
        move.hold(IDLE)
    elif delay <= 0:
        proceed(move)


def _rewind(move: Move) -> None:
    row = move.row
    row.cycle += 1
    row.stage = row.attempt = row.losses = row.fruitless = row.result_bytes = 0
    move.results = {}
    move.replay_messages()


# -- the end -----------------------------------------------------------------------------


def end(move: Move, status: TaskStatus, exit_code: ExitCode, error: str | None = None) -> None:
    """End the run: write history, notification, webhook and next task. A scheduled task then waits
    for its next fire."""
    row, definition, step = move.row, move.definition, move.step
    executor_id, hold = row.executor_id, row.hold_next
    move.unlease()
    row.exit_code, row.error = int(exit_code), error
    close_run(move, status, executor_id=executor_id)
    announce_end(move, status)
    finished = status is FINISHED
    if finished and definition.next_task is not None:
        step.start_next, step.cause = definition.next_task, cause_of(row, definition)
    step.events.append("task.finished" if finished else "task.failed")
    if not (row.start_next or row.explicit):
        row.chain = None
    row.open = row.hold_next = False
    row.held = None
    row.wait_deadline = row.queue_deadline = row.queue_left = None
    row.ready = 0
    rest(move)
    move.arrive(row.status, row.reason)
    if hold and row.status is IDLE:
        move.hold(IDLE)


def announce_end(move: Move, status: TaskStatus) -> None:
    """Announce the end of the run that was just recorded: by a notification, to the webhook, and to
    tasks that wait for it."""
    row, definition, step = move.row, move.definition, move.step
    assert row.job_id is not None
    assert row.exit_code is not None
    if definition.notify:
        text = f"Task {row.id} {'finished' if status is FINISHED else 'failed'}."
        step.notification = NotificationDraft(
            row.id, row.job_id, status, row.exit_code, row.error, text, move.now
        )
    if definition.webhook is not None:
        step.call = step.runs[-1]
    if row.awaited:
        step.run_end = RunEnd(status, row.exit_code, row.error, row.job_id, row.cycle, row.stage)


def close_run(
    move: Move, status: str, *, executor_id: str | None = None, note: str | None = None
) -> None:
    """Append the open run to the history and drop its messages."""
    record_run(move, status, executor_id=executor_id, note=note)
    move.drop_messages()


def record_run(
    move: Move, status: str, *, executor_id: str | None = None, note: str | None = None
) -> None:
    """Append the open run to the history."""
    row = move.row
    assert row.job_id is not None
    if move.definition.run_edits and (edits := edits_note(move.definition, row.job_id)):
        note = edits if note is None else f"{note}; {edits}"
    move.step.runs.append(
        RunRecord(
            row.job_id,
            row.id,
            row.job_id,
            status,
            row.scheduled_at,
            row.run_queued_at,
            row.run_started_at,
            move.now,
            row.exit_code,
            row.error,
            row.retries,
            row.stage,
            row.stages,
            executor_id,
            note,
            move.definition.version,
        )
    )


def rest(move: Move) -> None:
    """Set the status of a task without an open run: IDLE if a run is planned, else the outcome."""
    row = move.row
    miss_fires(move)
    coming = move.now if row.start_next else next_moment(row, move.definition)
    if coming is not None or row.exit_code is None:
        move.idle(coming)
        return
    row.next_run = None
    ok = row.exit_code == ExitCode.SUCCESS
    move.stand(FINISHED if ok else FAILED, None)


def miss_fires(move: Move) -> None:
    """Record fires that have passed as missed; fires of a disabled task are not recorded."""
    row, definition = move.row, move.definition
    if row.fire_at is None or row.explicit:
        return
    if not definition.scheduled:
        row.fire_at = None
    elif not row.enabled:
        let_pass(row, definition, move.now)
    elif not is_late(row, definition, move.now):
        row.late_until = None
        record_missed(row, definition, move.step, definition.misfire, before=move.now, now=move.now)
