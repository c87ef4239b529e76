"""Implements the store contract on PostgreSQL, through which managers coordinate."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from msgspec.structs import replace

from kaiju_tasks.lifecycle import Row
from kaiju_tasks.protocol import Lease
from kaiju_tasks.rights import Sight
from kaiju_tasks.store import query as queries
from kaiju_tasks.store.base import (
    COUNT_LIMIT,
    NEXT_TASKS_LIMIT,
    ExecutorRow,
    Holder,
    Ping,
    Presence,
    Pruned,
    Standing,
    StoredProgress,
    StoreError,
    StoreUnavailable,
    TaskPage,
    TaskQuery,
    TaskView,
    TransactionConflict,
    WorkSummary,
    ignore,
)
from kaiju_tasks.store.clock import describe_step
from kaiju_tasks.store.columns import (
    ROW_COLUMNS,
    executor_of,
    executor_status,
    holders_of,
    is_cut,
    notification_of,
    progress_of,
    progress_values,
    results_of,
    row_of,
    storable_ids,
    stored_definition,
)
from kaiju_tasks.store.credential_columns import credential_of
from kaiju_tasks.store.credentials import Credential, TokenUse
from kaiju_tasks.store.logs import (
    HALF_BYTES,
    Attempt,
    LogChunk,
    WrittenChunk,
    chunk_values,
    trimmed,
)
from kaiju_tasks.store.migrations import refuse_pending
from kaiju_tasks.store.pause_bodies import pauses_of
from kaiju_tasks.store.postgres import migrating
from kaiju_tasks.store.postgres.address import parse_address
from kaiju_tasks.store.postgres.arrays import array_literals, columns_of
from kaiju_tasks.store.postgres.bounds import DEFAULT_BOUNDS, Bounds
from kaiju_tasks.store.postgres.clock import ClockStepped, DatabaseClock
from kaiju_tasks.store.postgres.clock_step import apply_step
from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.postgres.connector import Connector
from kaiju_tasks.store.postgres.dialect import PostgresDialect
from kaiju_tasks.store.postgres.listener import Wakes, channel_of
from kaiju_tasks.store.postgres.pool import Pool
from kaiju_tasks.store.postgres.presuming import Guard, statement_of
from kaiju_tasks.store.postgres.saving import SQL
from kaiju_tasks.store.postgres.transaction import PostgresTransaction
from kaiju_tasks.store.presumed import VALID_SECONDS, Presumed
from kaiju_tasks.store.shared import SharedStore
from kaiju_tasks.types import ExecutorStatus, Notification, Pause

log = logging.getLogger(__name__)

T = TypeVar("T")

_TASK_COLUMNS = ", ".join(f"t.{name}" for name in ROW_COLUMNS)
_WITH_PROGRESS = queries.with_progress(_TASK_COLUMNS)

PRESUMED_WRONGLY = (asyncpg.UniqueViolationError, asyncpg.DivisionByZeroError)
"""The errors of `insert_presumed` if another transaction inserts an id at the same time."""
LISTENER_PROBES = 3
"""Wake-ups are hints: an idle listening connection is probed less often than others."""


class PostgresStore(SharedStore):
    """See `kaiju_tasks.store.base.Store`.

    :param url: `postgresql://…[?schema=…]`
    :param connections: maximum number of connections, from 1, in addition to the listening one and
        one that looks at long statements
    :param bounds: the longest waits
    :raises SettingsError: the URL is malformed
    """

    parallel = True
    _dialect = PostgresDialect()
    _sql = SQL

    def __init__(self, url: str, *, connections: int = 4, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._address = parse_address(url)
        self._size = connections
        self._bounds = bounds
        self._connector = Connector(self._address, bounds)
        self._clock = DatabaseClock()
        self._clock_revision = 0
        self._following = asyncio.Lock()
        self._seen_as = ("", 0.0)
        self._wakes = Wakes(self._connect_listener, LISTENER_PROBES * bounds.probe_seconds)
        self._pool: Pool | None = None

    async def open(self, *, migrate: bool = True) -> None:
        pool = Pool(self._connector, self._size, self._bounds)
        try:
            if pending := await pool.ask(migrating.pending):
                await self._migrate(pool) if migrate else refuse_pending(pending)
            schema = await pool.ask(_schema)
        except BaseException:
            await pool.close()
            raise
        self._wakes.channel = channel_of(schema)
        self._pool = pool
        await self.now()

    async def _migrate(self, pool: Pool) -> None:
        async with pool.single() as connection:  # a migration may take hours
            await migrating.migrate(connection, self._address.schema)

    async def _connect_listener(self) -> Any:
        connection, _ = await self._connector.open(command_timeout=self._bounds.probe_seconds)
        return connection

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        try:
            async with self._one_transaction() as transaction:
                yield transaction
        except ClockStepped:
            await self._follow_clock()
            raise

    @asynccontextmanager
    async def _one_transaction(self) -> AsyncIterator[PostgresTransaction]:
        async with self._connected().connection(keyed=True) as connection:
            transaction = PostgresTransaction(connection, self._clock)
            try:
                await transaction.begin()
                yield transaction
                await transaction.commit()
            except Exception:
                await connection.recover(self._bounds.probe_seconds)
                raise

    async def write_presumed(self, presumed: Presumed) -> bool:
        async with self._connected().connection(keyed=True) as connection:
            valid_until = self._clock.now() + VALID_SECONDS
            pauses = presumed.pauses_revision if presumed.sessions else None
            guard = Guard(presumed.clock_revision, valid_until, pauses)
            text, values = statement_of(presumed, guard)
            asked_at = self._clock.local()
            try:
                moments = await connection.fetch_committed(text, *values)
            except TransactionConflict:
                moments = []
            except StoreError as error:
                if not isinstance(error.__cause__, PRESUMED_WRONGLY):
                    raise
                moments = []
        if not moments:
            await self.now()  # another manager may have noted that the clock was set
            return False
        try:
            self._clock.seen(moments[-1][0], asked_at)
        except ClockStepped:
            await self._follow_clock()
        return True

    async def ready_tasks(self, app_name: str, limit: int) -> list[Row]:
        async with self._connected().connection(keyed=True) as connection:
            found = await connection.fetch(SQL["ready_tasks"], app_name, limit)
        return [row_of(record) for record in found]

    def _connected(self) -> Pool:
        if self._pool is None:
            raise StoreUnavailable("The store is closed.")
        return self._pool

    def clock(self) -> float:
        return self._clock.now()

    @property
    def clock_revision(self) -> int:
        return self._clock_revision

    async def now(self) -> float:
        ((now, self._clock_revision),) = await self._read_clock("now")
        return float(now)

    async def _read_clock(self, name: str, *values: Any) -> list[Any]:
        """Run a statement whose first value is the clock, again if the clock was set."""
        while True:
            asked_at = self._clock.local()
            found = await self._read(name, *values)
            try:
                self._clock.seen(found[0][0], asked_at)
            except ClockStepped:
                await self._follow_clock()
            else:
                return found

    async def _follow_clock(self) -> None:
        """Move the times in the database after its clock was set, or wait until another manager
        has done it."""
        async with self._following, self._connected().single() as connection:
            await connection.begin()
            await self._apply_step(connection)
            await connection.commit()

    async def _apply_step(self, connection: Connection) -> None:
        await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        revision = await connection.fetchval(SQL["lock_clock"])
        if revision == self._clock_revision:
            await connection.execute(SQL["lock_times"])
        asked_at = self._clock.local()
        now = await connection.fetchval(SQL["now"])
        step = self._clock.step(now, asked_at)
        if revision == self._clock_revision and step and not await self._alone(connection, step):
            await apply_step(connection, step, now)
            revision += 1
            log.warning("the clock of the database %s", describe_step(step))
        self._clock.apply(now, asked_at)
        self._clock_revision = revision

    async def _alone(self, connection: Connection, step: float) -> bool:
        """Whether only this manager sees a step: its machine has stood still."""
        manager_id, seconds = self._seen_as
        if abs(step) < 2 * seconds:
            return False
        return bool(await connection.fetchval(SQL["others_agree"], manager_id, seconds))

    async def work_summary(self) -> WorkSummary:
        ((now, next_due, ready, suspect, next_expiry, *waiting),) = await self._read_clock(
            "work_summary"
        )
        paused, unsettled, signals, tokens_revision, gated = waiting
        return WorkSummary(
            now,
            next_due,
            frozenset(ready),
            frozenset(suspect),
            next_expiry,
            frozenset(paused),
            unsettled,
            signals,
            tokens_revision,
            gated,
        )

    async def method_gates(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        return [(gate, app) for gate, app in await self._read("method_gates", *after, limit)]

    async def wake(self, topics: Iterable[str]) -> None:
        await self._notify("notify", self._wakes.payload(topics))

    async def send(self, messages: Sequence[bytes]) -> None:
        payloads = [self._wakes.message(message) for message in messages]
        await self._notify("notify_each", payloads)

    async def _notify(self, name: str, payload: str | list[str]) -> None:
        async with self._connected().connection() as connection:
            await connection.execute(SQL[name], self._wakes.channel, payload)

    def listen(
        self,
        heard: Callable[[frozenset[str]], None],
        received: Callable[[bytes], None] = ignore,
    ) -> AbstractAsyncContextManager[None]:
        return self._wakes.listen(heard, received)

    # reads

    async def tasks(
        self, ids: Sequence[str], sight: Sight, *, results: bool = True
    ) -> dict[str, TaskView]:
        seen, wanted = queries.sight_conditions(sight), storable_ids(ids)
        columns = _WITH_PROGRESS if results else _TASK_COLUMNS
        text, values = queries.tasks(self._dialect, columns, wanted, seen, results)

        async def read(connection: Connection) -> list[TaskView]:
            found = await connection.fetch(text, *values)
            if is_cut(found):
                raise queries.too_large()
            return await _views(connection, found, results)

        return {view.row.id: view for view in await self._answer(read)}

    async def standings(self, ids: Sequence[str]) -> dict[str, Standing]:
        found = await self._read("standings", storable_ids(ids), asked=True)
        return {id: Standing(*values) for id, *values in found}

    async def next_tasks(self, ids: Iterable[str]) -> dict[str, str | None]:
        wanted = storable_ids(ids)
        return dict(await self._read("next_tasks", wanted, len(wanted) + NEXT_TASKS_LIMIT))

    async def find(self, query: TaskQuery, sight: Sight) -> TaskPage:
        query = replace(query, conditions=[*query.conditions, *queries.sight_conditions(sight)])
        columns = _WITH_PROGRESS if query.with_progress else _TASK_COLUMNS
        page, page_values = queries.page(self._dialect, query, columns)
        count, count_values = queries.bounded_count(self._dialect, query.conditions)

        async def read(connection: Connection) -> TaskPage:
            found = await connection.fetch(page, *page_values)
            views = await _views(connection, found, query.with_results)
            total = await connection.fetchval(count, *count_values) if query.with_total else 0
            return TaskPage(views, min(total, COUNT_LIMIT), total > COUNT_LIMIT, is_cut(found))

        return await self._answer(read)

    async def pauses(self) -> list[Pause]:
        ((_, ids, bodies),) = await self._read("pauses")
        return pauses_of(zip(ids, bodies, strict=True))

    # principals and tokens

    async def credential(self, token_id: str | None) -> Credential:
        ((now, *found),) = await self._read_clock("credential", token_id)
        return credential_of(now, found)

    async def tokens_used(self, uses: Sequence[TokenUse]) -> None:
        ordered = sorted(uses, key=lambda use: use.token_id)
        values = ((use.token_id, use.at, use.remote) for use in ordered)
        await self._change("tokens_used", *columns_of(values, "tnt"))

    # executors and managers

    async def ping(self, pings: Sequence[Ping], lease_seconds: float) -> dict[str, ExecutorStatus]:
        ids, sessions, capacities = columns_of(
            ((ping.executor_id, ping.session, ping.capacity) for ping in pings), "ttn"
        )
        found = await self._read("ping", ids, sessions, capacities, lease_seconds)
        return {id: executor_status(id, status) for id, status in found}

    async def shorten_lease(self, executor_id: str, session: str, seconds: float) -> None:
        await self._read("shorten_lease", executor_id, session, seconds)

    async def executors(self, sight: Sight, ids: Sequence[str] | None = None) -> list[ExecutorRow]:
        listed = None if ids is None else storable_ids(ids)
        found = await self._read("executors", listed, asked=True)
        rows = [executor_of(values, running=values["running"]) for values in found]
        return [row for row in rows if sight.sees_any(row.app_names)]

    async def holders(self, ids: Sequence[str]) -> dict[str, Holder]:
        return holders_of(await self._read("holders", storable_ids(ids)))

    async def manager_seen(
        self,
        manager_id: str,
        fresh_seconds: float,
        grace_seconds: float = 0.0,
        silent_seconds: float | None = None,
    ) -> Presence:
        self._seen_as = (manager_id, fresh_seconds)
        silent = fresh_seconds if silent_seconds is None else silent_seconds
        seconds = (fresh_seconds, grace_seconds, silent)
        while True:  # a clock that was set is noticed before others read its time here
            asked_at = self._clock.local()
            found = await self._read("manager_seen", manager_id, *seconds, *self._clock.expected())
            if found:
                self._clock.seen(found[0][0], asked_at)
                return Presence(*found[0])
            await self.now()

    async def manager_gone(self, manager_id: str) -> None:
        await self._change("manager_gone", manager_id)

    async def put_progress(self, progress: Sequence[StoredProgress], gone: Sequence[Lease]) -> None:
        if gone:
            values = ((lease.id, lease.job_id, lease.epoch) for lease in gone)
            await self._change("delete_progress", *columns_of(values, "ttn"))
        if progress:
            ordered = sorted(progress_values(one) for one in progress)
            await self._change("put_progress", *columns_of(ordered, "ttnnt"))

    async def write_logs(self, chunks: Sequence[LogChunk]) -> list[WrittenChunk]:
        columns = self._sql.columns["log_chunks"]
        arrays = array_literals(map(chunk_values, chunks), len(columns))
        found = await self._read("write_logs", *arrays)
        written = [WrittenChunk(Attempt(*values[:4]), *values[4:]) for values in map(tuple, found)]
        if long := [(*attempt, upto) for attempt, upto in trimmed(written).items()]:
            await self._change("trim_logs", *columns_of(long, "tnnnn"), HALF_BYTES)
        return written

    # retention

    async def prune_logs(self, runs: Sequence[tuple[str, str]]) -> int:
        return await self._change("prune_logs", *columns_of(runs, "tt"))

    async def prune_lost_logs(self, limit: int, after: str = "") -> str | None:
        upto: str | None = (await self._read("prune_lost_logs", limit, after))[0][0]
        return upto

    async def _prune(self, rows: str, before: float, limit: int, after: float) -> Pruned:
        return Pruned(*(await self._read(f"prune_{rows}", before, limit, after))[0])

    # notifications and audit

    async def set_notification(self, id: str, enabled: bool, sight: Sight) -> Notification | None:
        if not await self._sees_notification(id, sight):
            return None
        ids = storable_ids([id])
        found = [row for one in ids for row in await self._read("set_notification", one, enabled)]
        return notification_of(found[0]) if found else None

    async def delete_notifications(self, ids: Sequence[str], sight: Sight) -> int:
        ids = [id for id in ids if await self._sees_notification(id, sight)]
        return await self._change("delete_notifications", storable_ids(ids))

    # connections

    async def _select(
        self, statement: tuple[str, Sequence[Any]], *, asked: bool = False
    ) -> list[Any]:
        text, values = statement

        async def read(connection: Connection) -> list[Any]:
            return await connection.fetch(text, *values)

        return await (self._answer(read) if asked else self._connected().ask(read))

    async def _answer(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Read for a client: on some of the connections only, and within a budget of time."""
        seconds = queries.READ_SECONDS
        return await self._connected().answer(read, seconds, queries.too_costly)

    async def _change(self, name: str, *values: Any) -> int:
        """Run a statement. Returns the number of changed rows."""
        statement = SQL[name]
        tag = await self._connected().ask(lambda one: one.execute(statement, *values))
        return int(tag.rpartition(" ")[2])


async def _schema(connection: Connection) -> str:
    found: str = await connection.fetchval("SELECT current_schema()")
    return found


async def _views(connection: Any, found: Sequence[Any], with_results: bool) -> list[TaskView]:
    views = [
        TaskView(
            row_of(record),
            stored_definition(record["id"], *record[-3:-1]).definition,
            progress=progress_of(record[:-3]),
        )
        for record in found
    ]
    if with_results:
        results = await _results(connection, views)
        for view in views:
            view.results = results_of(view.row, results.get(view.row.job_id or "", {}))
    return views


async def _results(connection: Any, views: Sequence[TaskView]) -> Mapping[str, dict[int, str]]:
    keys = [(view.row.job_id, view.row.cycle) for view in views if view.row.stage]
    results: dict[str, dict[int, str]] = {}
    if keys:
        for job_id, stage, text in await connection.fetch(
            SQL["run_results"], *columns_of(keys, "tn")
        ):
            results.setdefault(job_id, {})[stage] = text
    return results
