"""Defines the entries of the committer: tasks to create and events to apply."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from kaiju_tasks.errors import StaleLease, Unavailable
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
    holds,
)
from kaiju_tasks.manager.writing.definitions import definition_bytes
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import AuditRecord

FENCED = (StageFinished, StageFailed, StageExtended, ExecutorLost)

EventSource = Event | Callable[[TaskState], Event]


class Checked(NamedTuple):
    """An event that only happens to a task that passes a check.

    :param check: is called with the locked task, and raises a KaijuError to refuse the event
    :param limited: whether the quotas of its owner hold for a task that the event opens again
    """

    event: EventSource
    check: Callable[[TaskState], None]
    limited: bool = False


def _allow(state: TaskState) -> None:
    """Refuse nothing."""


class Fence(NamedTuple):
    """The stage that creates a task. It creates nothing after the end of its lease.

    :param stage: index of the stage, from 0
    """

    lease: Lease
    stage: int

    def check(self, row: Row | None) -> None:
        """
        :param row: of the task whose stage it is; None if it does not exist
        :raises StaleLease: the stage does not run under the lease any more
        """
        if row is None or row.stage != self.stage or not holds(row, self.lease):
            raise StaleLease(
                f"stage {self.stage} of the task {self.lease.id!r:.300} does not run under this "
                "lease any more: stop it",
                id=self.lease.id,
            )


class Draft:
    """A task to create.

    :param fence: the stage on whose behalf an executor creates it; None if there is none
    """

    __slots__ = ("definition", "enabled", "fence", "job_id", "next_run", "rev")

    def __init__(
        self,
        definition: Definition,
        *,
        job_id: str,
        rev: int,
        enabled: bool = True,
        next_run: float | None = None,
        fence: Fence | None = None,
    ) -> None:
        self.definition = definition
        self.job_id = job_id
        self.rev = rev
        self.enabled = enabled
        self.next_run = next_run
        self.fence = fence


class Group:
    """The entries of one call. The caller waits until all are done."""

    __slots__ = ("done", "left")

    def __init__(self, size: int) -> None:
        self.left = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def one_done(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


class Entry:
    """One write that a caller has requested.

    :ivar size: size in bytes of those parts that can be large
    :ivar step: the step of the latest attempt
    :ivar tried: the step of an earlier attempt whose commit is in doubt
    """

    __slots__ = ("error", "group", "size", "step", "task_id", "tried")

    def __init__(self, task_id: str, size: int) -> None:
        self.task_id = task_id
        self.size = size
        self.group: Group | None = None
        self.step: Step | None = None
        self.tried: Step | None = None
        self.error: BaseException | None = None

    def begin(self) -> None:
        """Begin an attempt of the transaction."""
        self.error = self.step = None

    def in_doubt(self) -> None:
        """Remember the step of the latest attempt, whose commit is in doubt. The step of an attempt
        that was rolled back must not be remembered: the equal row of another manager would be taken
        for its result."""
        self.tried = self.step or self.tried

    def outcome(self) -> Step | BaseException:
        outcome = self.error or self.step
        assert outcome is not None
        return outcome

    def done(self, error: BaseException | None) -> None:
        """Record that the entry is committed, or has failed with an error. Only the first call
        counts."""
        if self.group is None:
            return
        self.error = self.error or error
        group, self.group = self.group, None
        group.one_done()


class Witness:
    """An event, and the definition of the task that it happened to.

    :ivar event: to be applied to one task
    """

    def __init__(self, event: "EventSource | Checked") -> None:
        source, check, limited = event if isinstance(event, Checked) else Checked(event, _allow)
        self._definition: Definition | None = None

        def look(state: TaskState) -> None:
            check(state)
            self._definition = state.definition

        self.event = Checked(source, look, limited)

    @property
    def definition(self) -> Definition:
        """The definition before the event. Read it after the event was applied."""
        assert self._definition is not None
        return self._definition


class EventEntry(Entry):
    """An event for a task.

    :param audit: written in the same transaction if the event changes the task
    """

    __slots__ = ("audit", "check", "event", "limited")

    def __init__(
        self, task_id: str, event: EventSource | Checked, audit: AuditRecord | None = None
    ) -> None:
        check: Callable[[TaskState], None] = _allow
        limited = False
        if isinstance(event, Checked):
            event, check, limited = event
        super().__init__(task_id, _event_size(event))
        self.event = event
        self.check = check
        self.limited = limited
        self.audit = audit


class DraftEntry(Entry):
    """A task to create."""

    __slots__ = ("draft",)

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft.definition.id, definition_bytes(draft.definition))
        self.draft = draft


def _event_size(event: EventSource) -> int:
    if isinstance(event, StageFinished):
        return len(event.result)
    if isinstance(event, MessageCame):
        return len(event.data)
    return 0


def resolve_in_doubt(entry: EventEntry, tried: Step, state: TaskState) -> bool:
    """Resolve an entry from an earlier attempt whose commit is in doubt, if the row shows it.

    Events that a lease or an epoch fences are simply applied again.

    :returns: whether the entry has got a step or an error
    """
    row, event = state.row, entry.event
    if not tried.changed or row.version < tried.row.version:
        return False
    if isinstance(event, MessageCame) and not state.has_received(event.message_id):
        return False
    if row == tried.row:
        entry.step = tried
        return True
    if isinstance(event, MessageCame):
        entry.step = Step(row, changed=False, receipt=tried.receipt)
        return True
    if isinstance(event, FENCED):
        return False
    entry.error = Unavailable(
        "the database failed during this write and the task has changed since: the change may "
        "have been applied; read the task before you try again"
    )
    return True


class AlreadyExists(Exception):
    """A task with this id already exists."""


class Duplicate(Exception):
    """Another task holds the unique key.

    :ivar holder: the id of that task
    :ivar task_id: the id of the task that was to be created
    """

    def __init__(self, holder: str, task_id: str) -> None:
        super().__init__(holder, task_id)
        self.holder = holder
        self.task_id = task_id
