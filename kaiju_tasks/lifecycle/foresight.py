"""Foresees which operators' calls tasks refuse, from a few values of their rows.

It says of a task what `advance` would say, except of what depends on more than these values: the
circles that a stage's call can close, and whether a later hook takes a message.
"""

from typing import Literal

from kaiju_tasks.errors import Conflict, KaijuError
from kaiju_tasks.lifecycle.events import Cancel, Event, MessageCame, RestartFrom
from kaiju_tasks.lifecycle.handlers.inbox import RUN_IS_OVER
from kaiju_tasks.lifecycle.handlers.operators import NOTHING_TO_CANCEL
from kaiju_tasks.lifecycle.restarts import Situation, stage_to_restart
from kaiju_tasks.lifecycle.table import OPERATOR_CALLS, TABLE, not_possible
from kaiju_tasks.types import ENDED, TaskStatus


def foresee(
    kind: type[Event], situation: Situation, stage: int | Literal["failed"] | None = None
) -> KaijuError | None:
    """The error that a task in this situation would answer a call with; None if there is none.

    :param kind: the event of the call
    :param stage: of a RestartFrom: its number, or FAILED_STAGE
    """
    if situation.status not in list(TaskStatus):
        return None
    status = TaskStatus(situation.status)
    if kind is MessageCame:
        return Conflict(RUN_IS_OVER, status=status) if status in ENDED else None
    if kind in OPERATOR_CALLS and status not in TABLE[kind]:
        return not_possible(kind, status)
    if kind is Cancel and not situation.open:
        return Conflict(NOTHING_TO_CANCEL, status=status)
    if kind is RestartFrom and stage is not None:
        try:
            stage_to_restart(situation, stage)
        except KaijuError as error:
            return error
    return None
