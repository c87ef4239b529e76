"""Implements the store contract on SQLite, for one manager."""

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
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
    StoreRefused,
    StoreUnavailable,
    TaskPage,
    TaskQuery,
    TaskView,
    WorkSummary,
    ignore,
)
from kaiju_tasks.store.clock import SteadyClock, describe_step
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
    row_of_integers,
    storable_ids,
    stored_definition,
)
from kaiju_tasks.store.credential_columns import credential_of
from kaiju_tasks.store.credentials import Credential, TokenUse
from kaiju_tasks.store.logs import HALF_BYTES, LogChunk, WrittenChunk, chunk_values, trimmed
from kaiju_tasks.store.pause_bodies import pauses_of
from kaiju_tasks.store.presumed import Presumed
from kaiju_tasks.store.shared import SharedStore
from kaiju_tasks.store.sqlite import migrating
from kaiju_tasks.store.sqlite.clock_step import apply_step
from kaiju_tasks.store.sqlite.connection import MEMORY, connect, translated
from kaiju_tasks.store.sqlite.dialect import SqliteDialect
from kaiju_tasks.store.sqlite.filelock import FileLock
from kaiju_tasks.store.sqlite.files import make_private
from kaiju_tasks.store.sqlite.presuming import write_presumed
from kaiju_tasks.store.sqlite.saving import SQL
from kaiju_tasks.store.sqlite.thread import ConnectionThread, within
from kaiju_tasks.store.sqlite.transaction import SqliteTransaction
from kaiju_tasks.types import ExecutorStatus, Notification, Pause

log = logging.getLogger(__name__)

T = TypeVar("T")

_TASK_COLUMNS = ", ".join(f"t.{name}" for name in ROW_COLUMNS)
_WITH_PROGRESS = queries.with_progress(_TASK_COLUMNS)
_names = msgspec.json.Decoder(frozenset[str]).decode


class SqliteStore(SharedStore):
    """See `kaiju_tasks.store.base.Store`.

    :param path: the path of the file, or `:memory:`
    :param clock: the source of the time, UNIX seconds; by default, the wall clock without its steps
    :param inline: whether to run statements in the caller's thread
    :param beside: whether to open the file even while a manager uses it, for short transactions
        that the manager finds later: SQLite itself locks the file for each transaction
    """

    parallel = False
    _dialect = SqliteDialect()
    _sql = SQL

    def __init__(
        self,
        path: str,
        *,
        clock: Callable[[], float] | None = None,
        inline: bool = False,
        beside: bool = False,
    ) -> None:
        self._path = path
        self._beside = beside
        self._clock = SteadyClock() if clock is None else clock
        self._in_memory = path == MEMORY
        self._file_lock = FileLock(Path(path))
        self._writer = ConnectionThread("kaiju-sqlite-writer", lambda: connect(path), inline=inline)
        self._reader = self._asked = self._writer
        if not self._in_memory:
            self._reader = ConnectionThread(
                "kaiju-sqlite-reader", lambda: connect(path, readonly=True), inline=inline
            )
            self._asked = ConnectionThread(
                "kaiju-sqlite-asked", lambda: connect(path, readonly=True), inline=inline
            )
        self._one_at_a_time = asyncio.Lock()
        self._clock_revision = 0

    async def open(self, *, migrate: bool = True) -> None:
        if not self._in_memory:
            self._refuse_missing(migrate)
            migrate = self._take_lock() and migrate
            make_private(self._path)
        try:
            await self._writer.start()
            await self._writer.run(self._prepare if migrate else migrating.check)
            if self._reader is not self._writer:
                await self._reader.start()
                await self._asked.start()
        except BaseException:
            await self.close()
            raise

    def _take_lock(self) -> bool:
        """Whether the file is now locked for this process, which may migrate it."""
        try:
            self._file_lock.take()
        except StoreRefused:
            if not self._beside:
                raise
            return False
        return True

    def _refuse_missing(self, migrate: bool) -> None:
        file = Path(self._path)
        if not file.parent.is_dir():
            raise StoreUnavailable(f"The folder {file.parent} of the database does not exist.")
        if not migrate and not file.exists():
            raise StoreRefused(f"{file} does not exist. Run `kaiju-tasks db migrate`.")

    def _prepare(self, db: sqlite3.Connection) -> None:
        with translated():
            migrating.migrate(db, self._clock())

    async def close(self) -> None:
        if self._reader is not self._writer:
            await self._reader.close()
            await self._asked.close()
        await self._writer.close()
        self._file_lock.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        async with self._one_at_a_time:
            transaction = SqliteTransaction(self._writer, self._clock)
            try:
                yield transaction
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()

    async def ready_tasks(self, app_name: str, limit: int) -> list[Row]:
        def read(db: sqlite3.Connection) -> list[Row]:
            found = db.execute(SQL["lock_ready"], (app_name, limit))
            return [row_of_integers(row) for row in found]

        return await self._run(self._reader, read)

    async def write_presumed(self, presumed: Presumed) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            unset = presumed.clock_revision == self._clock_revision
            return unset and write_presumed(db, presumed)

        return await self._write(work)

    def clock(self) -> float:
        return self._clock()

    @property
    def clock_revision(self) -> int:
        return self._clock_revision

    async def now(self) -> float:
        await self._follow_clock()
        return self._clock()

    async def _follow_clock(self) -> None:
        """Move the times in the database if the clock was set."""
        clock = self._clock
        if not isinstance(clock, SteadyClock) or not clock.step():
            return
        async with self._one_at_a_time:
            if step := clock.step():
                now = clock() + step
                await self._run(self._writer, _whole(lambda db: apply_step(db, step, now)))
                clock.apply(step)
                self._clock_revision += 1
                log.warning("the clock %s", describe_step(step))

    async def work_summary(self) -> WorkSummary:
        await self._follow_clock()
        ((next_due, ready, suspect, next_expiry, *waiting),) = await self._read("work_summary")
        paused, unsettled, signals, tokens_revision, gated = waiting
        return WorkSummary(
            self._clock(),
            next_due,
            _names(ready),
            _names(suspect),
            next_expiry,
            _names(paused),
            bool(unsettled),
            bool(signals),
            tokens_revision,
            bool(gated),
        )

    async def method_gates(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        def read(db: sqlite3.Connection) -> list[tuple[str, str]]:
            found = [after]
            while len(found) <= limit:
                following = db.execute(SQL["next_method_gate"], found[-1]).fetchone()
                if following is None:
                    break
                found.append(following)
            return found[1:]

        return await self._run(self._reader, read)

    async def wake(self, topics: Iterable[str]) -> None:
        """Do nothing: there is no other manager."""

    async def send(self, messages: Sequence[bytes]) -> None:
        """Do nothing: there is no other manager."""

    @asynccontextmanager
    async def listen(
        self,
        heard: Callable[[frozenset[str]], None],
        received: Callable[[bytes], None] = ignore,
    ) -> AsyncIterator[None]:
        yield

    # reads

    async def tasks(
        self, ids: Sequence[str], sight: Sight, *, results: bool = True
    ) -> dict[str, TaskView]:
        seen, wanted = queries.sight_conditions(sight), storable_ids(ids)
        columns = _WITH_PROGRESS if results else _TASK_COLUMNS
        text, values = queries.tasks(self._dialect, columns, wanted, seen, results)

        def read(db: sqlite3.Connection) -> dict[str, TaskView]:
            found = db.execute(text, values).fetchall()
            if is_cut(found):
                raise queries.too_large()
            return {view.row.id: view for view in _views(db, found, results)}

        return await self._answer(read)

    async def standings(self, ids: Sequence[str]) -> dict[str, Standing]:
        found = await self._read("standings", json.dumps(storable_ids(ids)), asked=True)
        return {id: Standing(*values) for id, *values in found}

    async def next_tasks(self, ids: Iterable[str]) -> dict[str, str | None]:
        wanted = storable_ids(ids)
        return dict(
            await self._read("next_tasks", json.dumps(wanted), len(wanted) + NEXT_TASKS_LIMIT)
        )

    async def find(self, query: TaskQuery, sight: Sight) -> TaskPage:
        query = replace(query, conditions=[*query.conditions, *queries.sight_conditions(sight)])
        columns = _WITH_PROGRESS if query.with_progress else _TASK_COLUMNS
        page, page_values = queries.page(self._dialect, query, columns)
        count, count_values = queries.bounded_count(self._dialect, query.conditions)

        def read(db: sqlite3.Connection) -> TaskPage:
            found = db.execute(page, page_values).fetchall()
            views = _views(db, found, query.with_results)
            total = db.execute(count, count_values).fetchone()[0] if query.with_total else 0
            return TaskPage(views, min(total, COUNT_LIMIT), total > COUNT_LIMIT, is_cut(found))

        return await self._answer(read)

    async def pauses(self) -> list[Pause]:
        return pauses_of(await self._read("pauses"))

    # principals and tokens

    async def credential(self, token_id: str | None) -> Credential:
        (found,) = await self._read("credential", token_id)
        return credential_of(self._clock(), found)

    async def tokens_used(self, uses: Sequence[TokenUse]) -> None:
        values = [(use.token_id, use.at, use.remote) for use in uses]
        await self._write(lambda db: db.executemany(SQL["token_used"], values).rowcount)

    # executors and managers

    async def ping(self, pings: Sequence[Ping], lease_seconds: float) -> dict[str, ExecutorStatus]:
        def work(db: sqlite3.Connection) -> dict[str, ExecutorStatus]:
            statuses, now = {}, self._clock()
            for ping in pings:
                values = (ping.executor_id, ping.session, now, now + lease_seconds, ping.capacity)
                if found := db.execute(SQL["ping"], values).fetchall():
                    statuses[ping.executor_id] = executor_status(ping.executor_id, found[0][0])
            return statuses

        return await self._write(work)

    async def shorten_lease(self, executor_id: str, session: str, seconds: float) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute(SQL["shorten_lease"], (executor_id, session, self._clock() + seconds))

        await self._write(work)

    async def executors(self, sight: Sight, ids: Sequence[str] | None = None) -> list[ExecutorRow]:
        listed = None if ids is None else json.dumps(storable_ids(ids))
        found = await self._read("executors", listed, asked=True)
        rows = [executor_of(values[:-1], running=values[-1]) for values in found]
        return [row for row in rows if sight.sees_any(row.app_names)]

    async def holders(self, ids: Sequence[str]) -> dict[str, Holder]:
        return holders_of(await self._read("holders", json.dumps(storable_ids(ids))))

    async def manager_seen(
        self,
        manager_id: str,
        fresh_seconds: float,
        grace_seconds: float = 0.0,
        silent_seconds: float | None = None,
    ) -> Presence:
        silent = fresh_seconds if silent_seconds is None else silent_seconds

        def work(db: sqlite3.Connection) -> Any:
            values = (manager_id, self._clock(), fresh_seconds, grace_seconds, silent)
            return db.execute(SQL["manager_seen"], values).fetchone()

        now, up_since, covered_since, bulks = await self._write(work)
        return Presence(now, up_since, covered_since, bool(bulks))

    async def manager_gone(self, manager_id: str) -> None:
        await self._write(lambda db: db.execute(SQL["manager_gone"], (manager_id, self._clock())))

    async def put_progress(self, progress: Sequence[StoredProgress], gone: Sequence[Lease]) -> None:
        values = [progress_values(one) for one in progress]
        ended = [(lease.id, lease.job_id, lease.epoch) for lease in gone]

        def work(db: sqlite3.Connection) -> None:
            db.executemany(SQL["delete_progress"], ended)
            db.executemany(SQL["put_progress"], values)

        await self._write(work)

    async def write_logs(self, chunks: Sequence[LogChunk]) -> list[WrittenChunk]:
        def work(db: sqlite3.Connection) -> list[WrittenChunk]:
            written, now = [], self._clock()
            for chunk in chunks:
                found = db.execute(SQL["write_log"], (*chunk_values(chunk), now)).fetchone()
                if found is not None:
                    written.append(WrittenChunk(chunk.attempt, chunk.n, *found))
            for attempt, upto in trimmed(written).items():
                db.execute(SQL["trim_log"], (*attempt, upto, HALF_BYTES))
            return written

        return await self._write(work)

    # retention

    async def prune_logs(self, runs: Sequence[tuple[str, str]]) -> int:
        return await self._change("prune_logs", json.dumps(runs))

    async def prune_lost_logs(self, limit: int, after: str = "") -> str | None:
        def work(db: sqlite3.Connection) -> str | None:
            upto: str | None
            (upto,) = db.execute(SQL["reach_logs"], (limit, after)).fetchone()
            if upto is not None:
                db.execute(SQL["prune_lost_logs"], (after, upto))
            return upto

        return await self._write(work)

    async def _prune(self, rows: str, before: float, limit: int, after: float) -> Pruned:
        def work(db: sqlite3.Connection) -> Pruned:
            (upto,) = db.execute(SQL[f"reach_{rows}"], (before, limit, after)).fetchone()
            return Pruned(0 if upto is None else _prune(db, rows, after, upto), upto)

        return await self._write(work)

    # notifications and audit

    async def set_notification(self, id: str, enabled: bool, sight: Sight) -> Notification | None:
        if not await self._sees_notification(id, sight):
            return None
        found = await self._write(
            lambda db: db.execute(SQL["set_notification"], (id, enabled)).fetchall()
        )
        return notification_of(found[0]) if found else None

    async def delete_notifications(self, ids: Sequence[str], sight: Sight) -> int:
        ids = [id for id in ids if await self._sees_notification(id, sight)]
        return await self._change("delete_notifications", json.dumps(storable_ids(ids)))

    # connections

    async def _select(
        self, statement: tuple[str, Sequence[Any]], *, asked: bool = False
    ) -> list[Any]:
        def read(db: sqlite3.Connection) -> list[Any]:
            return db.execute(*statement).fetchall()

        return await (self._answer(read) if asked else self._run(self._reader, read))

    async def _answer(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Read for a client: on a connection for that, and within a budget of time."""
        return await self._run(self._asked, within(queries.READ_SECONDS, read, queries.too_costly))

    async def _change(self, name: str, *values: Any) -> int:
        """Run a statement. Returns the number of changed rows."""
        return await self._write(lambda db: db.execute(SQL[name], values).rowcount)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work in a separate transaction, with one switch to the writer's thread.

        :param work: reads the clock itself, because the clock may be set until it runs
        """
        async with self._one_at_a_time:
            return await self._run(self._writer, _whole(work))

    async def _run(self, thread: ConnectionThread, work: Callable[[sqlite3.Connection], T]) -> T:
        with translated():
            return await thread.run(work)


def _prune(db: sqlite3.Connection, rows: str, after: float, upto: float) -> int:
    """Delete the old rows of a time. Returns their number."""
    if rows != "runs":
        return db.execute(SQL[f"prune_{rows}"], (after, upto)).rowcount
    found = db.execute(SQL["prunable_runs"], (after, upto)).fetchall()
    runs = (json.dumps([run_id for (run_id,) in found]),)
    db.execute(SQL["prune_stages"], runs)
    db.execute(SQL["prune_run_logs"], runs)
    db.execute(SQL["prune_children"], runs)
    return db.execute(SQL["prune_runs"], runs).rowcount


def _whole(work: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
    """Work as one transaction."""

    def whole(db: sqlite3.Connection) -> T:
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return result

    return whole


def _views(db: sqlite3.Connection, found: list[Any], with_results: bool) -> list[TaskView]:
    views = []
    for *row_values, rev, body, _ in found:
        row = row_of_integers(row_values)
        view = TaskView(row, stored_definition(row.id, rev, body).definition)
        view.progress = progress_of(row_values)
        if with_results:
            view.results = results_of(row, _results(db, row))
        views.append(view)
    return views


def _results(db: sqlite3.Connection, row: Row) -> dict[int, str]:
    if row.stage == 0:
        return {}
    return dict(db.execute(SQL["run_results"], (row.job_id, row.cycle)).fetchall())
