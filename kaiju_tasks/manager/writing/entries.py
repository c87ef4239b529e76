"""What waits in the committer to be written, and what is published once it is."""

import asyncio
from collections.abc import Callable

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.lifecycle import (
    Definition,
    Event,
    ExecutorLost,
    MessageCame,
    Row,
    StageExtended,
    StageFailed,
    StageFinished,
    Step,
    TaskState,
)
from kaiju_tasks.manager.writing.definitions import definition_bytes
from kaiju_tasks.types import AuditRecord

FENCED = (StageFinished, StageFailed, StageExtended, ExecutorLost, MessageCame)

EventSource = Event | Callable[[TaskState], Event]


class Draft:
    """A task to be created."""

    __slots__ = ("definition", "enabled", "job_id", "next_run", "rev")

    def __init__(
        self,
        definition: Definition,
        *,
        job_id: str,
        rev: int,
        enabled: bool = True,
        next_run: float | None = None,
    ) -> None:
        self.definition = definition
        self.job_id = job_id
        self.rev = rev
        self.enabled = enabled
        self.next_run = next_run

    @property
    def refuses_duplicates(self) -> bool:
        """It is an error when another task holds its unique key."""
        unique = self.definition.unique
        return unique is not None and unique.on_conflict == "error"


class Change:
    """A Step and the definition it was made with, as it is published after the commit.

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


class Group:
    """Entries that one caller waits for together."""

    __slots__ = ("done", "left")

    def __init__(self, size: int) -> None:
        self.left = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def one_done(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


class Entry:
    """One event for one task, or one task to be created, on its way into a batch."""

    __slots__ = ("audit", "draft", "error", "event", "group", "size", "step", "task_id", "tried")

    def __init__(
        self,
        task_id: str,
        event: EventSource | None,
        draft: Draft | None,
        group: Group | None = None,
    ) -> None:
        self.task_id = task_id
        self.event = event
        self.draft = draft
        self.size = size_of(event, draft)
        self.group: Group | None = group
        self.step: Step | None = None
        self.tried: Step | None = None
        self.error: BaseException | None = None
        self.audit: AuditRecord | None = None

    def outcome(self) -> Step | BaseException:
        outcome = self.error or self.step
        assert outcome is not None
        return outcome


def size_of(event: EventSource | None, draft: Draft | None) -> int:
    """Bytes of what may be large."""
    if isinstance(event, StageFinished):
        return len(event.result)
    if isinstance(event, MessageCame):
        return len(event.data)
    return 0 if draft is None else definition_bytes(draft.definition)


def resolve_in_doubt(entry: Entry, tried: Step, state: TaskState) -> bool:
    """Whether it is decided already what an earlier try of a transaction, whose commit may be in
    doubt, has done. What a lease, an epoch or a message id fences can simply be tried again."""
    row = state.row
    if not tried.changed or row.version < tried.row.version:
        return False
    if isinstance(entry.event, MessageCame) and not _is_kept(entry.event, state):
        return False
    if row == tried.row:
        entry.step = tried
        return True
    if isinstance(entry.event, FENCED):
        return False
    entry.error = Unavailable(
        "the database failed while this was written, and the task has changed since: "
        "it may have been done; look, and try again"
    )
    return True


def _is_kept(event: MessageCame, state: TaskState) -> bool:
    """A row tells nothing of the messages that were kept for it: others may have come."""
    return any(message.message_id == event.message_id for message in state.inbox)


class AlreadyExists(Exception):
    """A task with this id is there."""


class Duplicate(Exception):
    """Another task holds the unique key.

    :ivar holder: its id
    """

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder
