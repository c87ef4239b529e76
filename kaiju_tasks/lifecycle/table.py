"""The transition table: for each event and status, who handles it and where it may lead.

`docs/lifecycle.md` is drawn from it. What is not listed for an event is a conflict for an
operator's call, and nothing for everything else: late, early and repeated events do no harm.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kaiju_tasks.lifecycle import clock, edit, family, gates, mail, operate, work
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
    """A handler, and every status in which it may leave the task."""

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
        IDLE: _onward(clock.due),
        QUEUED: _to(clock.due, QUEUED, IDLE, FAILED),
        EXECUTED: _onward(clock.due, EXECUTED, SUSPENDED),
        WAITING: _onward(clock.due),
    },
    Acquired: {QUEUED: _to(work.acquired, QUEUED, EXECUTED)},
    SlotFull: {QUEUED: _to(gates.slot_full, QUEUED, IDLE, FAILED)},
    GateOpened: {QUEUED: _to(gates.gate_opened, QUEUED)},
    PauseBegan: {
        QUEUED: _to(gates.pause_began, QUEUED),
        EXECUTED: _onward(gates.recalled, EXECUTED, SUSPENDED),
    },
    Watched: _everywhere(lambda status: _to(family.watched, status)),
    ChildrenLooked: {WAITING: _onward(family.children_looked)},
    StageFinished: _reports(_onward(work.stage_finished, EXECUTED, SUSPENDED)),
    StageFailed: _reports(_onward(work.stage_failed, EXECUTED, SUSPENDED)),
    StageExtended: _reports(_to(work.stage_extended, EXECUTED)),
    ExecutorLost: {EXECUTED: _onward(work.executor_lost, EXECUTED, SUSPENDED)},
    MessageCame: {
        **_everywhere(lambda status: _to(mail.message_came, status)),
        WAITING: _onward(mail.message_came),
        FINISHED: _to(mail.message_late, FINISHED),
        FAILED: _to(mail.message_late, FAILED),
    },
    Start: {
        **_everywhere(lambda status: _to(clock.start, status)),
        IDLE: _onward(clock.start),
        FINISHED: _onward(clock.start),
        FAILED: _onward(clock.start),
    },
    Suspend: {
        IDLE: _to(operate.suspend, SUSPENDED),
        QUEUED: _to(operate.suspend, SUSPENDED),
        EXECUTED: _to(operate.suspend_executed, SUSPENDED, EXECUTED),
        WAITING: _to(operate.suspend, SUSPENDED),
        SUSPENDED: _to(_same, SUSPENDED),
    },
    Resume: {SUSPENDED: _onward(operate.resume)},
    Cancel: {
        status: _to(operate.cancel, IDLE, FAILED)
        for status in (IDLE, QUEUED, EXECUTED, WAITING, SUSPENDED)
    },
    Reset: _everywhere(lambda status: _onward(operate.reset)),
    RunNow: {
        IDLE: _onward(operate.run_now_idle),
        QUEUED: _to(_same, QUEUED),
        FINISHED: _onward(operate.run_now_ended),
        FAILED: _onward(operate.run_now_ended),
    },
    RestartFrom: _everywhere(lambda status: _onward(operate.restart_from)),
    Update: {
        IDLE: _to(edit.update, IDLE, FINISHED, FAILED),
        QUEUED: _onward(edit.update),
        EXECUTED: _to(edit.update, EXECUTED),
        WAITING: _to(edit.update, WAITING),
        SUSPENDED: _to(edit.update, SUSPENDED, IDLE, FINISHED, FAILED),
        FINISHED: _to(edit.update, FINISHED, IDLE),
        FAILED: _to(edit.update, FAILED, IDLE),
    },
    Delete: _everywhere(lambda status: _to(operate.delete, status)),
}

OPERATOR_CALLS = frozenset({Suspend, Resume, Cancel, Reset, RunNow, RestartFrom, Update, Delete})
