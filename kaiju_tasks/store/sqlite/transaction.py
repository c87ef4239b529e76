"""Implements a transaction on SQLite. It is exclusive, so that a lock is a plain read."""

import json
import sqlite3
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from msgspec import Raw

from kaiju_tasks.lifecycle import InboxMessage, Pauses, Row, Step, Wait
from kaiju_tasks.store.base import (
    NEXT_TASKS_LIMIT,
    Child,
    ExecutorRow,
    Gated,
    StoredDefinition,
    Summary,
)
from kaiju_tasks.store.columns import (
    NULL,
    audit_values,
    child_of,
    child_values,
    executor_of,
    executor_values,
    json_raw,
    message_of,
    row_of_integers,
    storable_ids,
    stored_definition,
)
from kaiju_tasks.store.one_step import refuse_repeated
from kaiju_tasks.store.pause_bodies import pause_text, pauses_of
from kaiju_tasks.store.shared import SharedTransaction
from kaiju_tasks.store.sqlite import saving
from kaiju_tasks.store.sqlite.connection import translated
from kaiju_tasks.store.sqlite.saving import SQL
from kaiju_tasks.store.sqlite.thread import ConnectionThread, Work
from kaiju_tasks.types import AuditRecord, Pause

T = TypeVar("T")


class SqliteTransaction(SharedTransaction):
    """A transaction that begins with its first statement. After a failed statement, it ends with a
    rollback.

    Writes whose result nobody needs are kept and executed with the next read, or with the commit:
    each switch to the connection's thread and back costs as much as writing a few rows.
    """

    def __init__(self, thread: ConnectionThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock
        self._now = clock()
        self._error: BaseException | None = None
        self._kept: list[Work[Any]] = []
        self._pauses_revision = 0

    @property
    def now(self) -> float:
        return self._now

    @property
    def pauses_revision(self) -> int:
        return self._pauses_revision

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        wanted = storable_ids(ids)
        if not wanted:
            self._now = self._clock()
            return {}
        return {row.id: row for row in await self._rows("lock", json.dumps(wanted))}

    async def lock_due(self, limit: int) -> list[Row]:
        return await self._rows("lock_due", self._clock(), limit)

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
        name = "lock_suspect" if ready == 2 else "lock_ready"

        def read(db: sqlite3.Connection) -> list[Row] | None:
            if db.execute(SQL["acquiring"], (executor_id, session)).fetchone() is None:
                return None
            (self._pauses_revision,) = db.execute(SQL["pauses_revision"]).fetchone()
            if gates:
                return _first_at_gates(db, app_name, limit, gates, with_ready=ready == 1)
            return [row_of_integers(row) for row in db.execute(SQL[name], (app_name, limit))]

        rows = await self._run(read)
        self._now = self._clock()
        return rows

    async def hold_sessions(self, sessions: Mapping[str, str]) -> set[str]:
        def read(db: sqlite3.Connection) -> set[str]:
            (self._pauses_revision,) = db.execute(SQL["pauses_revision"]).fetchone()
            pairs = sessions.items()
            return {id for id, s in pairs if db.execute(SQL["acquiring"], (id, s)).fetchone()}

        return await self._run(read)

    async def lock_gated(self, wanted: Mapping[str, int]) -> dict[str, Gated]:
        def read(db: sqlite3.Connection) -> dict[str, Gated]:
            gated: dict[str, Gated] = {}
            for gate, limit in wanted.items():
                for (app_name,) in db.execute(SQL["gated_streams"], (gate,)).fetchall():
                    found = db.execute(SQL["lock_gated"], (gate, app_name, limit))
                    gated.setdefault(gate, Gated([])).rows += map(row_of_integers, found)
            return gated

        gated = await self._run(read)
        self._now = self._clock()
        return gated

    async def lock_slots(self, keys: Iterable[str]) -> dict[str, int]:
        wanted = sorted(set(keys))
        found = dict(await self._fetch("lock_slots", json.dumps(wanted)))
        return {key: found.get(key, 0) for key in wanted}

    async def save_slots(self, used: Mapping[str, int], unsettled: Container[str] = ()) -> None:
        values = [(key, count, key in unsettled) for key, count in used.items()]
        await self._later(lambda db: db.executemany(SQL["save_slot"], values))

    async def used_slots(self) -> list[str]:
        return [key for (key,) in await self._fetch("used_slots")]

    async def leased_ids(self) -> list[str]:
        return [id for (id,) in await self._fetch("leased_ids")]

    async def unsettled_slots(self, limit: int) -> list[str]:
        return [key for (key,) in await self._fetch("unsettled_slots", limit)]

    async def claim(self, wanted: Mapping[str, str]) -> dict[str, str]:
        def work(db: sqlite3.Connection) -> dict[str, str]:
            held = [pair for pair in wanted.items() if db.execute(SQL["claim"], pair).rowcount < 1]
            keys = json.dumps([key for key, _ in held])
            return dict(db.execute(SQL["claimants"], (keys,)).fetchall()) if held else {}

        return await self._run(work)

    async def unclaim(self, ids: Sequence[str]) -> None:
        listed = (json.dumps(ids),)
        await self._later(lambda db: db.execute(SQL["unclaim"], listed))

    async def put_children(self, parent_id: str, wait: Wait, children: Sequence[Child]) -> None:
        values = [child_values(parent_id, wait, child) for child in children]
        await self._later(lambda db: db.executemany(SQL["put_child"], values))

    async def drop_children(self, wait: Wait, positions: Sequence[int]) -> None:
        await self._fetch("drop_children", wait.job_id, wait.stage, json.dumps(positions))

    async def children(self, wait: Wait) -> list[Child]:
        return [child_of(v) for v in await self._fetch("children", wait.job_id, wait.stage)]

    async def children_summary(self, waits: Iterable[Wait]) -> dict[Wait, Summary]:
        def read(db: sqlite3.Connection) -> dict[Wait, Summary]:
            found = {}
            for wait in waits:
                values = db.execute(SQL["children_summary"], (wait.job_id, wait.stage)).fetchone()
                found[wait] = Summary(*map(bool, values))
            return found

        return await self._run(read)

    async def waits_of(self, ids: Iterable[str]) -> list[str]:
        return [id for (id,) in await self._fetch("waits_of", json.dumps(storable_ids(ids)))]

    async def signal(self, ids: Sequence[str]) -> None:
        values = [(id,) for id in ids]
        await self._later(lambda db: db.executemany(SQL["add_signal"], values))

    async def take_signals(self, limit: int) -> list[str]:
        return [id for (id,) in await self._fetch("take_signals", limit)]

    async def result_sizes(self, runs: Iterable[tuple[str, int]]) -> dict[str, int]:
        wanted = list(runs)

        def read(db: sqlite3.Connection) -> dict[str, int]:
            return {run[0]: db.execute(SQL["result_size"], run).fetchone()[0] for run in wanted}

        return await self._run(read)

    async def run_results(self, runs: Iterable[tuple[str, int]]) -> dict[str, dict[int, Raw]]:
        wanted = list(runs)

        def read(db: sqlite3.Connection) -> dict[str, dict[int, Raw]]:
            found = {}
            for run in wanted:
                rows = db.execute(SQL["run_results"], run)
                found[run[0]] = {stage: json_raw(text) or NULL for stage, text in rows}
            return found

        return await self._run(read)

    async def pauses(self) -> Pauses:
        ((revision,),) = await self._fetch("pauses_revision")
        return Pauses(pauses_of(await self._fetch("pauses")), revision)

    async def put_pause(self, pause: Pause) -> bool:
        await self._fetch("raise_pauses")
        values = (pause.id, pause_text(pause))
        return await self._run(lambda db: db.execute(SQL["put_pause"], values).rowcount > 0)

    async def delete_pause(self, pause_id: str) -> bool:
        await self._fetch("raise_pauses")
        return await self._run(lambda db: db.execute(SQL["delete_pause"], (pause_id,)).rowcount > 0)

    async def lock_leased(self, executor_id: str) -> list[Row]:
        return await self._rows("lock_leased", executor_id)

    async def definitions(self, ids: Iterable[str]) -> dict[str, StoredDefinition]:
        found = await self._fetch("definitions", json.dumps(storable_ids(ids)))
        return {id: stored_definition(id, rev, body) for id, rev, body in found}

    async def next_tasks(self, ids: Iterable[str]) -> dict[str, str | None]:
        wanted = storable_ids(ids)
        limit = len(wanted) + NEXT_TASKS_LIMIT
        return dict(await self._fetch("next_tasks", json.dumps(wanted), limit))

    async def family_sizes(self, root_ids: Iterable[str]) -> dict[str, int]:
        return dict(await self._fetch("family_sizes", json.dumps(list(root_ids))))

    async def grow_families(self, grown: Mapping[str, int]) -> dict[str, int]:
        def work(db: sqlite3.Connection) -> dict[str, int]:
            values = ((root_id, count, self._now) for root_id, count in grown.items())
            return {one[0]: db.execute(SQL["grow_family"], one).fetchone()[0] for one in values}

        return await self._run(work)

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

    async def received(self, wanted: Mapping[str, str]) -> set[str]:
        def read(db: sqlite3.Connection) -> set[str]:
            return {k for k, v in wanted.items() if db.execute(SQL["received"], (k, v)).fetchone()}

        return await self._run(read)

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        refuse_repeated(steps)
        return await self._run(lambda db: saving.insert(db, steps, self._now))

    async def save(self, steps: Sequence[Step]) -> None:
        refuse_repeated(steps)
        if steps:
            now = self._now
            await self._later(lambda db: saving.save(db, steps, now))

    async def lock_executor(self, executor_id: str) -> ExecutorRow | None:
        found = await self._fetch("lock_executor", executor_id)
        self._now = self._clock()
        return executor_of(found[0]) if found else None

    async def put_executor(self, executor: ExecutorRow) -> None:
        await self._fetch("put_executor", *executor_values(executor))

    async def lock_expired(
        self, limit: int, sessions: Collection[str] | None = None
    ) -> list[ExecutorRow]:
        wanted = None if sessions is None else json.dumps(list(sessions))
        found = await self._fetch("lock_expired", self._clock(), limit, wanted)
        self._now = self._clock()
        return [executor_of(values) for values in found]

    async def lock_tokens(self) -> None:
        await self._fetch("raise_tokens")
        self._now = self._clock()

    async def add_audit(self, records: Sequence[AuditRecord]) -> None:
        values = [audit_values(record, self._now) for record in records]
        await self._later(lambda db: db.executemany(SQL["add_audit"], values))

    async def commit(self) -> None:
        """:raises BaseException: the error of a statement, if the caller has ignored it"""
        if self._error is not None:
            await self.rollback()
            raise self._error
        kept = self._kept
        await self._thread.run(lambda db: _commit(db, kept))

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

    async def _later(self, work: Work[Any]) -> None:
        self._kept.append(work)

    async def _run(self, work: Work[T]) -> T:
        kept, self._kept = self._kept, []

        def begun(db: sqlite3.Connection) -> T:
            with translated():
                _begin(db)
                for one in kept:
                    one(db)
                return work(db)

        try:
            return await self._thread.run(begun)
        except Exception as error:
            self._error = error
            raise


def _first_at_gates(
    db: sqlite3.Connection, app_name: str, limit: int, gates: Sequence[str], *, with_ready: bool
) -> list[Row]:
    """The first tasks of a stream among those at some gates and, if asked for, the ready ones."""
    cursors = [db.execute(SQL["lock_gated"], (gate, app_name, limit)) for gate in gates]
    if with_ready:
        cursors.append(db.execute(SQL["lock_ready"], (app_name, limit)))
    try:
        rows = (map(row_of_integers, cursor) for cursor in cursors)
        return list(islice(merge(*rows, key=_place), limit))
    finally:
        for cursor in cursors:
            cursor.close()


def _place(row: Row) -> tuple[int, float, str]:
    return -row.priority, row.queued_at or 0.0, row.id


def _begin(db: sqlite3.Connection) -> None:
    if not db.in_transaction:
        db.execute("BEGIN IMMEDIATE")


def _commit(db: sqlite3.Connection, kept: Sequence[Work[Any]]) -> None:
    """:param kept: writes that are still to be executed"""
    if not db.in_transaction and not kept:
        return
    try:
        with translated():
            _begin(db)
            for one in kept:
                one(db)
            db.execute("COMMIT")
    except BaseException:
        _rollback(db)
        raise


def _rollback(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")
