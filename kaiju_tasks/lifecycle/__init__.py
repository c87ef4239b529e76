"""The life of a task is a pure function: `advance(task, event, now) -> Step`.

Only this package changes the status of a task. It has no clock, no randomness and no I/O. An
operator's call that the status does not allow raises and changes nothing; for a late or stale
event the Step has no effect.
"""

from msgspec.structs import replace

from kaiju_tasks.lifecycle.broken import Unreadable, fail_broken, refuse_broken
from kaiju_tasks.lifecycle.children import ChildFailure, ChildPlan
from kaiju_tasks.lifecycle.claims import claim_change, claimed, differences, refuses
from kaiju_tasks.lifecycle.clock_step import pass_over
from kaiju_tasks.lifecycle.definition import (
    BrokenDefinition,
    Command,
    Definition,
    Edit,
    broken_definition,
)
from kaiju_tasks.lifecycle.events import (
    EVENTS,
    Acquired,
    Cancel,
    ChildrenLooked,
    Delete,
    Due,
    Event,
    ExecutorLost,
    GateOpened,
    MessageCame,
    MethodLacking,
    PauseBegan,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    SlotFull,
    StageExtended,
    StageFailed,
    StageFinished,
    Start,
    Suspend,
    Update,
    Watched,
    given_back,
)
from kaiju_tasks.lifecycle.foresight import foresee
from kaiju_tasks.lifecycle.handlers.due import due_at
from kaiju_tasks.lifecycle.handlers.update import FIXED_DURING_A_RUN
from kaiju_tasks.lifecycle.lineage import WAIT_SECONDS, Cause, cause_of, descend, inherit_labels
from kaiju_tasks.lifecycle.move import Move, holds
from kaiju_tasks.lifecycle.pauses import (
    NO_PAUSES,
    OWNER,
    BrokenPause,
    Pauses,
    is_over,
    owner_pause,
    owner_pause_id,
)
from kaiju_tasks.lifecycle.restarts import (
    FAILED_STAGE,
    Situation,
    held_by_operator,
    situation_of,
    stage_to_restart,
)
from kaiju_tasks.lifecycle.run import open_run, proceed
from kaiju_tasks.lifecycle.schedule import coming_fires, next_moment, plan_next
from kaiju_tasks.lifecycle.slot_keys import shown_slot_key, slot_key
from kaiju_tasks.lifecycle.state import (
    GRACE_SECONDS,
    InboxMessage,
    Row,
    TaskState,
    at_method,
    at_slot,
    executes,
    gate_pause,
    is_known,
    is_suspect_gate,
    method_gate,
    pause_gate,
    slot_gate,
)
from kaiju_tasks.lifecycle.statuses import FAILED, IDLE
from kaiju_tasks.lifecycle.step import (
    Attempt,
    CopyResults,
    NotificationDraft,
    Received,
    Revoke,
    RunEnd,
    RunRecord,
    Spawn,
    Step,
    Wait,
)
from kaiju_tasks.lifecycle.table import OPERATOR_CALLS, TABLE, not_possible
from kaiju_tasks.lifecycle.versions import KEPT as VERSIONS_KEPT
from kaiju_tasks.lifecycle.versions import Author, edits_note
from kaiju_tasks.times import iso_moment

__all__ = [
    "EVENTS",
    "FAILED_STAGE",
    "FIXED_DURING_A_RUN",
    "GRACE_SECONDS",
    "NO_PAUSES",
    "OPERATOR_CALLS",
    "OWNER",
    "TABLE",
    "VERSIONS_KEPT",
    "WAIT_SECONDS",
    "Acquired",
    "Attempt",
    "Author",
    "BrokenDefinition",
    "BrokenPause",
    "Cancel",
    "Cause",
    "ChildFailure",
    "ChildPlan",
    "ChildrenLooked",
    "Command",
    "CopyResults",
    "Definition",
    "Delete",
    "Due",
    "Edit",
    "Event",
    "ExecutorLost",
    "GateOpened",
    "InboxMessage",
    "MessageCame",
    "MethodLacking",
    "NotificationDraft",
    "PauseBegan",
    "Pauses",
    "Received",
    "Reset",
    "RestartFrom",
    "Resume",
    "Revoke",
    "Row",
    "RunEnd",
    "RunNow",
    "RunRecord",
    "Situation",
    "SlotFull",
    "Spawn",
    "StageExtended",
    "StageFailed",
    "StageFinished",
    "Start",
    "Step",
    "Suspend",
    "TaskState",
    "Unreadable",
    "Update",
    "Wait",
    "Watched",
    "advance",
    "at_method",
    "at_slot",
    "broken_definition",
    "cause_of",
    "claimed",
    "coming_fires",
    "create",
    "descend",
    "differences",
    "due_at",
    "edits_note",
    "executes",
    "fail_broken",
    "foresee",
    "gate_pause",
    "given_back",
    "held_by_operator",
    "holds",
    "inherit_labels",
    "is_known",
    "is_over",
    "is_suspect_gate",
    "method_gate",
    "owner_pause",
    "owner_pause_id",
    "pass_over",
    "pause_gate",
    "refuses",
    "shown_slot_key",
    "situation_of",
    "slot_gate",
    "slot_key",
    "stage_to_restart",
]


def advance(task: TaskState, event: Event, now: float) -> Step:
    """Apply one event to a task.

    :param task: is not modified
    :param now: UNIX seconds
    :returns: the changed task and its effects; `changed` is False if the event has no effect
    :raises Conflict: an operator's call that the status does not allow
    :raises InvalidParams: an operator's call with a wrong argument
    """
    kind, status = type(event), task.row.status
    if kind is not Delete:
        refuse_broken(task)
    elif not is_known(status):
        status = FAILED  # it can be deleted whatever it is
    rule = TABLE[kind].get(status)
    if rule is None:
        if kind in OPERATOR_CALLS:
            raise not_possible(kind, status)
        return Step(task.row, changed=False)
    move = Move(task, now)
    rule.handler(move, event)
    step = move.step
    if step.changed:
        row = step.row
        row.version += 1
        row.due_at = due_at(row, task.grace_seconds)
        if move.not_before is not None and row.due_at is not None:
            row.due_at = max(row.due_at, move.not_before)
        if move.definition.unique_key is not None or task.definition.unique_key is not None:
            step.claim = claim_change(task.row, task.definition, row, move.definition)
    return step


def create(
    definition: Definition,
    now: float,
    *,
    job_id: str,
    rev: int,
    enabled: bool = True,
    next_run: float | None = None,
    pauses: Pauses = NO_PAUSES,
    awaited: bool = False,
) -> Step:
    """Create a task. A task that is due now skips IDLE and proceeds at once.

    :param now: UNIX seconds; the task is created at this time
    :param job_id: of a one-off's run; a scheduled task gets a new one at each fire
    :param next_run: explicit first run, UNIX seconds; a time in the past means now, and later fires
        of an interval still count from that time
    :param pauses: all pauses
    :param awaited: another task waits for the end of this one's run
    """
    definition = replace(definition, created=iso_moment(now))
    row = Row(
        id=definition.id,
        app_name=definition.app_name,
        priority=definition.priority,
        status=IDLE,
        enabled=enabled,
        stages=len(definition.commands),
        status_change=now,
        rev=rev,
        awaited=awaited,
    )
    move = Move(TaskState(row, definition, pauses=pauses), now)
    row = move.row
    if not definition.scheduled:
        open_run(move, job_id, at=now if next_run is None else max(now, next_run))
        if enabled and row.next_run == now:
            proceed(move)
    else:
        if next_run is not None:
            row.fire_at, row.explicit, row.anchor = max(now, next_run), True, next_run
        else:
            row.anchor = now + (definition.every or 0.0)
            plan_next(row, definition, now)
        move.idle(next_moment(row, definition))
    row.due_at = due_at(row, GRACE_SECONDS)
    move.step.definition = definition
    move.step.claim = claimed(row, definition)
    return move.step
