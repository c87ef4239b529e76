"""Everything that can happen to a task: one tagged union.

What is random (ids, nonces) or measured comes with the event: the core has no clock and no dice.
"""

from msgspec import Raw, Struct

from kaiju_tasks.lifecycle.children import ChildFailure
from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.step import Wait
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import Outcome, TaskError

DEFAULT_MAX_RUN_BYTES = 16 * 1024 * 1024


class Event(Struct, frozen=True, kw_only=True):
    """Base of the events."""


class Due(Event, frozen=True, kw_only=True):
    """The moment `due_at` has come, or somebody thinks so: late and early ones do no harm.

    :param job_id: for the run that may start
    :param up_since: managers have been up without a break since then
    """

    job_id: str
    up_since: float = 0.0


class Acquired(Event, frozen=True, kw_only=True):
    """An executor takes the task from its stream."""

    executor_id: str
    nonce: str


class SlotFull(Event, frozen=True, kw_only=True):
    """Its concurrency key has no free slot: it waits for one, or is dropped."""


class GateOpened(Event, frozen=True, kw_only=True):
    """What held the task in its stream may do so no more."""

    gate: str


class PauseBegan(Event, frozen=True, kw_only=True):
    """A pause may hold the task from now on.

    :param recall: also take back a running stage
    """

    recall: bool = False


class Watched(Event, frozen=True, kw_only=True):
    """Another task waits for the end of this one's run."""


class ChildrenLooked(Event, frozen=True, kw_only=True):
    """How the tasks stand that a `_TASKS_` stage waits for.

    :param left: some have not ended
    :param finished: some have finished
    :param failure: the first that failed
    :param result: the stage's result, if the wait is over and well
    :param refusal: the wait cannot begin, or its result cannot be kept
    """

    wait: Wait
    left: bool
    finished: bool
    failure: ChildFailure | None = None
    result: Raw = Raw(b"null")
    refusal: TaskError | None = None
    max_run_bytes: int = DEFAULT_MAX_RUN_BYTES


class StageFinished(Event, frozen=True, kw_only=True):
    """A stage ended well, or its condition skipped it."""

    lease: Lease
    stage: int
    result: Raw
    skipped: bool = False
    max_run_bytes: int = DEFAULT_MAX_RUN_BYTES


class StageFailed(Event, frozen=True, kw_only=True):
    """A stage failed. `error.type` decides whether it may be retried."""

    lease: Lease
    stage: int
    error: TaskError


class StageExtended(Event, frozen=True, kw_only=True):
    """A running stage asks for more seconds of execution."""

    lease: Lease
    stage: int
    seconds: float


class ExecutorLost(Event, frozen=True, kw_only=True):
    """The executor that holds the task is gone, or gives it back.

    :param epoch: and `nonce`: only that lease; None takes whichever that executor holds
    :param counted: the loss counts towards quarantine
    """

    executor_id: str
    epoch: int | None = None
    nonce: str | None = None
    counted: bool = True
    outcome: Outcome = Outcome.LOST


def given_back(
    executor_id: str, *, epoch: int | None = None, nonce: str | None = None
) -> ExecutorLost:
    """The executor gives a task back unharmed: this counts as no loss."""
    return ExecutorLost(
        executor_id=executor_id,
        epoch=epoch,
        nonce=nonce,
        counted=False,
        outcome=Outcome.RELEASED,
    )


class MessageCame(Event, frozen=True, kw_only=True):
    """Somebody sent a message."""

    message_id: str
    name: str | None
    data: Raw
    job_id: str | None = None
    max_run_bytes: int = DEFAULT_MAX_RUN_BYTES


class Start(Event, frozen=True, kw_only=True):
    """Another task names this one as its `next_task`.

    :param later: not in this transaction, but as the next thing the manager does
    """

    job_id: str
    by: str
    later: bool = False


class Suspend(Event, frozen=True, kw_only=True):
    """An operator holds the task.

    :param wait_stage: let the running stage end first
    """

    wait_stage: bool = False


class Resume(Event, frozen=True, kw_only=True):
    """An operator lifts the hold."""


class Cancel(Event, frozen=True, kw_only=True):
    """An operator, or a parent, ends the run."""

    message: str = "cancelled"


class Reset(Event, frozen=True, kw_only=True):
    """An operator, or a parent, wants a new run from the first stage, now.

    :param definition: and `rev`: a parent creates the task anew, with this definition
    """

    job_id: str
    definition: Definition | None = None
    rev: int = 0


class RunNow(Event, frozen=True, kw_only=True):
    """An operator does not want to wait for the next moment."""

    job_id: str


class RestartFrom(Event, frozen=True, kw_only=True):
    """An operator wants a new run from a stage on, with the earlier results copied."""

    job_id: str
    stage: int


class Update(Event, frozen=True, kw_only=True):
    """A client changed the definition.

    :param changed: names of the fields that are really different
    :param next_run: an explicit first run, UNIX seconds
    :param job_id: for the run that may be opened
    """

    definition: Definition
    rev: int
    enabled: bool
    changed: frozenset[str]
    next_run: float | None = None
    job_id: str


class Delete(Event, frozen=True, kw_only=True):
    """The task is to go."""


EVENTS: tuple[type[Event], ...] = (
    Due,
    Acquired,
    SlotFull,
    GateOpened,
    PauseBegan,
    Watched,
    ChildrenLooked,
    StageFinished,
    StageFailed,
    StageExtended,
    ExecutorLost,
    MessageCame,
    Start,
    Suspend,
    Resume,
    Cancel,
    Reset,
    RunNow,
    RestartFrom,
    Update,
    Delete,
)
