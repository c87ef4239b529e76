"""The input of `advance`: the row, which changes, and the definition, which does not."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Raw, Struct, field

from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.pauses import NO_PAUSES, Pauses
from kaiju_tasks.types import TaskStatus

GRACE_SECONDS = 2.0
"""The least of `TaskState.grace_seconds`."""
METHOD_GATES = ("m:", "m!")
"""How the gates of methods begin: of ordinary and of suspect tasks."""
GATE_BYTES = 500
"""A gate is in an index with the name of a stream and the id of a task, at most 1,020 bytes each.
PostgreSQL allows 2,704 bytes for an index entry."""
GATE_TEXT = 100


class Row(Struct):
    """The part of a task that changes often. Times are UNIX seconds.

    Every field has a default, so that a store can build a row by position.

    :param status: of a row that a database holds with an unknown status, that text (`is_known`)
    :param reason: why the task has its current status
    :param ready: 0 held; 1 may be acquired; 2 only by an executor that holds nothing else
    :param open: a run is open (for a one-off, from its creation on)
    :param cycle: increases with each retry from the first stage; earlier cycles are history
    :param attempt: ended attempts of the current stage
    :param losses: executors lost in the current stage
    :param fruitless: how often in a row the current stage was given back soon, without a report
    :param epoch: increases with each acquisition
    :param held: the status to which `resume` returns
    :param hold_next: suspend the task when the running stage ends
    :param start_next: start one more run after this one: another task's `next_task` asked for it
    :param due_at: when the manager must next handle the task
    :param fire_at: nominal time of the schedule's next fire
    :param explicit: a client set `fire_at`: it has no jitter and cannot be missed
    :param late_until: the task has fallen behind: fires that pass up to this time run late
    :param anchor: the time from which the fires of an interval count; it may be past
    :param queue_left: what remains of max_queue_time during a hold
    :param exec_used: seconds of execution that this attempt of the run has used
    :param stage_started_at: when the running stage began, on the manager's clock
    :param status_change: when the task came to its status, or at its hook
    :param reason_change: when the reason changed after that
    :param rev: identifies the definition of this row
    :param version: increases with each write
    :param gate: what holds the task in its stream: `slot_gate`, `pause_gate` or `method_gate`
    :param awaited: another task may wait for the end of this one's run
    :param chain: the starts that led to the open run, or to the next one (`lineage.py`)
    :param stage_deadline: when the `max_timeout` of the running stage ends
    """

    id: str = ""
    app_name: str = ""
    priority: int = 0
    status: TaskStatus = TaskStatus.IDLE
    reason: str | None = None
    enabled: bool = True
    ready: int = 0
    open: bool = False
    stage: int = 0
    stages: int = 1
    job_id: str | None = None
    cycle: int = 0
    attempt: int = 0
    retries: int = 0
    losses: int = 0
    epoch: int = 0
    nonce: str | None = None
    executor_id: str | None = None
    held: str | None = None
    hold_next: bool = False
    start_next: bool = False
    due_at: float | None = None
    next_run: float | None = None
    fire_at: float | None = None
    explicit: bool = False
    anchor: float = 0.0
    scheduled_at: float | None = None
    queued_at: float | None = None
    queue_deadline: float | None = None
    queue_left: float | None = None
    exec_deadline: float | None = None
    exec_used: float = 0.0
    stage_started_at: float | None = None
    wait_deadline: float | None = None
    run_queued_at: float | None = None
    run_started_at: float | None = None
    status_change: float = 0.0
    result_bytes: int = 0
    exit_code: int | None = None
    error: str | None = None
    rev: int = 0
    version: int = 0
    gate: str | None = None
    awaited: bool = False
    late_until: float | None = None
    chain: str | None = None
    stage_deadline: float | None = None
    reason_change: float | None = None
    fruitless: int = 0

    @property
    def since(self) -> float:
        """When the task came to stand where it stands: the running stage began, or the task came to
        its status, hook or reason."""
        if self.status is TaskStatus.EXECUTED and self.stage_started_at is not None:
            return self.stage_started_at
        return self.status_change if self.reason_change is None else self.reason_change

    @property
    def begun(self) -> bool:
        """Whether the open run has been queued at least once."""
        return self.open and self.run_queued_at is not None


def is_known(status: str) -> bool:
    """Whether a status is one of `TaskStatus`. A later version may have written another one."""
    return isinstance(status, TaskStatus)


def executes(row: Row) -> bool:
    """Whether an executor holds the task. With an unknown status, the lease shows it."""
    return row.status is TaskStatus.EXECUTED or (row.nonce is not None and not is_known(row.status))


def slot_gate(key: str) -> str:
    """The gate of tasks that wait for a slot of a concurrency key."""
    return f"c:{key}"


def pause_gate(pause_id: str) -> str:
    """The gate of tasks that a pause holds."""
    return f"p:{pause_id}"


def gate_pause(gate: str) -> str | None:
    """The id of the pause behind a gate; None for any other gate."""
    return gate[2:] if gate.startswith("p:") else None


@lru_cache(maxsize=10_000)
def method_gate(method: str, *, suspect: bool = False) -> str:
    """The gate of tasks whose next stage needs a method that some executor of their stream lacks.

    :param suspect: the gate of suspect tasks, which run alone
    """
    encoded = method.encode("utf-8", "surrogatepass")
    if len(encoded) > GATE_BYTES or not method.isprintable():
        shown = "".join(filter(str.isprintable, method[:GATE_TEXT]))
        method = f"{shown}#{hashlib.sha256(encoded).hexdigest()}"
    return METHOD_GATES[suspect] + method


def at_method(row: Row) -> bool:
    """Whether the task waits for an executor that has its method."""
    return row.gate is not None and row.gate.startswith(METHOD_GATES)


def is_suspect_gate(gate: str) -> bool:
    """Whether suspect tasks wait at a gate of a method."""
    return gate.startswith(METHOD_GATES[True])


def at_slot(row: Row) -> bool:
    """Whether the task waits for a slot of its concurrency key."""
    return row.gate is not None and row.gate.startswith("c:")


def acquirable(row: Row) -> bool:
    """Whether an executor that has the task's method may acquire it."""
    return row.ready > 0 or at_method(row)


class InboxMessage(Struct):
    """A message for the open or the next run.

    :param sender: the principal that sent it; None if it is unknown
    :param at: when it arrived, UNIX seconds; None if it is unknown
    """

    message_id: str
    name: str | None
    data: Raw
    consumed: bool = False
    sender: str | None = None
    at: float | None = None


class TaskState(Struct):
    """A task as `advance` takes it.

    :param results: results of `definition.hook_results`, by stage; more results are allowed
    :param inbox: stored messages in order of arrival; required if `definition.takes_messages`
    :param pauses: all pauses
    :param received: ids of messages that earlier runs received. Only the id of the message that
        is to be applied is required.
    :param grace_seconds: how long after a deadline of an executor the manager acts itself; the
        executor, which can stop the work, acts first
    """

    row: Row
    definition: Definition
    results: Mapping[int, Raw] = field(default_factory=dict)
    inbox: tuple[InboxMessage, ...] = ()
    pauses: Pauses = NO_PAUSES
    received: frozenset[str] = frozenset()
    grace_seconds: float = GRACE_SECONDS

    def has_received(self, message_id: str) -> bool:
        """Whether the open run or an earlier run has received a message with this id."""
        return message_id in self.received or any(m.message_id == message_id for m in self.inbox)
