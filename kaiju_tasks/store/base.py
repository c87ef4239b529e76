"""Defines the contract of a store, which the SQLite and PostgreSQL stores implement.

Every change of a task is lock, advance and save in one `Transaction`. All times are UNIX seconds.
On PostgreSQL, `now` is the database's clock; on SQLite, it is the clock passed to the store.

Times do not jump while a manager is up: when the clock is set, the store moves the times that it
keeps before it returns from `now`, `work_summary` or the retry of a transaction (decision 0026).
"""

from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Container,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from msgspec import Raw, Struct

from kaiju_tasks.lifecycle import (
    Definition,
    InboxMessage,
    Pauses,
    Row,
    Situation,
    Step,
    Wait,
)
from kaiju_tasks.protocol import Lease
from kaiju_tasks.rights import Sight
from kaiju_tasks.store.bulks import BulkPage, StoredBulk
from kaiju_tasks.store.conditions import Condition as Condition
from kaiju_tasks.store.credentials import Credential, StoredPrincipal, StoredToken, TokenUse
from kaiju_tasks.store.logs import LogChunk, LogPart, LogQuery, WrittenChunk
from kaiju_tasks.store.presumed import Presumed
from kaiju_tasks.types import (
    AuditRecord,
    ExecutorStatus,
    ListedRun,
    Mark,
    Notification,
    Pause,
    Run,
    StageRecord,
)


class StoreError(Exception):
    """The base class of the errors of a store."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or the connection failed. Retry later.

    :param unknown: whether a commit was in progress, so that its outcome is unknown
    :param brief: the reason without the words of the database, which may contain addresses
    """

    def __init__(
        self,
        message: str,
        *,
        unknown: bool = False,
        brief: str = "the database cannot be reached",
    ) -> None:
        super().__init__(message)
        self.unknown = unknown
        self.brief = brief


class TransactionConflict(StoreError):
    """A deadlock or a serialisation failure. Nothing was written; run the transaction again."""


class StoreRefused(StoreError):
    """The database cannot be used: another manager holds it, or its schema is missing or newer
    than this program. The message describes the solution."""


class WorkSummary(Struct):
    """The work that is due or may become due, read outside of transactions.

    :param now: the store's clock
    :param next_due: the earliest `due_at`, or None
    :param ready: streams with tasks that may be acquired (`ready` 1)
    :param suspect: streams with suspect tasks (`ready` 2)
    :param next_expiry: the earliest end of the lease of an ACTIVE or DRAINING executor, or None
    :param paused: the gates of pauses that hold tasks
    :param gated: whether tasks wait for executors with their methods (see `Store.method_gates`)
    :param unsettled: whether there are unsettled slots (see `Transaction.unsettled_slots`)
    :param signals: whether there are signals (see `Transaction.take_signals`)
    :param tokens_revision: raised with every change to principals and tokens
    """

    now: float
    next_due: float | None
    ready: frozenset[str]
    suspect: frozenset[str]
    next_expiry: float | None
    paused: frozenset[str] = frozenset()
    unsettled: bool = False
    signals: bool = False
    tokens_revision: int = 0
    gated: bool = False


class StoredDefinition(Struct):
    """A definition and its `rev`, to which rows refer."""

    rev: int
    definition: Definition


MINUTE, HOUR = 60, 3600
"""The seconds for which counts are stored."""


class Counted(Struct):
    """What a manager has counted of one thing in a minute or an hour.

    :param step: MINUTE or HOUR
    :param at: start of the minute or hour, UNIX seconds
    :param bucket: of the durations that are counted; -1 if they have none
    :param total: sum of the durations, in seconds
    """

    step: int
    at: int
    app_name: str
    name: str
    bucket: int
    count: int
    total: float


class StatRow(Struct):
    """The counts of one thing and bucket in an interval.

    :param at: start of the interval, UNIX seconds
    """

    name: str
    at: int
    bucket: int
    count: int
    total: float


class TaskView(Struct):
    """A task that was read.

    :param results: the results of the finished stages as JSON, `row.stage` items; None if they
        were not requested
    :param progress: the progress of the running stage, as in `StoredProgress.body`; None if there
        is none, or if it was not requested
    """

    row: Row
    definition: Definition
    results: list[Raw] | None = None
    progress: str | None = None


class Standing(NamedTuple):
    """What differs after each write of a task, also after it was deleted and created again."""

    version: int
    rev: int
    job_id: str | None
    status_change: float

    @classmethod
    def of(cls, row: Row) -> "Standing":
        return cls(row.version, row.rev, row.job_id, row.status_change)


class StoredProgress(Struct):
    """The progress of a running stage.

    :param body: JSON: `done`, `total`, `message` and `at` (UNIX seconds)
    """

    lease: Lease
    stage: int
    body: str


class PageQuery(Struct):
    """The rows of a page, and their order.

    :param sort: pairs of column and descending; `id` is always the last key, and nulls are last in
        both directions
    :param after: the values of the sort keys and the id of the last row of the previous page
    """

    conditions: Sequence[Condition] = ()
    sort: Sequence[tuple[str, bool]] = ()
    offset: int = 0
    limit: int = 100
    after: Sequence[Any] | None = None


class TaskQuery(PageQuery):
    """A query over tasks. Its columns must be in `TASK_COLUMNS`.

    :param with_results: whether to load the results
    :param with_progress: whether to load the progress of running stages
    :param with_total: whether to count the matching tasks; else the total is 0
    """

    with_results: bool = False
    with_progress: bool = False
    with_total: bool = True


class TaskPage(Struct):
    """A page of tasks.

    :param total: the number of matching tasks, at most `COUNT_LIMIT`
    :param more: whether more than `COUNT_LIMIT` tasks match
    :param cut: whether the page ends early, because it has too many bytes
    """

    tasks: list[TaskView]
    total: int
    more: bool
    cut: bool = False


class FoundRun(Struct):
    """An ended run or a missed fire, and the id by which pages are ordered last."""

    run_id: str
    run: ListedRun


class StreamCount(Struct):
    """The number of tasks of a stream that do the same.

    :param what: `ready`, `suspect` (ready, and suspect), `running`, `waiting` (at a hook), or
        `held:` and the reason
    :param oldest: the earliest `queued_at`, of those that are ready
    """

    app_name: str
    what: str
    tasks: int
    oldest: float | None


class RunPage(Struct):
    """A page of runs; see `TaskPage`."""

    runs: list[FoundRun]
    total: int
    more: bool
    cut: bool = False


class Pruned(Struct):
    """What a part of a pass over old rows has deleted.

    :param deleted: the number of deleted rows
    :param upto: the time of the last row that it has looked at; None if there were none left
    """

    deleted: int
    upto: float | None


COUNT_LIMIT = 10_000
NEXT_TASKS_LIMIT = 10_000
MESSAGE_BYTES = 7_800
"""The maximum size of a message between managers."""

TASK_COLUMNS: dict[str, type] = {
    "id": str,
    "app_name": str,
    "status": str,
    "status_reason": str,
    "enabled": bool,
    "priority": int,
    "stage": int,
    "stages": int,
    "method": str,
    "error.type": str,
    "retries": int,
    "exit_code": int,
    "job_id": str,
    "executor_id": str,
    "next_run": float,
    "queued_at": float,
    "exec_deadline": float,
    "wait_deadline": float,
    "scheduled_at": float,
    "status_change": float,
    "created": str,
    "cron": str,
    "every": float,
    "next_task": str,
    "system": bool,
    "notify": bool,
    "group": str,
    "group_id": str,
    "user_id": str,
    "parent_id": str,
    "description": str,
}
"""The columns that `conditions` and `sort` may use, and the types of their values. `method` is that
of the current stage, null if all have finished."""

NEVER_NULL = frozenset(
    {
        "id",
        "app_name",
        "status",
        "enabled",
        "priority",
        "stage",
        "stages",
        "retries",
        "status_change",
        "created",
        "system",
        "notify",
    }
)
"""The columns of tasks that are never null."""

RUN_COLUMNS: dict[str, type] = {
    "job_id": str,
    "task_id": str,
    "app_name": str,
    "status": str,
    "exit_code": int,
    "error.type": str,
    "scheduled_at": float,
    "queued_at": float,
    "started_at": float,
    "ended_at": float,
    "retries": int,
    "stage": int,
    "stages": int,
    "executor_id": str,
    "rev": int,
    "cron": str,
    "every": float,
    "group": str,
    "group_id": str,
    "user_id": str,
    "parent_id": str,
}
"""The columns that conditions on ended runs may use, and the types of their values."""

RUN_ONLY_FILTERS = frozenset({"cron", "every", "user_id"})
"""Those by which runs cannot be sorted: a listed run does not show them."""

NOTIFICATION_COLUMNS: dict[str, type] = {
    "id": str,
    "created": str,
    "enabled": bool,
    "user_id": str,
    "task_id": str,
    "job_id": str,
    "status": str,
    "exit_code": int,
    "message": str,
}
"""The columns that conditions on notifications may use, and the types of their values."""

AUDIT_COLUMNS: dict[str, type] = {
    "id": str,
    "at": float,
    "user_id": str,
    "remote": str,
    "action": str,
    "target": str,
}
"""The columns that conditions on audit records may use, and the types of their values."""


BULK_COLUMNS: dict[str, type] = {
    "id": str,
    "method": str,
    "user_id": str,
    "state": str,
    "started": float,
    "ended": float,
}
"""The columns that conditions on bulk calls may use, and the types of their values."""


class ExecutorRow(Struct, kw_only=True):
    """An executor that is or was connected.

    :param session: the id of the connection that may acquire tasks; each connect changes it
    :param lease_until: the end of its leases, unless a ping renews them
    :param owner: the principal on whose behalf it has connected; None if there were no tokens
    :param instance: identifies its process; None if it sends nothing that does
    :param attempt: the number of the connect among those of the process
    :param running: the number of tasks that it holds
    """

    id: str
    session: str
    status: ExecutorStatus
    app_names: list[str]
    commands: Raw
    capacity: int
    host: str | None
    pid: int | None
    version: str | None
    manager_id: str
    connected_at: float
    last_ping: float
    lease_until: float
    owner: str | None = None
    instance: str | None = None
    attempt: int = 0
    running: int = 0


class Holder(Struct):
    """The session of an executor, and the leases of the tasks that it holds."""

    session: str
    status: ExecutorStatus
    leases: set[Lease]


class Gated(Struct):
    """The first tasks at a gate, locked.

    :param passed_over: whether other transactions have locked tasks that may come before these
    """

    rows: list[Row]
    passed_over: bool = False


class Child(Struct):
    """A task that a `_TASKS_` stage waits for. The fields from `status` are None until it ends.

    :param made: whether the stage created the task
    :param error: a TaskError as JSON
    :param job_id: the run that ended
    :param job_cycle: the cycle of its results
    :param stages: the number of its results
    """

    position: int
    cycle: int
    child_id: str
    made: bool
    status: str | None = None
    exit_code: int | None = None
    error: str | None = None
    job_id: str | None = None
    job_cycle: int | None = None
    stages: int | None = None


class Summary(Struct, frozen=True):
    """Whether some of the tasks that a stage waits for are left, have finished or have failed."""

    left: bool
    finished: bool
    failed: bool


class Presence(Struct, frozen=True):
    """Since when managers have been up, read with every heartbeat. Times are UNIX seconds.

    :param now: the store's clock
    :param up_since: since when at least one manager has been up without interruption
    :param covered_since: the same, apart from breaks of at most the grace
    :param bulks: whether a bulk call goes on
    """

    now: float
    up_since: float
    covered_since: float
    bulks: bool = False


class Ping(Struct, frozen=True):
    """A ping of an executor."""

    executor_id: str
    session: str
    capacity: int


class Transaction(Protocol):
    """A database transaction. The rows that it locks are saved by it or remain unchanged."""

    @property
    def now(self) -> float:
        """The store's clock, read after the latest lock or claim, and after an insertion that has
        waited for another transaction."""
        ...

    @property
    def pauses_revision(self) -> int:
        """The revision of the pauses at the latest `lock_ready` or `hold_sessions`."""
        ...

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        """Lock tasks in the order of their ids, and wait for other transactions. Unknown ids are
        left out. Without ids it only reads the clock."""
        ...

    async def lock_due(self, limit: int) -> list[Row]:
        """Lock up to `limit` due tasks, earliest first, and skip locked ones."""
        ...

    async def lock_ready(
        self,
        app_name: str,
        limit: int,
        *,
        executor_id: str,
        session: str,
        ready: int = 1,
        gates: Sequence[str] = (),
    ) -> list[Row] | None:
        """Lock up to `limit` tasks of a stream, by priority and `queued_at`, and skip locked ones.

        The executor's row is share-locked until the end of the transaction, so that a reconnect
        (`lock_executor`) happens before or after it.

        :param ready: 1 for ordinary tasks, 2 for suspect tasks
        :param gates: lock ordinary tasks together with those at these gates of methods, or suspect
            tasks only there. If other transactions have locked some of them, the order between
            gates is not exact. Up to one task more of each gate may be locked
        :returns: the rows; None if the executor has another session or is not ACTIVE
        """
        ...

    async def hold_sessions(self, sessions: Mapping[str, str]) -> set[str]:
        """Share-lock the rows of executors until the end of the transaction, as `lock_ready` does,
        and read the revision of the pauses. It waits for no other transaction.

        :param sessions: the session of each executor, by executor id
        :returns: the ids of the executors that still have the session, are ACTIVE, and whose rows
            no other transaction has locked
        """
        ...

    async def lock_gated(self, wanted: Mapping[str, int]) -> dict[str, Gated]:
        """Lock the first tasks at gates, by priority and `queued_at`, and skip locked ones.

        :param wanted: the maximum number of tasks of each stream, by gate
        :returns: the tasks by gate, without gates that hold no task
        """
        ...

    async def lock_leased(self, executor_id: str) -> list[Row]:
        """Lock all EXECUTED tasks of an executor, in the order of their ids."""
        ...

    async def definitions(self, ids: Iterable[str]) -> dict[str, StoredDefinition]:
        """The definitions of tasks. Unknown ids are left out."""
        ...

    async def next_tasks(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Tasks and all that follow them by `next_task`, each with its `next_task`. Unknown ids are
        left out, and so is what comes after NEXT_TASKS_LIMIT tasks."""
        ...

    async def family_sizes(self, root_ids: Iterable[str]) -> dict[str, int]:
        """The number of tasks that runs have set going, by their job_id."""
        ...

    async def grow_families(self, grown: Mapping[str, int]) -> dict[str, int]:
        """Add to the number of tasks that runs have set going, in the order of their ids, and wait
        for other transactions that do so. Lock nothing else after it.

        :returns: the new numbers
        """
        ...

    async def results(self, keys: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int], Raw]:
        """The results of stages.

        :param keys: (job_id, cycle, stage)
        :returns: the results by (job_id, stage), without stages that have none, as they were
            stored: one that was damaged may not be JSON
        """
        ...

    async def inboxes(self, ids: Iterable[str]) -> dict[str, list[InboxMessage]]:
        """The messages of tasks, in order of arrival. Tasks without messages are left out."""
        ...

    async def received(self, wanted: Mapping[str, str]) -> set[str]:
        """The tasks of which an earlier run has received a message.

        :param wanted: ids of messages by task id
        """
        ...

    async def lock_slots(self, keys: Iterable[str]) -> dict[str, int]:
        """Lock concurrency keys, in their order.

        :returns: the number of EXECUTED runs of each key
        """
        ...

    async def save_slots(self, used: Mapping[str, int], unsettled: Container[str] = ()) -> None:
        """Write locked keys.

        :param used: the number of EXECUTED runs, by key
        :param unsettled: the keys of which a waiting task was locked by another transaction
        """
        ...

    async def used_slots(self) -> list[str]:
        """The keys with used slots."""
        ...

    async def leased_ids(self) -> list[str]:
        """The ids of all tasks that an executor holds, by the latest commits. None is locked."""
        ...

    async def unsettled_slots(self, limit: int) -> list[str]:
        """The keys that were saved as unsettled."""
        ...

    async def claim(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Claim unique keys for tasks, and wait for other transactions that claim them.

        :param wanted: task ids by key
        :returns: the ids of the holding tasks, by key, for keys that are already held
        """
        ...

    async def unclaim(self, ids: Sequence[str]) -> None:
        """Release the unique keys of tasks."""
        ...

    async def put_children(self, parent_id: str, wait: Wait, children: Sequence[Child]) -> None:
        """Record tasks that a stage waits for, at unused positions."""
        ...

    async def drop_children(self, wait: Wait, positions: Sequence[int]) -> None:
        """Delete the records of what a stage waits for at these positions."""
        ...

    async def children(self, wait: Wait) -> list[Child]:
        """The tasks that a stage waits for, in order."""
        ...

    async def children_summary(self, waits: Iterable[Wait]) -> dict[Wait, Summary]:
        """Summarise what stages wait for, at a cost that does not depend on its number."""
        ...

    async def waits_of(self, ids: Iterable[str]) -> list[str]:
        """The ids of the tasks for which these tasks wait now."""
        ...

    async def signal(self, ids: Sequence[str]) -> None:
        """Add signals to check these tasks."""
        ...

    async def take_signals(self, limit: int) -> list[str]:
        """Remove the next signals, and skip locked ones.

        :returns: the ids of the tasks to check
        """
        ...

    async def result_sizes(self, runs: Iterable[tuple[str, int]]) -> dict[str, int]:
        """The size of the results of runs in bytes, by job_id.

        :param runs: (job_id, cycle)
        """
        ...

    async def run_results(self, runs: Iterable[tuple[str, int]]) -> dict[str, dict[int, Raw]]:
        """All results of runs, by job_id and stage. One that cannot be read is null.

        :param runs: (job_id, cycle)
        """
        ...

    async def pauses(self) -> Pauses:
        """All pauses and their revision."""
        ...

    async def put_pause(self, pause: Pause) -> bool:
        """Add a pause and increase the revision. Returns False if a pause has this id."""
        ...

    async def delete_pause(self, pause_id: str) -> bool:
        """Delete a pause and increase the revision. Returns False if there is no such pause."""
        ...

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        """Insert new tasks and their effects. `Step.definition` must be set.

        :returns: ids that already exist, for which nothing was written
        """
        ...

    async def save(self, steps: Sequence[Step]) -> None:
        """Write changed, locked tasks and the effects of their steps, except `start_next`,
        `abandon`, `spawn` and `revoke`, which the manager applies. `deleted` removes the task, its
        definition, messages and history.

        :raises ValueError: there are two steps for one task
        """
        ...

    async def lock_executor(self, executor_id: str) -> ExecutorRow | None:
        """Lock an executor's row (FOR UPDATE)."""
        ...

    async def put_executor(self, executor: ExecutorRow) -> None:
        """Insert or replace an executor's row."""
        ...

    async def lock_expired(
        self, limit: int, sessions: Collection[str] | None = None
    ) -> list[ExecutorRow]:
        """Lock executors that are not LOST or GONE and whose lease has ended, and skip locked ones.

        :param sessions: only executors with one of these sessions; None for all
        """
        ...

    async def lock_tokens(self) -> None:
        """Lock all principals and tokens until the end of the transaction, and increase their
        revision. It waits for other transactions that have locked them."""
        ...

    async def principal(self, principal_id: str) -> StoredPrincipal | None:
        """A principal. Call `lock_tokens` first to change it."""
        ...

    async def token(self, token_id: str) -> StoredToken | None:
        """A token. Call `lock_tokens` first to change it."""
        ...

    async def put_principal(self, principal: StoredPrincipal) -> None:
        """Insert or replace a principal."""
        ...

    async def put_token(self, token: StoredToken) -> None:
        """Insert or replace a token. Its id, principal, hash and scope never change."""
        ...

    async def lock_bulks(self) -> None:
        """Let no other bulk call begin until the end of the transaction."""
        ...

    async def running_bulks(self, user_id: str | None) -> int:
        """The number of bulk calls of a principal that have not ended."""
        ...

    async def lock_bulk(self, bulk_id: str) -> StoredBulk | None:
        """Lock a bulk call. Lock tasks after it, not before."""
        ...

    async def bulk_is_free(self, bulk: StoredBulk, seen_since: float) -> bool:
        """Whether the manager of a bulk call has stopped, or was not seen since a time."""
        ...

    async def add_bulk(self, bulk: StoredBulk) -> None:
        """Insert a bulk call."""
        ...

    async def save_bulk(self, bulk: StoredBulk) -> None:
        """Write a locked bulk call, except its order, which never changes."""
        ...

    async def add_audit(self, records: Sequence[AuditRecord]) -> None:
        """Write audit records; `at` is set to the clock. Of a record with an existing id, only
        `data` is updated, so that a transaction can be repeated and a record completed."""
        ...


def ignore(message: bytes) -> None:
    """Ignore a message."""


class Store(Protocol):
    """A database.

    :ivar parallel: whether transactions run at the same time, and not one after the other
    """

    parallel: bool

    async def open(self, *, migrate: bool = True) -> None:
        """Connect, and create or migrate the tables, or check that they are current.

        :param migrate: whether to apply pending migrations
        :raises StoreRefused: the database cannot be used; the message describes the solution
        :raises StoreUnavailable: the database cannot be reached
        """
        ...

    async def close(self) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Run a transaction: commit at the end of the block, roll back after an exception.

        :raises TransactionConflict: nothing was written; run the transaction again
        :raises StoreUnavailable: the database cannot be reached; `unknown` is set if a commit was
            in progress
        """
        ...

    async def write_presumed(self, presumed: Presumed) -> bool:
        """Write the steps of a presumed transaction, committed, in one round trip.

        :returns: whether the presumptions have held; otherwise nothing was written
        :raises StoreUnavailable: the database cannot be reached. If `unknown` is set, it may have
            been written, or may be written within VALID_SECONDS.
        """
        ...

    async def ready_tasks(self, app_name: str, limit: int) -> list[Row]:
        """The first ready tasks of a stream in its order, those that are locked included. They may
        have changed when they are looked at: presume them, do not trust them."""
        ...

    def clock(self) -> float:
        """The store's clock without a query, on PostgreSQL as an estimate."""
        ...

    @property
    def clock_revision(self) -> int:
        """Another number whenever `clock` has been set: times that were computed before then no
        longer fit to those in the database."""
        ...

    async def now(self) -> float:
        """The store's clock."""
        ...

    async def work_summary(self) -> WorkSummary:
        """Read the work summary, in one query."""
        ...

    # between managers

    async def wake(self, topics: Iterable[str]) -> None:
        """Wake the other managers of this database for some topics, with one message. It does
        nothing on SQLite, which has one manager."""
        ...

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send messages to the other managers, in order. Managers that do not listen miss them.

        :param messages: JSON objects of at most `MESSAGE_BYTES` bytes each
        """
        ...

    def listen(
        self,
        heard: Callable[[frozenset[str]], None],
        received: Callable[[bytes], None] = ignore,
    ) -> AbstractAsyncContextManager[None]:
        """Listen to other managers until the end of the block. Lost connections are reopened.

        :param heard: called with the topics of a wake-up, and with an empty set after a reconnect,
            because wake-ups for any topic may have been lost
        :param received: called with each message
        """
        ...

    # reads

    # All reads that a caller's request can reach take a sight: what it does not see is left out, as
    # if it did not exist.

    async def tasks(
        self, ids: Sequence[str], sight: Sight, *, results: bool = True
    ) -> dict[str, TaskView]:
        """Read tasks by id. Unknown ids are left out.

        :param results: whether to load the results, and the progress of running stages
        """
        ...

    async def standings(self, ids: Sequence[str]) -> dict[str, Standing]:
        """Read which state tasks are in, to compare it with an earlier one. Unknown ids are left
        out."""
        ...

    async def next_tasks(self, ids: Iterable[str]) -> dict[str, str | None]:
        """See `Transaction.next_tasks`."""
        ...

    async def find(self, query: TaskQuery, sight: Sight) -> TaskPage: ...

    async def count(self, conditions: Sequence[Condition], sight: Sight) -> int:
        """Count the matching tasks exactly."""
        ...

    def ids(
        self, conditions: Sequence[Condition], sight: Sight, batch: int
    ) -> AsyncIterator[list[str]]:
        """All matching ids in order, in batches of up to `batch` ids."""
        ...

    async def matching(
        self, conditions: Sequence[Condition], limit: int, after: str | None
    ) -> list[tuple[str, int, int]]:
        """The next matching tasks, in the order of their ids: id, `rev` and `version` of each.

        :param after: only ids after this one
        """
        ...

    async def situations(
        self, conditions: Sequence[Condition], sight: Sight
    ) -> list[tuple[Situation, int]]:
        """Count the matching tasks by the situation that they are in."""
        ...

    async def runs(self, task_id: str, sight: Sight, limit: int = 1000) -> list[Run]:
        """The ended runs and missed fires of a task, newest first. `error` is raw JSON."""
        ...

    async def versions(
        self, task_id: str, sight: Sight, *, before: int, limit: int
    ) -> list[Definition]:
        """The earlier versions of the definition of a task, newest first, of those of its streams
        that are in sight. Not all of them up to the limit: `before` the last one are the others.

        :param before: only versions with a lower number
        """
        ...

    async def find_runs(self, query: PageQuery, sight: Sight) -> RunPage:
        """Ended runs and missed fires of all tasks. The columns of the query must be in
        `RUN_COLUMNS`, or `id`. `error` is raw JSON."""
        ...

    async def stage_records(self, job_id: str, sight: Sight) -> list[StageRecord]:
        """The ended attempts of a run, in order of cycle, stage and attempt. `result` and `error`
        are raw JSON."""
        ...

    async def log_parts(self, query: LogQuery, sight: Sight, limit: int) -> list[LogPart]:
        """Read the first lines of a query, in order.

        :param limit: the most parts, each of a few lines or one long one
        """
        ...

    async def inbox(self, task_id: str, sight: Sight) -> list[InboxMessage]:
        """The messages of a task, in order of arrival. Of very large ones, only the first."""
        ...

    async def children(self, wait: Wait) -> list[Child]:
        """The tasks that a stage waits for, in order."""
        ...

    async def ahead(self, row: Row) -> int:
        """The number of tasks before a QUEUED task, in its stream or at its gate, at most
        COUNT_LIMIT."""
        ...

    async def method_gates(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        """The gates of methods at which tasks wait, and their streams, in order.

        :param after: only what comes after this gate and stream
        """
        ...

    async def slot_used(self, key: str) -> int:
        """The number of EXECUTED runs of a concurrency key."""
        ...

    async def pauses(self) -> list[Pause]:
        """All pauses, in the order of their ids."""
        ...

    async def bulk(self, bulk_id: str) -> StoredBulk | None:
        """A bulk call."""
        ...

    async def bulks(self, query: PageQuery) -> BulkPage:
        """Read a page of bulk calls, newest first unless `sort` is given."""
        ...

    async def open_bulks(self, manager_id: str, seen_since: float) -> list[str]:
        """The ids of running bulk calls that a manager goes on with, or whose manager has stopped
        or was not seen since a time. The oldest come first."""
        ...

    async def streams(self, sight: Sight) -> list[StreamCount]:
        """What the tasks of each stream do, without those that are IDLE or have ended."""
        ...

    async def recent_waits(self, since: float, limit: int, sight: Sight) -> list[tuple[str, float]]:
        """How long runs waited for an executor before they began, in seconds, with their streams.

        :param since: only runs that have ended since this time
        :param limit: the most runs of all streams; the last ended are read
        """
        ...

    async def add_mark(self, mark: Mark) -> None:
        """Store a mark."""
        ...

    async def marks(self, start: float, end: float, limit: int, sight: Sight) -> list[Mark]:
        """The marks from `start` on and before `end`, the last first. Those of all streams are
        always in sight."""
        ...

    async def prune_marks(self, before: float, limit: int) -> int:
        """Delete up to `limit` marks of a time before this one.

        :returns: the number of deleted marks
        """
        ...

    async def add_stats(self, manager_id: str, counts: Sequence[Counted]) -> None:
        """Add counts to those that this manager has stored of the same minutes and hours."""
        ...

    async def stats(
        self,
        step: int,
        start: int,
        end: int,
        interval: int,
        names: Sequence[str],
        app_names: Sequence[str] | None,
    ) -> list[StatRow]:
        """Add up the counts of all managers, in intervals.

        :param step: MINUTE or HOUR: the counts to read
        :param start: a multiple of `interval`, UNIX seconds
        :param end: the counts before this time
        :param interval: seconds, a multiple of `step`
        :param app_names: of these streams; None for all
        """
        ...

    async def stat_durations(self, name: str, since: int) -> list[tuple[str, int, int]]:
        """The counts of durations since a minute: stream, bucket and count, in this order.

        :param since: UNIX seconds, a multiple of MINUTE
        """
        ...

    async def stat_streams(self, step: int, start: int, end: int) -> list[str]:
        """The streams that have counts of a time; see `stats`."""
        ...

    async def prune_stats(self, step: int, before: float, limit: int) -> int:
        """Delete up to `limit` counts of minutes or hours before a time.

        :returns: the number of deleted counts
        """
        ...

    async def status_counts(self, sight: Sight) -> dict[tuple[str, str], int]:
        """The number of tasks, by (app_name, status)."""
        ...

    async def open_tasks(self) -> dict[str, int]:
        """The number of tasks of each owner that have not ended, without idle ones that have no
        next run. Owners without such tasks are left out."""
        ...

    # principals and tokens

    async def credential(self, token_id: str | None) -> Credential:
        """Read what is known about a token, in one query.

        :param token_id: the id in the token; None to read only what concerns all of them
        """
        ...

    async def principals(self) -> list[StoredPrincipal]:
        """All principals, in the order of their ids."""
        ...

    async def tokens(self) -> list[tuple[StoredToken, TokenUse | None]]:
        """All tokens in the order in which they were created, each with its last use."""
        ...

    async def tokens_used(self, uses: Sequence[TokenUse]) -> None:
        """Record the last uses of tokens. An earlier use does not replace a later one."""
        ...

    # executors and managers

    async def ping(self, pings: Sequence[Ping], lease_seconds: float) -> dict[str, ExecutorStatus]:
        """Renew the leases of executors that still have the given session and are not LOST or
        GONE. A lease that ends later than that keeps its end.

        :returns: the status by executor id; executors that are missing must reconnect
        """
        ...

    async def shorten_lease(self, executor_id: str, session: str, seconds: float) -> None:
        """Let an executor's lease end within this many seconds, unless its session has changed."""
        ...

    async def executors(self, sight: Sight, ids: Sequence[str] | None = None) -> list[ExecutorRow]:
        """The executors with the number of tasks that they hold, in the order of their ids.

        :param ids: the executors to read; None for all
        """
        ...

    async def holders(self, ids: Sequence[str]) -> dict[str, Holder]:
        """The sessions and the leases of executors, by id. Unknown ids are left out."""
        ...

    async def forget_executors(self, before: float) -> int:
        """Delete the rows of LOST and GONE executors whose lease ended before a time.

        :returns: the number of deleted rows
        """
        ...

    async def manager_seen(
        self,
        manager_id: str,
        fresh_seconds: float,
        grace_seconds: float = 0.0,
        silent_seconds: float | None = None,
    ) -> Presence:
        """Record that a manager is up and reaches the database.

        :param fresh_seconds: a manager that was seen within this time counts as up
        :param grace_seconds: no manager may have been up for so long since one has stopped
        :param silent_seconds: the same, since one was seen that has not stopped; by default
            `fresh_seconds`
        """
        ...

    async def manager_gone(self, manager_id: str) -> None:
        """Record that a manager has stopped."""
        ...

    async def forget_managers(self, before: float) -> int:
        """Delete the rows of managers that were last seen before a time.

        :returns: the number of deleted rows
        """
        ...

    async def put_progress(self, progress: Sequence[StoredProgress], gone: Sequence[Lease]) -> None:
        """Store the progress of running stages, in place of earlier progress of the same tasks.

        :param gone: delete what is stored of these leases
        """
        ...

    async def write_logs(self, chunks: Sequence[LogChunk]) -> list[WrittenChunk]:
        """Store lines of attempts, outside the transactions of tasks. Of an attempt, the first
        HALF_BYTES and the last are kept.

        A chunk is left out if its executor neither holds the task under the lease, for this
        attempt, nor has held it for the attempt until HELD_SECONDS ago, or does not serve its
        stream, or if the stored lines of the attempt do not all come before it.

        :param chunks: those of an attempt in order
        :returns: what was written
        """
        ...

    # retention

    async def prune_logs(self, runs: Sequence[tuple[str, str]]) -> int:
        """Delete the lines of runs whose tasks do not exist any more.

        :param runs: `job_id` and the id of the task
        """
        ...

    async def prune_lost_logs(self, limit: int, after: str = "") -> str | None:
        """Look at the next `limit` runs that have lines, and delete the lines of those whose tasks
        do not exist any more.

        :param after: what the call before in the same pass has returned
        :returns: the `job_id` of the last run that it has looked at; None if there were none left
        """
        ...

    async def prune_progress(self, limit: int) -> int:
        """Delete up to `limit` entries of progress of stages that no longer run.

        :returns: the number of deleted entries
        """
        ...

    # These look at each old row once in a pass, however many of them have to stay.

    async def prune_runs(self, before: float, limit: int, after: float = -1.0) -> Pruned:
        """Look at the next `limit` runs that ended before a time, and delete them, their stages and
        their log lines. The last run of a task, whose results are still readable, is never deleted.

        :param after: `upto` of the call before in the same pass
        """
        ...

    async def prune_versions(self, before: float, limit: int, after: float = -1.0) -> Pruned:
        """Look at the next `limit` versions of definitions that were replaced before a time, and
        delete those that no stored run has used.

        :param after: `upto` of the call before in the same pass
        """
        ...

    async def prune_received(self, before: float, limit: int, after: float = -1.0) -> Pruned:
        """Look at the next `limit` ids of messages of runs that ended before a time, and delete
        them. The ids of the last run of a task are never deleted.

        :param after: `upto` of the call before in the same pass
        """
        ...

    async def forget_slots(self) -> None:
        """Delete unused concurrency keys."""
        ...

    async def prune_pauses(self, before: float) -> int:
        """Delete the pauses that ended for good, at the latest at a time.

        The revision stays: a manager that still knows such a pause holds nothing with it.

        :returns: the number of deleted pauses
        """
        ...

    async def prune_families(self, before: float) -> int:
        """Forget the sizes of families that have been counted since before a time.

        :returns: the number of forgotten sizes
        """
        ...

    async def prune_notifications(self, before: float, limit: int) -> int:
        """Delete up to `limit` notifications that were created before a time.

        :returns: the number of deleted notifications
        """
        ...

    async def prune_audit(self, before: float, limit: int) -> int:
        """Delete up to `limit` audit records that were written before a time.

        :returns: the number of deleted records
        """
        ...

    async def prune_bulks(self, before: float, limit: int) -> int:
        """Delete up to `limit` bulk calls that ended before a time.

        :returns: the number of deleted bulk calls
        """
        ...

    # notifications and audit

    async def notifications(
        self, query: PageQuery, sight: Sight
    ) -> tuple[list[Notification], int, bool]:
        """Read a page, newest first unless `sort` is given. `kws`, `result` and `error` are raw
        JSON.

        :returns: the page, and the number of matching notifications
        """
        ...

    async def set_notification(
        self, id: str, enabled: bool, sight: Sight
    ) -> Notification | None: ...

    async def delete_notifications(self, ids: Sequence[str], sight: Sight) -> int: ...

    async def audit(self, query: PageQuery, sight: Sight) -> tuple[list[AuditRecord], int]:
        """Read a page, newest first unless `sort` is given. `data` is raw JSON.

        :returns: the page, and the number of matching records
        """
        ...
