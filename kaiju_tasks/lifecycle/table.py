"""The transition table: the handler and the possible target statuses of each event and status.

Parts of `docs/lifecycle.md` are generated from it. If a status is not listed for an event, an
operator's call is a conflict, and any other event has no effect: late, early and repeated events
are harmless.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kaiju_tasks.errors import Conflict
from kaiju_tasks.lifecycle.events import (
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
)
from kaiju_tasks.lifecycle.handlers import (
    children,
    due,
    executors,
    gates,
    inbox,
    operators,
    update,
)
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.statuses import (
    EXECUTED,
    FAILED,
    FINISHED,
    IDLE,
    QUEUED,
    SUSPENDED,
    WAITING,
)
from kaiju_tasks.types import TaskStatus


class Rule(NamedTuple):
    """A handler, and every status that the task may have afterwards."""

    handler: Callable[[Move, Any], None]
    targets: frozenset[TaskStatus]


def _same(move: Move, event: Event) -> None:
    move.nothing()


def _stale(move: Move, event: Event) -> None:
    move.stale()


ONWARD = frozenset({IDLE, QUEUED, WAITING, FINISHED, FAILED})


def _to(handler: Callable[[Move, Any], None], *targets: TaskStatus) -> Rule:
    return Rule(handler, frozenset(targets))


def _onward(handler: Callable[[Move, Any], None], *more: TaskStatus) -> Rule:
    return Rule(handler, ONWARD.union(more))


def _everywhere(rule: Callable[[TaskStatus], Rule]) -> dict[TaskStatus, Rule]:
    return {status: rule(status) for status in TaskStatus}


def _reports(rule: Rule) -> dict[TaskStatus, Rule]:
    return _everywhere(lambda status: rule if status is EXECUTED else _to(_stale, status))


TABLE: dict[type[Event], dict[TaskStatus, Rule]] = {
    Due: {
        IDLE: _onward(due.due),
        QUEUED: _to(due.due, QUEUED, IDLE, FAILED),
        EXECUTED: _onward(due.due, EXECUTED, SUSPENDED),
        WAITING: _onward(due.due),
    },
    Acquired: {QUEUED: _to(executors.acquired, QUEUED, EXECUTED)},
    SlotFull: {QUEUED: _to(gates.slot_full, QUEUED, IDLE, FAILED)},
    MethodLacking: {QUEUED: _to(gates.method_lacking, QUEUED)},
    GateOpened: {QUEUED: _to(gates.gate_opened, QUEUED)},
    PauseBegan: {
        QUEUED: _to(gates.pause_began, QUEUED),
        EXECUTED: _onward(gates.recalled, EXECUTED, SUSPENDED),
    },
    Watched: _everywhere(lambda status: _to(children.watched, status)),
    ChildrenLooked: {WAITING: _onward(children.children_looked)},
    StageFinished: _reports(_onward(executors.stage_finished, EXECUTED, SUSPENDED)),
    StageFailed: _reports(_onward(executors.stage_failed, EXECUTED, SUSPENDED)),
    StageExtended: _reports(_to(executors.stage_extended, EXECUTED)),
    ExecutorLost: {EXECUTED: _onward(executors.executor_lost, EXECUTED, SUSPENDED)},
    MessageCame: {
        **_everywhere(lambda status: _to(inbox.message_came, status)),
        WAITING: _onward(inbox.message_came),
        FINISHED: _to(inbox.message_late, FINISHED),
        FAILED: _to(inbox.message_late, FAILED),
    },
    Start: {
        **_everywhere(lambda status: _to(due.start, status)),
        IDLE: _onward(due.start),
        FINISHED: _onward(due.start),
        FAILED: _onward(due.start),
    },
    Suspend: {
        IDLE: _to(operators.suspend, SUSPENDED),
        QUEUED: _to(operators.suspend, SUSPENDED),
        EXECUTED: _to(operators.suspend_executed, SUSPENDED, EXECUTED),
        WAITING: _to(operators.suspend, SUSPENDED),
        SUSPENDED: _to(operators.suspend_held, SUSPENDED),
    },
    Resume: {SUSPENDED: _onward(operators.resume)},
    Cancel: {
        status: _to(operators.cancel, IDLE, FAILED)
        for status in (IDLE, QUEUED, EXECUTED, WAITING, SUSPENDED)
    },
    Reset: _everywhere(lambda status: _onward(operators.reset)),
    RunNow: {
        IDLE: _onward(operators.run_now_idle),
        QUEUED: _to(_same, QUEUED),
        FINISHED: _onward(operators.run_now_ended),
        FAILED: _onward(operators.run_now_ended),
    },
    RestartFrom: _everywhere(lambda status: _onward(operators.restart_from)),
    Update: {
        IDLE: _to(update.update, IDLE, FINISHED, FAILED),
        QUEUED: _onward(update.update),
        EXECUTED: _to(update.update, EXECUTED),
        WAITING: _to(update.update, WAITING),
        SUSPENDED: _to(update.update, SUSPENDED, IDLE, FINISHED, FAILED),
        FINISHED: _to(update.update, FINISHED, IDLE),
        FAILED: _to(update.update, FAILED, IDLE),
    },
    Delete: _everywhere(lambda status: _to(operators.delete, status)),
}

OPERATOR_CALLS = frozenset({Suspend, Resume, Cancel, Reset, RunNow, RestartFrom, Update, Delete})


def not_possible(kind: type[Event], status: TaskStatus) -> Conflict:
    """The error of an operator's call that the status does not allow."""
    verb = {RunNow: "run_now", RestartFrom: "restart_from"}.get(kind, kind.__name__.lower())
    return Conflict(f"{verb} is not possible: the task is {status}", status=status)
