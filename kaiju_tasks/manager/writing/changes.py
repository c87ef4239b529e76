"""What a transaction changed, as it is published after the commit."""

from typing import Generic, NamedTuple, TypeVar

from kaiju_tasks.lifecycle import Definition, Row, Step, TaskState

T = TypeVar("T")


class Change:
    """A Step and the definition it was made with.

    :ivar before: the row as it was; None for a new task
    :ivar replaced: the definition as it was, where it changed
    """

    __slots__ = ("before", "definition", "replaced", "step")

    def __init__(self, step: Step, definition: Definition, before: Row | None) -> None:
        self.step = step
        self.definition = definition
        self.before = before
        self.replaced: Definition | None = None

    @classmethod
    def of(cls, step: Step, state: TaskState) -> "Change":
        """What a step changed of a state."""
        if step.definition is None:
            return cls(step, state.definition, state.row)
        change = cls(step, step.definition, state.row)
        change.replaced = state.definition
        return change


class Written(NamedTuple, Generic[T]):
    """What one try of a transaction did.

    :param value: the answer to the caller
    :param changes: to be published after the commit
    """

    value: T
    changes: list[Change]
