"""The output of `advance`: the changed row, and its effects as data."""

from typing import Literal

from msgspec import Raw, Struct, field

from kaiju_tasks.lifecycle.children import ChildPlan
from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.lineage import Cause
from kaiju_tasks.lifecycle.state import InboxMessage, Row
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import MessageReceipt, Outcome, TaskStatus


class Attempt(Struct):
    """One ended attempt of a stage, for the history; `result` is the stage's result.

    :param error: JSON of a TaskError
    :param version: of the definition with which it ended
    """

    job_id: str
    stage: int
    cycle: int
    attempt: int
    method: str
    name: str | None
    executor_id: str | None
    queued_at: float | None
    started_at: float | None
    ended_at: float
    outcome: Outcome
    rescued: bool = False
    result: Raw | None = None
    error: str | None = None
    version: int | None = None


class RunRecord(Struct):
    """One ended run, or one missed fire, for the history.

    :param run_id: `job_id`; for a missed fire, an id made of the task's id and the time
    :param version: of the definition with which it ended
    """

    run_id: str
    task_id: str
    job_id: str | None
    status: str
    scheduled_at: float | None
    queued_at: float | None
    started_at: float | None
    ended_at: float
    exit_code: int | None
    error: str | None
    retries: int
    stage: int
    stages: int
    executor_id: str | None
    note: str | None = None
    version: int | None = None


class NotificationDraft(Struct):
    """A notification to write; the store adds the results.

    :param created: the end of the run, UNIX seconds
    """

    task_id: str
    job_id: str
    status: str
    exit_code: int
    error: str | None
    message: str
    created: float


class CopyResults(Struct):
    """Copy the results of the first stages of an earlier run into a new run."""

    from_job: str
    from_cycle: int
    to_job: str
    stages: int


class Received(Struct):
    """The ids of the messages that an ended run received. They are kept without the messages, so
    that a repeat is recognised.

    :param job_id: the run; None if the messages were stored before the first run
    """

    job_id: str | None
    message_ids: list[str]


class Revoke(Struct, frozen=True):
    """A lease that is no longer valid; its executor must be notified."""

    executor_id: str
    lease: Lease


class Wait(Struct, frozen=True):
    """A `_TASKS_` stage that waits for other tasks."""

    job_id: str
    stage: int


class Spawn(Struct):
    """A `_TASKS_` stage begins to wait: create or find these tasks."""

    wait: Wait
    cycle: int
    children: list[ChildPlan]


class RunEnd(Struct):
    """The end of a run, for the tasks that wait for it.

    :param error: JSON of a TaskError
    :param stages: number of results
    """

    status: TaskStatus
    exit_code: int
    error: str | None
    job_id: str | None
    cycle: int
    stages: int


class Step(Struct):
    """The changed task, what must be saved with it, and what must be published after the commit.

    :param changed: False if there is nothing to write
    :param stale: the event carried a token that is no longer valid
    :param definition: the new definition, if it changed
    :param superseded: the version of the definition before, which must be kept
    :param inbox: what to do with the stored messages before `message` is added
    :param consumed: ids of messages that a hook consumed
    :param received: ids to keep of messages that this step clears
    :param start_next: the task to start in the same transaction
    :param cause: the run that ended, as the cause of that start
    :param call: the run that ended, for the task's webhook
    :param claim: the unique key to acquire, if it is free; "" releases the current one
    :param abandon: this wait is over: cancel the tasks that it created and that have not ended
    :param spawn: the tasks to wait for; processed after `abandon`
    :param run_end: for the tasks that wait for this one
    :param signal: the manager must check again what this task waits for
    :param events: names of public events, in order
    """

    row: Row
    changed: bool = True
    stale: bool = False
    deleted: bool = False
    definition: Definition | None = None
    superseded: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    runs: list[RunRecord] = field(default_factory=list)
    notification: NotificationDraft | None = None
    copy_results: CopyResults | None = None
    inbox: Literal["keep", "clear", "replay"] = "keep"
    message: InboxMessage | None = None
    consumed: list[str] = field(default_factory=list)
    received: Received | None = None
    receipt: MessageReceipt | None = None
    start_next: str | None = None
    cause: Cause | None = None
    call: RunRecord | None = None
    claim: str | None = None
    abandon: Wait | None = None
    spawn: Spawn | None = None
    run_end: RunEnd | None = None
    signal: bool = False
    revoke: Revoke | None = None
    events: list[str] = field(default_factory=list)

    def go_on(self, next: "Step") -> None:
        """Continue this step, which is not saved yet, with another one that has changed only the
        row. Both are one write."""
        if next.changed:
            next.row.version = self.row.version
            self.row = next.row
            self.events += next.events
