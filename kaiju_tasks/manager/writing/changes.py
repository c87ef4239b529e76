"""Holds the changes of a transaction until they are published after the commit."""

from typing import Generic, NamedTuple, TypeVar

from kaiju_tasks.lifecycle import Definition, Row, Step, TaskState

T = TypeVar("T")


class Change:
    """A step and the definition of its task.

    :ivar before: the row before the step; None for a new task
    :ivar replaced: the previous definition, if the step changed it
    """

    __slots__ = ("before", "definition", "replaced", "step")

    def __init__(self, step: Step, definition: Definition, before: Row | None) -> None:
        self.step = step
        self.definition = definition
        self.before = before
        self.replaced: Definition | None = None

    @classmethod
    def of(cls, step: Step, state: TaskState) -> "Change":
        """The change that a step makes to a state."""
        if step.definition is None:
            return cls(step, state.definition, state.row)
        change = cls(step, step.definition, state.row)
        change.replaced = state.definition
        return change


class Written(NamedTuple, Generic[T]):
    """The result of one attempt of a transaction.

    :param value: the value for the caller
    :param changes: the changes to publish after the commit
    """

    value: T
    changes: list[Change]
