"""A transaction on PostgreSQL, on one connection of its own."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
from msgspec import Raw

from kaiju_tasks.lifecycle import InboxMessage, Row, Step
from kaiju_tasks.store.base import ExecutorRow, StoredDefinition, StoreUnavailable
from kaiju_tasks.store.columns import (
    executor_of,
    executor_values,
    message_of,
    row_of,
    storable_ids,
    stored_definition,
)
from kaiju_tasks.store.one_step import refuse_repeated
from kaiju_tasks.store.postgres import saving
from kaiju_tasks.store.postgres.arrays import columns_of
from kaiju_tasks.store.postgres.clock import DatabaseClock
from kaiju_tasks.store.postgres.errors import translated
from kaiju_tasks.store.postgres.saving import SQL

_ROLLBACK_SECONDS = 5

_BEGIN = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL plan_cache_mode = force_generic_plan;
SET LOCAL jit = off
"""
"""Every statement of a transaction finds its rows by keys. Left to its statistics the planner
scans the table now and then; held to the indexes, one plan is as good as all, and kept."""


class PostgresTransaction:
    """Statements that lock read the clock after the lock; it stands last in their rows."""

    def __init__(self, connection: Any, clock: DatabaseClock) -> None:
        self._connection = connection
        self._clock = clock
        self._now = clock.now()
        self._locked_rows: dict[str, Row] = {}

    @property
    def now(self) -> float:
        return self._now

    async def begin(self) -> None:
        with translated():
            await self._connection.execute(_BEGIN)

    async def commit(self) -> None:
        """:raises StoreUnavailable: whether it happened is unknown"""
        with translated(unknown=True):
            tag = await self._connection.execute("COMMIT")
        if tag != "COMMIT":
            raise StoreUnavailable("A statement had failed, so the transaction was rolled back.")

    async def rollback(self) -> None:
        """Give the connection up where it cannot be rolled back."""
        try:
            await self._connection.execute("ROLLBACK", timeout=_ROLLBACK_SECONDS)
        except Exception:
            with suppress(asyncpg.InterfaceError):  # it broke, and the pool has taken it back
                self._connection.terminate()

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        rows = await self._rows("lock", storable_ids(ids))
        return {row.id: row for row in rows}

    async def lock_due(self, limit: int) -> list[Row]:
        return await self._rows("lock_due", limit)

    async def lock_ready(
        self, app_name: str, limit: int, *, executor_id: str, session: str, ready: int = 1
    ) -> list[Row] | None:
        name = "lock_suspect" if ready == 2 else "lock_ready"
        found = await self._locked(name, app_name, limit, executor_id, session)
        if not found:
            return None
        return self._remember(record for record in found if record["id"] is not None)

    async def lock_leased(self, executor_id: str) -> list[Row]:
        return await self._rows("lock_leased", executor_id)

    async def definitions(self, ids: Iterable[str]) -> dict[str, StoredDefinition]:
        found = await self._fetch("definitions", storable_ids(ids))
        return {id: stored_definition(rev, body) for id, rev, body in found}

    async def results(self, keys: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int], Raw]:
        found = await self._fetch("results", *columns_of(keys, 3))
        return {(job_id, stage): Raw(result.encode()) for job_id, stage, result in found}

    async def inboxes(self, ids: Iterable[str]) -> dict[str, list[InboxMessage]]:
        inboxes: dict[str, list[InboxMessage]] = {}
        for task_id, *message in await self._fetch("inboxes", storable_ids(ids)):
            inboxes.setdefault(task_id, []).append(message_of(message))
        return inboxes

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        refuse_repeated(steps)
        with translated():
            return await saving.insert(self._connection, steps, self._now)

    async def save(self, steps: Sequence[Step]) -> None:
        refuse_repeated(steps)
        with translated():
            await saving.save(self._connection, steps, self._now, self._locked_rows)
        self._locked_rows.update((step.row.id, step.row) for step in steps)

    async def lock_executor(self, executor_id: str) -> ExecutorRow | None:
        found = await self._locked("lock_executor", executor_id)
        return executor_of(found[0]) if found else None

    async def put_executor(self, executor: ExecutorRow) -> None:
        await self._fetch("put_executor", *executor_values(executor))

    async def lock_expired(self, limit: int) -> list[ExecutorRow]:
        return [executor_of(record) for record in await self._locked("lock_expired", limit)]

    async def delete_ended(self, before: float, limit: int) -> list[str]:
        ids = [id for (id,) in await self._fetch("lock_ended", before, limit)]
        if ids:
            with translated():
                await saving.delete(self._connection, ids)
        return ids

    async def _rows(self, name: str, *values: Any) -> list[Row]:
        return self._remember(await self._locked(name, *values))

    def _remember(self, records: Iterable[Any]) -> list[Row]:
        rows = [row_of(record) for record in records]
        self._locked_rows.update((row.id, row) for row in rows)
        return rows

    async def _locked(self, name: str, *values: Any) -> list[Any]:
        found = await self._fetch(name, *values)
        if found:
            self._now = found[-1][-1]
            self._clock.seen(self._now)
        return found

    async def _fetch(self, name: str, *values: Any) -> list[Any]:
        with translated():
            found: list[Any] = await self._connection.fetch(SQL[name], *values)
            return found
