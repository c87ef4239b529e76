"""Handlers for tasks that wait for other tasks, and for tasks that are waited for."""

import msgspec

from kaiju_tasks.lifecycle.children import compiled_tasks
from kaiju_tasks.lifecycle.events import ChildrenLooked, Watched
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.retries import asked_delay
from kaiju_tasks.lifecycle.run import fail, fail_results_too_large, postpone, proceed
from kaiju_tasks.types import TASKS, ErrorType


def watched(move: Move, event: Watched) -> None:
    if move.row.awaited:
        move.nothing()
    move.row.awaited = True


def children_looked(move: Move, event: ChildrenLooked) -> None:
    """Continue if the wait is over; children that have not ended are then cancelled."""
    row, command, wait = move.row, move.command, event.wait
    if command.method != TASKS or (row.job_id, row.stage) != (wait.job_id, wait.stage):
        move.nothing()
        return
    if event.refusal is not None and event.refusal.type == ErrorType.RETRY_AFTER:
        move.leave_children()
        row.wait_deadline = None
        data = event.refusal.data
        postpone(move, asked_delay(data, "retry_after"), event.refusal.message, data)
        return
    if event.refusal is not None:
        fail(move, event.refusal.type, event.refusal.message, event.refusal.data)
        return
    hook = compiled_tasks(bytes(command.params))
    failed = event.failure is not None
    verdict = hook.verdict(left=event.left, finished=event.finished, failed=failed)
    if verdict == "wait":
        move.nothing()
    elif verdict == "failed":
        _child_failed(move, event)
    elif row.result_bytes + len(event.result) > event.max_run_bytes:
        fail_results_too_large(move, event.max_run_bytes)
    else:
        move.leave_children()
        move.stage_done(event.result)
        proceed(move)


def _child_failed(move: Move, event: ChildrenLooked) -> None:
    failure = event.failure
    assert failure is not None
    error = msgspec.json.decode(failure.error)
    fail(
        move,
        ErrorType.CHILD_FAILED,
        f"the task {failure.id!r:.300} failed: {error.get('message', '')}",
        {"id": failure.id, "exit_code": failure.exit_code, "error": error},
        final=failure.final,
    )
