"""Versions of a task in calls: which one is changed, and which stage of it is meant."""

from collections.abc import Callable

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.lifecycle import (
    FAILED_STAGE,
    Definition,
    Event,
    Row,
    TaskState,
    situation_of,
    stage_to_restart,
)
from kaiju_tasks.times import show_time


def if_version(version: int, change: Callable[[TaskState], Event]) -> Callable[[TaskState], Event]:
    """A change that only happens to one version of the task's definition.

    Called with another one, it raises Conflict, which names the current version, and when and by
    whom it was made.
    """

    def build(state: TaskState) -> Event:
        if state.definition.version != version:
            raise _changed_since(state, version)
        return change(state)

    return build


def stage_of(row: Row, definition: Definition, stage: int | str) -> int:
    """The index of the stage from which a new run starts.

    :param definition: of the new run
    :param stage: its index or its name; FAILED_STAGE, unless a command has this name, is the stage
        at which the last run has failed
    :raises InvalidParams: no command has this name
    :raises Conflict: the last run has not failed
    """
    if isinstance(stage, int):
        return stage
    names = definition.stage_of_name
    if stage in names:
        return names[stage]
    if stage == FAILED_STAGE:
        return stage_to_restart(situation_of(row), FAILED_STAGE)
    raise InvalidParams(f"`stage`: no command is named {stage!r}", field="stage")


def _changed_since(state: TaskState, version: int) -> Conflict:
    definition = state.definition
    edit, now = definition.edit, f"its `rev` is {definition.version}, not {version}"
    message = f"the task {definition.id!r} is not the one that you have read: {now}"
    if edit is not None:
        by = "somebody" if edit.user_id is None else repr(edit.user_id)
        message = f"{by} has changed the task {definition.id!r} at {show_time(edit.at)}: {now}"
    return Conflict(
        message,
        status=state.row.status,
        field="if_rev",
        rev=definition.version,
        user_id=None if edit is None else edit.user_id,
        at=None if edit is None else edit.at,
        changed=[] if edit is None else edit.changed,
    )
