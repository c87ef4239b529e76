"""What `advance` returns: the changed row, and effects as data."""

from typing import Literal

from msgspec import Raw, Struct, field

from kaiju_tasks.lifecycle.children import ChildPlan
from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.state import InboxMessage, Row
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import MessageReceipt, Outcome, TaskStatus


class Attempt(Struct):
    """One ended attempt of a stage, appended to the history; `result` is the stage's result.

    :param error: JSON of a TaskError
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


class RunRecord(Struct):
    """One ended run, or a fire that was missed, appended to the history.

    :param run_id: `job_id`, or for a missed fire an id made of task and moment
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


class NotificationDraft(Struct):
    """A notification to be written; the store adds the results."""

    task_id: str
    job_id: str
    status: str
    exit_code: int
    error: str | None
    message: str


class CopyResults(Struct):
    """Copy the results of an earlier run's first stages into the new one."""

    from_job: str
    from_cycle: int
    to_job: str
    stages: int


class Revoke(Struct, frozen=True):
    """A lease that is no longer valid: tell its executor."""

    executor_id: str
    lease: Lease


class Wait(Struct, frozen=True):
    """A `_TASKS_` stage of a run, which waits for other tasks."""

    job_id: str
    stage: int


class Spawn(Struct):
    """A `_TASKS_` stage begins to wait: create or find the tasks it waits for."""

    wait: Wait
    cycle: int
    children: list[ChildPlan]


class RunEnd(Struct):
    """The end of a run, for the tasks that wait for it.

    :param error: JSON of a TaskError
    :param stages: how many results it has
    """

    status: TaskStatus
    exit_code: int
    error: str | None
    job_id: str | None
    cycle: int
    stages: int


class Step(Struct):
    """The changed task and what else must be saved with it, or made known after the commit.

    :param changed: False: nothing is to be written
    :param stale: the event came under a token that is no longer valid
    :param definition: to be written, when it changed
    :param inbox: what becomes of the stored messages, before `message` is added
    :param consumed: message ids that a hook took
    :param start_next: the task to be started in the same transaction
    :param call: the run that ended, for the task's webhook
    :param claim: the unique key to be held from now on, if it is free; "" lets go of it
    :param abandon: this wait is over: cancel the tasks it created that have not ended
    :param spawn: what to wait for, after `abandon`
    :param run_end: for the tasks that wait for this one
    :param signal: the manager must look again at what this task waits for
    :param events: names of public events, in order
    """

    row: Row
    changed: bool = True
    stale: bool = False
    deleted: bool = False
    definition: Definition | None = None
    attempts: list[Attempt] = field(default_factory=list)
    runs: list[RunRecord] = field(default_factory=list)
    notification: NotificationDraft | None = None
    copy_results: CopyResults | None = None
    inbox: Literal["keep", "clear", "replay"] = "keep"
    message: InboxMessage | None = None
    consumed: list[str] = field(default_factory=list)
    receipt: MessageReceipt | None = None
    start_next: str | None = None
    call: RunRecord | None = None
    claim: str | None = None
    abandon: Wait | None = None
    spawn: Spawn | None = None
    run_end: RunEnd | None = None
    signal: bool = False
    revoke: Revoke | None = None
    events: list[str] = field(default_factory=list)
