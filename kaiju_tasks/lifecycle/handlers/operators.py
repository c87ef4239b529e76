"""Handlers for calls of operators and clients."""

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.lifecycle import hooks
from kaiju_tasks.lifecycle.events import (
    Cancel,
    Delete,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    Suspend,
)
from kaiju_tasks.lifecycle.lineage import chain_of
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.restarts import held_by_operator, situation_of, stage_to_restart
from kaiju_tasks.lifecycle.run import abort, begin, close_run, open_run, proceed, rest
from kaiju_tasks.lifecycle.statuses import EXECUTED, FAILED, QUEUED, SUSPENDED, WAITING
from kaiju_tasks.lifecycle.step import CopyResults, RunEnd
from kaiju_tasks.lifecycle.versions import Author, differing
from kaiju_tasks.types import ErrorType, ExitCode, Outcome, Reason

NOTHING_TO_CANCEL = "no run is open: nothing to cancel"


def suspend(move: Move, event: Suspend) -> None:
    move.hold(move.row.status, by_user=event.by_user)


def suspend_executed(move: Move, event: Suspend) -> None:
    row = move.row
    by_user = event.by_user and not held_by_operator(row)
    if event.wait_stage:
        row.hold_next = True
        if by_user or row.reason == Reason.USER:
            move.stand(EXECUTED, Reason.USER if by_user else None)
        return
    move.interrupt(Outcome.SUSPENDED)
    move.hold(QUEUED, by_user=by_user)


def suspend_held(move: Move, event: Suspend) -> None:
    """An operator takes over what a user has suspended."""
    if event.by_user or held_by_operator(move.row):
        move.nothing()
    else:
        move.stand(SUSPENDED, Reason.OPERATOR)


def resume(move: Move, event: Resume) -> None:
    """Return to the held status; deadlines that have passed take effect at once (`due_at`)."""
    row = move.row
    held, row.held = row.held, None
    if held == WAITING:
        if hooks.go_back(move):
            proceed(move)
    elif held == QUEUED:
        proceed(move)
    elif row.open:
        move.idle(row.next_run)
    else:
        rest(move)


def cancel(move: Move, event: Cancel) -> None:
    row = move.row
    if not row.open:
        raise Conflict(NOTHING_TO_CANCEL, status=row.status)
    row.hold_next = False
    move.revoke()
    abort(move, ErrorType.CANCELLED, event.message, Outcome.CANCELLED)


def reset(move: Move, event: Reset) -> None:
    if _began_before(move, event):
        return
    chain = chain_of(event.cause, move.row, "reset")
    _drop_run(move, "reset")
    if event.definition is not None:
        changed = differing(event.definition, move.definition)
        author = Author(event.definition.user_id)
        move.take(event.definition, event.rev, changed, author)
    begin(move, event.job_id, chain=chain)


def _began_before(move: Move, event: Reset | RunNow | RestartFrom) -> bool:
    """Whether this event has already begun its run. An event is repeated if the outcome of its
    commit is unknown, and each `job_id` belongs to one run only."""
    if event.job_id != move.row.job_id:
        return False
    move.nothing()
    return True


def _drop_run(move: Move, note: str) -> None:
    """End an open run without a final outcome."""
    row = move.row
    executor_id = row.executor_id
    move.interrupt(Outcome.CANCELLED)
    if row.begun:
        close_run(move, Outcome.CANCELLED, executor_id=executor_id, note=note)
    move.drop_messages()


def run_now_idle(move: Move, event: RunNow) -> None:
    row = move.row
    if _began_before(move, event):
        return
    chain = chain_of(event.cause, row, "run_now")
    if not row.open:
        begin(move, event.job_id, chain=chain)
        return
    row.chain = chain
    if row.enabled:
        proceed(move)
    else:
        row.next_run = move.now


def run_now_ended(move: Move, event: RunNow) -> None:
    if not _began_before(move, event):
        begin(move, event.job_id, chain=chain_of(event.cause, move.row, "run_now"))


def restart_from(move: Move, event: RestartFrom) -> None:
    """Begin a new run at a stage, with copies of the earlier results."""
    row = move.row
    if _began_before(move, event):
        return
    stage_to_restart(situation_of(row), event.stage)
    if event.definition is not None and event.stage >= (stages := len(event.definition.commands)):
        raise InvalidParams(
            f"stage must be from 0 to {stages - 1}: the version has no more", field="stage"
        )
    chain = chain_of(event.cause, row, "restart_from")
    old_job, old_cycle = row.job_id, row.cycle
    kept = {stage: result for stage, result in move.results.items() if stage < event.stage}
    size = row.result_bytes if event.stage == row.stage else sum(map(len, kept.values()))
    _drop_run(move, "restarted")
    if event.definition is not None:
        move.take(event.definition, event.rev, event.changed, event.author)
    open_run(move, event.job_id, at=move.now, chain=chain)
    row.stage, row.result_bytes = event.stage, size
    move.results = kept
    if event.stage:
        assert old_job is not None
        move.step.copy_results = CopyResults(old_job, old_cycle, event.job_id, event.stage)
    if row.enabled and (event.definition is None or _has_results(move)):
        proceed(move)


def _has_results(move: Move) -> bool:
    """Whether the results that the hooks of another definition read were loaded. If not, the task
    is due at once, and proceeds when they are."""
    return all(s in move.results for s in move.definition.hook_results if s < move.row.stage)


def delete(move: Move, event: Delete) -> None:
    row = move.row
    move.leave_children()
    move.revoke()
    move.step.deleted = True
    if row.awaited:
        error = move.error(ErrorType.CANCELLED, "the task was deleted")
        move.step.run_end = RunEnd(
            FAILED, ExitCode.ABORTED, error, row.job_id, row.cycle, row.stage
        )
