"""What bulk calls can do to each task."""

from collections.abc import Callable

from msgspec import Raw, Struct

from kaiju_tasks.errors import KaijuError
from kaiju_tasks.lifecycle import (
    Cancel,
    Delete,
    Event,
    MessageCame,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    Situation,
    Suspend,
    TaskState,
    foresee,
    situation_of,
    stage_to_restart,
)
from kaiju_tasks.manager.writing.entries import EventSource
from kaiju_tasks.manager.writing.run_rights import hold_refusal, respects_holds
from kaiju_tasks.rights import Access, Kind, Principal, access
from kaiju_tasks.store.bulks import BulkArgs, StoredBulk


class Tools(Struct, frozen=True):
    """What the events are made with.

    :param new_id: draws an id
    :param max_run_bytes: the most bytes of results and messages of a run
    """

    new_id: Callable[[], str]
    max_run_bytes: int


class Action(Struct, frozen=True):
    """What a method does to each task.

    :param kind: its event
    :param access: what a caller must be allowed to do with the task
    :param event: makes the event
    :ivar lifts: whether it lets a suspended task go on
    """

    kind: type[Event]
    access: Access
    event: Callable[[StoredBulk, Principal, Tools], EventSource]

    @property
    def lifts(self) -> bool:
        return self.access is access.OPERATE_TASKS and self.kind is not Suspend

    def foresee(
        self, situation: Situation, args: BulkArgs, principal: Principal, task_id: str | None
    ) -> KaijuError | None:
        """The error that a task in this situation would answer with; None if there is none.

        :param principal: who calls
        :param task_id: None for several tasks
        """
        if self.lifts and situation.held and respects_holds(principal):
            return hold_refusal(task_id)
        return foresee(self.kind, situation, args.stage)


def _reset(bulk: StoredBulk, principal: Principal, tools: Tools) -> EventSource:
    cause = bulk.order.cause
    return lambda state: Reset(job_id=tools.new_id(), cause=cause)


def _run_now(bulk: StoredBulk, principal: Principal, tools: Tools) -> EventSource:
    cause = bulk.order.cause
    return lambda state: RunNow(job_id=tools.new_id(), cause=cause)


def _restart_from(bulk: StoredBulk, principal: Principal, tools: Tools) -> EventSource:
    cause, stage = bulk.order.cause, bulk.order.args.stage
    assert stage is not None  # the method requires it

    def event(state: TaskState) -> Event:
        at = stage_to_restart(situation_of(state.row), stage)
        return RestartFrom(job_id=tools.new_id(), stage=at, cause=cause)

    return event


def _message(bulk: StoredBulk, principal: Principal, tools: Tools) -> EventSource:
    args = bulk.order.args
    return MessageCame(
        message_id=args.message_id or bulk.id,
        name=args.name,
        data=Raw((args.data or "null").encode()),
        max_run_bytes=tools.max_run_bytes,
        sender=bulk.user_id,
    )


def _suspend(bulk: StoredBulk, principal: Principal, tools: Tools) -> EventSource:
    by_user = principal.kind is Kind.USER
    return Suspend(wait_stage=bool(bulk.order.args.wait_stage), by_user=by_user)


ACTIONS = {
    "tasks.m_reset": Action(Reset, access.OPERATE_TASKS, _reset),
    "tasks.m_cancel": Action(Cancel, access.OPERATE_TASKS, lambda bulk, principal, tools: Cancel()),
    "tasks.m_suspend": Action(Suspend, access.OPERATE_TASKS, _suspend),
    "tasks.m_resume": Action(Resume, access.OPERATE_TASKS, lambda bulk, principal, tools: Resume()),
    "tasks.m_run_now": Action(RunNow, access.OPERATE_TASKS, _run_now),
    "tasks.m_restart_from": Action(RestartFrom, access.OPERATE_TASKS, _restart_from),
    "tasks.m_message": Action(MessageCame, access.MESSAGE_TASKS, _message),
    "tasks.m_delete": Action(Delete, access.CHANGE_TASKS, lambda bulk, principal, tools: Delete()),
}
"""The actions by the full name of the method."""
