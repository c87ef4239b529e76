"""What the manager needs of a database. Two stores keep this contract: SQLite and PostgreSQL.

Everything that changes a task is lock, advance, save in one `Transaction`. Moments are UNIX
seconds. On PostgreSQL `now` is the database's clock; on SQLite the clock given to the store.
"""

from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Raw, Struct

from kaiju_tasks.lifecycle import Definition, InboxMessage, Pauses, Row, Step, Wait
from kaiju_tasks.types import AuditRecord, ExecutorStatus, Notification, Pause, Run, StageRecord


class StoreError(Exception):
    """Base of the errors a store raises."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or the connection broke: try again later.

    :param unknown: a commit was under way, and may or may not have happened
    """

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class TransactionConflict(StoreError):
    """A deadlock or serialisation failure: nothing was written, run the transaction again."""


class StoreRefused(StoreError):
    """The database is there but cannot be used: another manager holds it, or its schema is
    newer than this program, or is missing. The message says what to do."""


class WorkSummary(Struct):
    """What there is to wait for, as seen outside any transaction.

    :param now: the store's clock
    :param next_due: earliest `due_at`, or None
    :param ready: streams with tasks that may be acquired (`ready` 1)
    :param suspect: streams with suspect tasks (`ready` 2)
    :param next_expiry: earliest end of an ACTIVE or DRAINING executor's lease, or None
    :param paused: gates of pauses at which tasks stand
    :param unsettled: `Transaction.lock_gated` has passed over a waiter
    :param signals: `Transaction.take_signals` has something
    """

    now: float
    next_due: float | None
    ready: frozenset[str]
    suspect: frozenset[str]
    next_expiry: float | None
    paused: frozenset[str] = frozenset()
    unsettled: bool = False
    signals: bool = False


class StoredDefinition(Struct):
    """A definition and the `rev` that rows refer to it by."""

    rev: int
    definition: Definition


class TaskView(Struct):
    """A task as it is read.

    :param results: JSON of the finished stages' results, `row.stage` long;
        None where they were not asked for
    """

    row: Row
    definition: Definition
    results: list[Raw] | None = None


class Condition(Struct, frozen=True):
    """One condition of a query. `op`: eq, ne, in, gt, ge, lt, le, like. Conditions are ANDed.

    eq with None is IS NULL; `in` takes a list, None in it allowed. `ne` is what `eq` is not:
    nulls differ from values. `like`: case-sensitive, `%` and `_`, escaped by a backslash.
    """

    column: str
    op: str
    value: Any


class PageQuery(Struct):
    """Which rows, in which order.

    :param sort: (column, descending); `id` is always the last key; nulls sort last both ways
    :param after: values of the sort keys and the id of the last row of the page before
    """

    conditions: Sequence[Condition] = ()
    sort: Sequence[tuple[str, bool]] = ()
    offset: int = 0
    limit: int = 100
    after: Sequence[Any] | None = None


class TaskQuery(PageQuery):
    """A query over tasks, its columns already checked against `TASK_COLUMNS`.

    :param with_results: load the results too
    """

    with_results: bool = False


class TaskPage(Struct):
    """One page.

    :param total: how many match the conditions, at most `COUNT_LIMIT`
    :param more: more than `COUNT_LIMIT` match
    """

    tasks: list[TaskView]
    total: int
    more: bool


COUNT_LIMIT = 10_000
MESSAGE_BYTES = 7_800
"""The largest message that one manager can send to others."""

TASK_COLUMNS: dict[str, type] = {
    "id": str,
    "app_name": str,
    "status": str,
    "status_reason": str,
    "enabled": bool,
    "priority": int,
    "stage": int,
    "stages": int,
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
    "next_task": str,
    "system": bool,
    "notify": bool,
    "group": str,
    "group_id": str,
    "user_id": str,
    "parent_id": str,
    "description": str,
}
"""Columns that `conditions` and `sort` may name, and the type of their values."""

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
"""Columns that conditions on notifications may name, and the type of their values."""

AUDIT_COLUMNS: dict[str, type] = {
    "id": str,
    "at": float,
    "user_id": str,
    "remote": str,
    "action": str,
    "target": str,
}
"""Columns that conditions on audit records may name, and the type of their values."""


class ExecutorRow(Struct, kw_only=True):
    """A connected, or lately connected, executor.

    :param session: the connection that may acquire for it; changes at each connect
    :param lease_until: moment its leases end unless it pings
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
    running: int = 0


class Gated(Struct):
    """The first tasks at a gate, locked.

    :param passed_over: others were locked by somebody else, and may come before these
    """

    rows: list[Row]
    passed_over: bool = False


class Child(Struct):
    """A task that a `_TASKS_` stage waits for. The last fields are None until its run has ended.

    :param made: the stage created it
    :param error: JSON of a TaskError
    :param job_id: and `job_cycle`, `stages`: the run that ended, and how many results it has
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
    """Of the tasks that a stage waits for: whether some have not ended, finished, failed."""

    left: bool
    finished: bool
    failed: bool


class Ping(Struct, frozen=True):
    """One executor's sign of life."""

    executor_id: str
    session: str
    capacity: int


class Transaction(Protocol):
    """One database transaction. Rows that it locks are saved by it or left as they are."""

    @property
    def now(self) -> float:
        """The store's clock, read after the latest lock was obtained."""
        ...

    @property
    def pauses_revision(self) -> int:
        """As it stood at the latest `lock_ready`."""
        ...

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        """Lock tasks, in the order of their ids, waiting for other transactions.
        Unknown ids are left out. With no ids it just reads the clock."""
        ...

    async def lock_due(self, limit: int) -> list[Row]:
        """Lock up to `limit` tasks whose `due_at` has come, earliest first, skipping locked."""
        ...

    async def lock_ready(
        self, app_name: str, limit: int, *, executor_id: str, session: str, ready: int = 1
    ) -> list[Row] | None:
        """Lock up to `limit` tasks of a stream, by priority then `queued_at`, skipping locked ones.

        The executor's row stays share-locked until the end of the transaction, so that a
        reconnect (`lock_executor`) comes before or after, never in between.

        :param ready: 1, or 2 for the suspect ones
        :returns: None, not an empty list, when the executor's session is no longer the given
            one, or it is not ACTIVE
        """
        ...

    async def lock_gated(self, wanted: Mapping[str, int]) -> dict[str, Gated]:
        """Lock the first tasks at gates, by priority then `queued_at`, skipping locked ones.

        :param wanted: how many of each stream, by gate
        :returns: by gate; those at which nobody stands are left out
        """
        ...

    async def lock_leased(self, executor_id: str) -> list[Row]:
        """Lock all EXECUTED tasks of an executor, in the order of their ids."""
        ...

    async def definitions(self, ids: Iterable[str]) -> dict[str, StoredDefinition]:
        """Definitions of tasks. Unknown ids are left out."""
        ...

    async def results(self, keys: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int], Raw]:
        """Results of stages.

        :param keys: (job_id, cycle, stage)
        :returns: by (job_id, stage); stages without a result are left out
        """
        ...

    async def inboxes(self, ids: Iterable[str]) -> dict[str, list[InboxMessage]]:
        """Messages of tasks, in order of arrival; tasks without any are left out."""
        ...

    async def lock_slots(self, keys: Iterable[str]) -> dict[str, int]:
        """Lock concurrency keys, in their order.

        :returns: how many runs of each are EXECUTED
        """
        ...

    async def save_slots(self, used: Mapping[str, int], unsettled: Container[str] = ()) -> None:
        """Write locked keys.

        :param unsettled: those of which a waiter was passed over
        """
        ...

    async def unsettled_slots(self, limit: int) -> list[str]:
        """Keys that were saved as unsettled."""
        ...

    async def claim(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Take unique keys for tasks, waiting for other transactions that do.

        :param wanted: task ids by key
        :returns: of the keys that are held already, the tasks that hold them
        """
        ...

    async def unclaim(self, ids: Sequence[str]) -> None:
        """Let tasks go of their unique keys."""
        ...

    async def put_children(self, parent_id: str, wait: Wait, children: Sequence[Child]) -> None:
        """Note what a stage waits for, at positions that are free."""
        ...

    async def drop_children(self, wait: Wait, positions: Sequence[int]) -> None:
        """Forget of some positions what a stage waits for."""
        ...

    async def children(self, wait: Wait) -> list[Child]:
        """What a stage waits for, in order."""
        ...

    async def children_summary(self, waits: Iterable[Wait]) -> dict[Wait, Summary]:
        """How it stands with what stages wait for, at a cost that does not rise with it."""
        ...

    async def waits_of(self, ids: Iterable[str]) -> list[str]:
        """The tasks for which some tasks wait at this moment."""
        ...

    async def signal(self, ids: Sequence[str]) -> None:
        """Have tasks looked at, by whoever takes the signals."""
        ...

    async def take_signals(self, limit: int) -> list[str]:
        """Take away the next signals, skipping locked ones: ids of tasks to look at."""
        ...

    async def result_sizes(self, runs: Iterable[tuple[str, int]]) -> dict[str, int]:
        """Bytes that the results of runs take.

        :param runs: (job_id, cycle)
        """
        ...

    async def run_results(self, runs: Iterable[tuple[str, int]]) -> dict[str, dict[int, Raw]]:
        """All results of runs, by job_id and stage.

        :param runs: (job_id, cycle)
        """
        ...

    async def pauses(self) -> Pauses:
        """Every pause."""
        ...

    async def put_pause(self, pause: Pause) -> bool:
        """Add a pause; the revision rises. False when there is one of this id."""
        ...

    async def delete_pause(self, pause_id: str) -> bool:
        """Delete a pause; the revision rises. False when there is none."""
        ...

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        """Insert new tasks and their effects (`Step.definition` is set).

        :returns: ids that exist already; of these nothing was written
        """
        ...

    async def save(self, steps: Sequence[Step]) -> None:
        """Write changed, locked tasks and all effects of their steps but `start_next`, `abandon`,
        `spawn` and `revoke`, which are the manager's. At most one step for a task. `deleted`
        removes the task, its definition, messages and history."""
        ...

    async def lock_executor(self, executor_id: str) -> ExecutorRow | None:
        """Lock an executor's row for change (FOR UPDATE)."""
        ...

    async def put_executor(self, executor: ExecutorRow) -> None:
        """Insert or replace an executor's row."""
        ...

    async def lock_expired(self, limit: int) -> list[ExecutorRow]:
        """Lock ACTIVE and DRAINING executors whose lease has ended, skipping locked ones."""
        ...

    async def delete_ended(self, before: float, limit: int) -> list[str]:
        """Delete tasks that ended before a moment with all that belongs to them:
        FINISHED or FAILED, never cron or interval, system or unfinished ones.

        :returns: ids of the deleted
        """
        ...

    async def add_audit(self, records: Sequence[AuditRecord]) -> None:
        """Write audit records, their `at` the clock. One whose id is there already keeps all
        but its `data`: so a transaction can be run again, and a record be completed."""
        ...


def ignore(message: bytes) -> None:
    """What is done with messages that nobody wants."""


class Store(Protocol):
    """A database."""

    async def open(self, *, migrate: bool = True) -> None:
        """Connect; create or migrate the tables, or check that they are current.

        :raises StoreRefused: with a sentence that says what to do
        :raises StoreUnavailable: it cannot be reached
        """
        ...

    async def close(self) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commit at the end, roll back on an exception.

        :raises TransactionConflict: nothing was written, run it again
        :raises StoreUnavailable: `unknown` tells whether a commit was under way
        """
        ...

    async def now(self) -> float:
        """The store's clock."""
        ...

    async def work_summary(self) -> WorkSummary:
        """What there is to wait for: one query."""
        ...

    # between managers

    async def wake(self, topics: Iterable[str]) -> None:
        """Tell other managers on this database that something of a topic changed
        (one message for all). Nothing on SQLite, which has one manager."""
        ...

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send messages to the other managers, in order; whoever does not listen misses them.

        :param messages: JSON objects of at most `MESSAGE_BYTES` each
        """
        ...

    def listen(
        self,
        heard: Callable[[frozenset[str]], None],
        received: Callable[[bytes], None] = ignore,
    ) -> AbstractAsyncContextManager[None]:
        """Call `heard(topics)` for other managers' wake-ups, and `received` with their
        messages; reconnects by itself and then calls `heard` with an empty set, which means:
        look at everything."""
        ...

    # reads

    async def tasks(self, ids: Sequence[str], *, results: bool = True) -> dict[str, TaskView]:
        """Tasks by id. Unknown ids are left out."""
        ...

    async def find(self, query: TaskQuery) -> TaskPage: ...

    async def count(self, conditions: Sequence[Condition]) -> int:
        """Exact count."""
        ...

    def ids(self, conditions: Sequence[Condition], batch: int) -> AsyncIterator[list[str]]:
        """All ids that match, in batches, in the order of ids."""
        ...

    async def runs(self, task_id: str, limit: int = 1000) -> list[Run]:
        """Ended runs and missed fires, newest first. `error` is Raw JSON."""
        ...

    async def stage_records(self, job_id: str) -> list[StageRecord]:
        """Ended attempts of a run, in order of cycle, stage, attempt.
        `result` and `error` are Raw JSON."""
        ...

    async def children(self, wait: Wait) -> list[Child]:
        """What a stage waits for, in order."""
        ...

    async def ahead(self, row: Row) -> int:
        """How many tasks of its stream stand before a QUEUED one, where it may be acquired or at
        its gate; counted up to COUNT_LIMIT."""
        ...

    async def slot_used(self, key: str) -> int:
        """How many runs of a concurrency key are EXECUTED."""
        ...

    async def pauses(self) -> list[Pause]:
        """Every pause, by id."""
        ...

    async def status_counts(self) -> dict[tuple[str, str], int]:
        """Number of tasks by (app_name, status)."""
        ...

    # executors and managers

    async def ping(self, pings: Sequence[Ping], lease_seconds: float) -> dict[str, ExecutorStatus]:
        """Renew leases of executors whose session is the given one and that are not LOST or GONE.

        :returns: status by executor id; those left out must connect anew
        """
        ...

    async def shorten_lease(self, executor_id: str, session: str, seconds: float) -> None:
        """Let the executor's lease end within `seconds`, unless its session has changed."""
        ...

    async def executors(self, ids: Sequence[str] | None = None) -> list[ExecutorRow]:
        """Executors with the number of tasks they hold, by id."""
        ...

    async def forget_executors(self, before: float) -> int:
        """Delete rows of LOST and GONE executors whose lease ended before a moment."""
        ...

    async def manager_seen(self, manager_id: str, fresh_seconds: float) -> float:
        """Note that a manager is up and reaches the database.

        :param fresh_seconds: a manager seen within it counts as up
        :returns: since when managers have been up without a break: this one's first
            call, or what another fresh manager's row says, whichever is earlier
        """
        ...

    async def manager_gone(self, manager_id: str) -> None: ...

    # retention

    async def prune_runs(self, before: float, limit: int) -> int:
        """Delete ended runs (and their stages) older than a moment, but never the last run of
        a task, whose results are still readable.

        :returns: how many
        """
        ...

    async def forget_slots(self) -> None:
        """Delete concurrency keys that nobody uses."""
        ...

    async def prune_notifications(self, before: float, limit: int) -> int:
        """Delete notifications older than a moment.

        :returns: how many
        """
        ...

    async def prune_audit(self, before: float, limit: int) -> int:
        """Delete audit records older than a moment.

        :returns: how many
        """
        ...

    # notifications and audit

    async def notifications(self, query: PageQuery) -> tuple[list[Notification], int]:
        """A page, without `sort` the newest first, and how many match the conditions.
        `kws`, `result`, `error` are Raw JSON."""
        ...

    async def set_notification(self, id: str, enabled: bool) -> Notification | None: ...

    async def delete_notifications(self, ids: Sequence[str]) -> int: ...

    async def audit(self, query: PageQuery) -> tuple[list[AuditRecord], int]:
        """A page, without `sort` the newest first, and how many match the conditions.
        `data` is Raw JSON."""
        ...
