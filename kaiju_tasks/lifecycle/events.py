"""Everything that can happen to a task, as one tagged union.

Random values (ids, nonces) and measured ones are part of the event, because the core has neither
a clock nor a source of randomness.
"""

from collections.abc import Mapping

from msgspec import Raw, Struct

from kaiju_tasks.lifecycle.children import ChildFailure
from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.lineage import Cause
from kaiju_tasks.lifecycle.step import Wait
from kaiju_tasks.lifecycle.versions import Author
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import Outcome, TaskError

DEFAULT_MAX_RUN_BYTES = 16 * 1024 * 1024


class Event(Struct, frozen=True, kw_only=True):
    """Base class of the events."""


class Due(Event, frozen=True, kw_only=True):
    """`due_at` may have passed. An early or late event is harmless.

    :param job_id: for the run that may start
    :param up_since: since when at least one manager has been up, apart from breaks of at most
        `misfire_grace`; UNIX seconds
    :param grace: how long a task that has fallen behind may take to catch up, in seconds
    :param heard_since: since when this manager could write reports without a break, UNIX seconds
    """

    job_id: str
    up_since: float = 0.0
    grace: float = 0.0
    heard_since: float = 0.0


class Acquired(Event, frozen=True, kw_only=True):
    """An executor takes the task from its stream."""

    executor_id: str
    nonce: str


class SlotFull(Event, frozen=True, kw_only=True):
    """The concurrency key has no free slot: the task waits for one, or is dropped."""


class MethodLacking(Event, frozen=True, kw_only=True):
    """An executor that has a place for the task lacks its method: the task waits for another."""


class GateOpened(Event, frozen=True, kw_only=True):
    """A gate that held the task in its stream may be open: a slot is free, or a pause has ended."""

    gate: str


class PauseBegan(Event, frozen=True, kw_only=True):
    """A pause that may hold the task has begun.

    :param recall: also stop a running stage
    """

    recall: bool = False


class Watched(Event, frozen=True, kw_only=True):
    """Another task waits for the end of this one's run."""


class ChildrenLooked(Event, frozen=True, kw_only=True):
    """The state of the tasks that a `_TASKS_` stage waits for was read.

    :param left: some have not ended
    :param finished: some have finished
    :param failure: the first that failed
    :param result: the stage's result, if the wait has ended successfully
    :param refusal: why the wait cannot begin, or why its result cannot be stored
    """

    wait: Wait
    left: bool
    finished: bool
    failure: ChildFailure | None = None
    result: Raw = Raw(b"null")
    refusal: TaskError | None = None
    max_run_bytes: int = DEFAULT_MAX_RUN_BYTES


class StageFinished(Event, frozen=True, kw_only=True):
    """A stage finished, or its condition did not hold and it was skipped.

    :param methods: the methods that the executor announces, by stream; None for all, also of a
        stream that is missing. Before another method the task goes to another executor
    """

    lease: Lease
    stage: int
    result: Raw
    skipped: bool = False
    max_run_bytes: int = DEFAULT_MAX_RUN_BYTES
    methods: Mapping[str, frozenset[str] | None] | None = None

    def ends_before(self, app_name: str, method: str) -> bool:
        """Whether what the executor was sent of a task ends before a stage with this method."""
        methods = None if self.methods is None else self.methods.get(app_name)
        return methods is not None and method not in methods


class StageFailed(Event, frozen=True, kw_only=True):
    """A stage failed. `error.type` decides whether it can be retried."""

    lease: Lease
    stage: int
    error: TaskError


class StageExtended(Event, frozen=True, kw_only=True):
    """A running stage requests more execution time."""

    lease: Lease
    stage: int
    seconds: float


class ExecutorLost(Event, frozen=True, kw_only=True):
    """The executor that holds the task is lost, or gives the task back.

    :param epoch: with `nonce`, restricts the event to this lease; None means any lease of the
        executor
    :param counted: the loss counts towards quarantine
    :param fruitless: it does not count, unless it happens again and again without progress
    """

    executor_id: str
    epoch: int | None = None
    nonce: str | None = None
    counted: bool = True
    fruitless: bool = False
    outcome: Outcome = Outcome.LOST


def given_back(
    executor_id: str,
    *,
    epoch: int | None = None,
    nonce: str | None = None,
    fruitless: bool = True,
) -> ExecutorLost:
    """The executor gives a task back, or has not received it. This does not count as a loss, unless
    it happens again and again without progress.

    :param fruitless: whether it counts then
    """
    return ExecutorLost(
        executor_id=executor_id,
        epoch=epoch,
        nonce=nonce,
        counted=False,
        fruitless=fruitless,
        outcome=Outcome.RELEASED,
    )


class MessageCame(Event, frozen=True, kw_only=True):
    """A message for the task arrived.

    :param sender: the principal that sent it
    """

    message_id: str
    name: str | None
    data: Raw
    job_id: str | None = None
    max_run_bytes: int = DEFAULT_MAX_RUN_BYTES
    sender: str | None = None


class Start(Event, frozen=True, kw_only=True):
    """A task that names this one as its `next_task` has finished.

    :param cause: the run of that task
    :param later: do not start in this transaction, but make the task due at once
    :param denied: why that run has no right to start this task; None if it has
    """

    job_id: str
    cause: Cause
    later: bool = False
    denied: str | None = None


class Suspend(Event, frozen=True, kw_only=True):
    """An operator suspends the task.

    :param wait_stage: let the running stage end first
    :param by_user: a user suspends it, who may resume it then; not what an operator has suspended
    """

    wait_stage: bool = False
    by_user: bool = False


class Resume(Event, frozen=True, kw_only=True):
    """An operator resumes a suspended task."""


class Cancel(Event, frozen=True, kw_only=True):
    """An operator, or the parent task, cancels the run."""

    message: str = "cancelled"


class Reset(Event, frozen=True, kw_only=True):
    """An operator, or the parent task, starts a new run from the first stage.

    :param definition: with `rev`, a new definition: the parent creates the task once more
    :param cause: the run whose stage makes the call; None for a client
    """

    job_id: str
    cause: Cause | None = None
    definition: Definition | None = None
    rev: int = 0


class RunNow(Event, frozen=True, kw_only=True):
    """An operator starts the run now, without waiting for its scheduled time.

    :param cause: the run whose stage makes the call; None for a client
    """

    job_id: str
    cause: Cause | None = None


class RestartFrom(Event, frozen=True, kw_only=True):
    """An operator starts a new run from a given stage, with the earlier results copied.

    :param cause: the run whose stage makes the call; None for a client
    :param definition: with `rev`, the definition of an earlier version, which takes effect again
    :param changed: names of the fields whose values differ from the current version
    :param author: who makes the change
    """

    job_id: str
    stage: int
    cause: Cause | None = None
    definition: Definition | None = None
    rev: int = 0
    changed: frozenset[str] = frozenset()
    author: Author = Author()


class Update(Event, frozen=True, kw_only=True):
    """A client updates the definition.

    :param changed: names of the fields whose values differ
    :param next_run: an explicit first run, UNIX seconds
    :param job_id: for the run that may be opened
    :param cause: the run whose stage makes the call; None for a client
    :param author: who makes the change
    :param open_run: it may change what an open run does from its next stage on
    """

    definition: Definition
    rev: int
    enabled: bool
    changed: frozenset[str]
    next_run: float | None = None
    job_id: str
    cause: Cause | None = None
    author: Author = Author()
    open_run: bool = False


class Delete(Event, frozen=True, kw_only=True):
    """A client deletes the task."""


EVENTS: tuple[type[Event], ...] = (
    Due,
    Acquired,
    SlotFull,
    MethodLacking,
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
