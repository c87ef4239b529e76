"""A transaction on SQLite. It has the database to itself, so that locking is reading."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec import Raw

from kaiju_tasks.lifecycle import InboxMessage, Row, Step
from kaiju_tasks.store.base import ExecutorRow, StoredDefinition
from kaiju_tasks.store.columns import (
    executor_of,
    executor_values,
    message_of,
    row_of_integers,
    storable_ids,
    stored_definition,
)
from kaiju_tasks.store.one_step import refuse_repeated
from kaiju_tasks.store.sqlite import saving
from kaiju_tasks.store.sqlite.connection import translated
from kaiju_tasks.store.sqlite.saving import SQL
from kaiju_tasks.store.sqlite.thread import ConnectionThread

T = TypeVar("T")


class SqliteTransaction:
    """Begins with its first statement. A statement that failed lets it end in a rollback."""

    def __init__(self, thread: ConnectionThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock
        self._now = clock()
        self._error: BaseException | None = None

    @property
    def now(self) -> float:
        return self._now

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        rows = await self._rows("lock", json.dumps(storable_ids(ids)))
        return {row.id: row for row in rows}

    async def lock_due(self, limit: int) -> list[Row]:
        return await self._rows("lock_due", self._clock(), limit)

    async def lock_ready(
        self, app_name: str, limit: int, *, executor_id: str, session: str, ready: int = 1
    ) -> list[Row] | None:
        name = "lock_suspect" if ready == 2 else "lock_ready"

        def read(db: sqlite3.Connection) -> list[Row] | None:
            if db.execute(SQL["acquiring"], (executor_id, session)).fetchone() is None:
                return None
            return [row_of_integers(row) for row in db.execute(SQL[name], (app_name, limit))]

        rows = await self._run(read)
        self._now = self._clock()
        return rows

    async def lock_leased(self, executor_id: str) -> list[Row]:
        return await self._rows("lock_leased", executor_id)

    async def definitions(self, ids: Iterable[str]) -> dict[str, StoredDefinition]:
        found = await self._fetch("definitions", json.dumps(storable_ids(ids)))
        return {id: stored_definition(rev, body) for id, rev, body in found}

    async def results(self, keys: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int], Raw]:
        wanted = list(keys)

        def read(db: sqlite3.Connection) -> dict[tuple[str, int], Raw]:
            found = {}
            for job_id, cycle, stage in wanted:
                row = db.execute(SQL["result"], (job_id, cycle, stage)).fetchone()
                if row is not None:
                    found[job_id, stage] = Raw(row[0].encode())
            return found

        return await self._run(read)

    async def inboxes(self, ids: Iterable[str]) -> dict[str, list[InboxMessage]]:
        inboxes: dict[str, list[InboxMessage]] = {}
        for task_id, *message in await self._fetch("inboxes", json.dumps(storable_ids(ids))):
            inboxes.setdefault(task_id, []).append(message_of(message))
        return inboxes

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        refuse_repeated(steps)
        return await self._run(lambda db: saving.insert(db, steps, self._now))

    async def save(self, steps: Sequence[Step]) -> None:
        refuse_repeated(steps)
        await self._run(lambda db: saving.save(db, steps, self._now))

    async def lock_executor(self, executor_id: str) -> ExecutorRow | None:
        found = await self._fetch("lock_executor", executor_id)
        self._now = self._clock()
        return executor_of(found[0]) if found else None

    async def put_executor(self, executor: ExecutorRow) -> None:
        await self._fetch("put_executor", *executor_values(executor))

    async def lock_expired(self, limit: int) -> list[ExecutorRow]:
        found = await self._fetch("lock_expired", self._clock(), limit)
        self._now = self._clock()
        return [executor_of(values) for values in found]

    async def delete_ended(self, before: float, limit: int) -> list[str]:
        def work(db: sqlite3.Connection) -> list[str]:
            ids = [id for (id,) in db.execute(SQL["ended_tasks"], (before, limit))]
            saving.delete(db, ids)
            return ids

        return await self._run(work)

    async def commit(self) -> None:
        """:raises BaseException: what a statement raised, if the caller went on after it"""
        if self._error is not None:
            await self.rollback()
            raise self._error
        await self._thread.run(_commit)

    async def rollback(self) -> None:
        await self._thread.run(_rollback)

    async def _rows(self, name: str, *values: Any) -> list[Row]:
        rows = await self._run(
            lambda db: [row_of_integers(row) for row in db.execute(SQL[name], values)]
        )
        self._now = self._clock()
        return rows

    async def _fetch(self, name: str, *values: Any) -> list[Any]:
        return await self._run(lambda db: db.execute(SQL[name], values).fetchall())

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def begun(db: sqlite3.Connection) -> T:
            with translated():
                if not db.in_transaction:
                    db.execute("BEGIN IMMEDIATE")
                return work(db)

        try:
            return await self._thread.run(begun)
        except Exception as error:
            self._error = error
            raise


def _commit(db: sqlite3.Connection) -> None:
    if not db.in_transaction:
        return
    try:
        with translated():
            db.execute("COMMIT")
    except BaseException:
        _rollback(db)
        raise


def _rollback(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")
