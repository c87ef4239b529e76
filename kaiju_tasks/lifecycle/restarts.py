"""From which stage a new run can start, with copies of the earlier results."""

from typing import Literal, NamedTuple

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.lifecycle.state import Row
from kaiju_tasks.types import Reason, TaskStatus

FAILED_STAGE: Literal["failed"] = "failed"
"""In place of the number of a stage: the one at which the last run has failed."""


class Situation(NamedTuple):
    """What of a row decides whether an operator's call is refused.

    :param last_stage: the last stage from which a new run can start
    :param held: whether an operator has suspended it, or will have when its stage ends
    """

    status: str
    open: bool
    exit_code: int | None
    last_stage: int
    held: bool

    @property
    def has_failed(self) -> bool:
        """Whether the last run has failed, and no other has begun."""
        return not self.open and self.exit_code not in (None, 0)


def situation_of(row: Row) -> Situation:
    """The situation of a task."""
    last = min(row.stage, row.stages - 1)
    return Situation(row.status, row.open, row.exit_code, last, held_by_operator(row))


def held_by_operator(row: Row) -> bool:
    """Whether an operator has suspended a task, or will have when its stage ends."""
    return (row.status is TaskStatus.SUSPENDED or row.hold_next) and row.reason != Reason.USER


def stage_to_restart(situation: Situation, stage: int | Literal["failed"]) -> int:
    """The stage from which a new run starts.

    :param stage: its number, or FAILED_STAGE
    :raises Conflict: the last run has not failed
    :raises InvalidParams: the last run has not come so far
    """
    if stage == FAILED_STAGE:
        if not situation.has_failed:
            message = "restart_from is not possible: the last run has not failed"
            raise Conflict(message, status=situation.status)
        return situation.last_stage
    if not 0 <= stage <= situation.last_stage:
        raise InvalidParams(
            f"stage must be from 0 to {situation.last_stage}: the last run came no further",
            field="stage",
        )
    return stage
