"""Implements a transaction on PostgreSQL, on a separate connection."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

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
    AUDIT_COLUMNS,
    NULL,
    audit_values,
    child_of,
    child_values,
    executor_of,
    executor_values,
    json_raw,
    message_of,
    row_of,
    storable_ids,
    stored_definition,
)
from kaiju_tasks.store.one_step import refuse_repeated
from kaiju_tasks.store.pause_bodies import pause_text, pauses_of
from kaiju_tasks.store.postgres import saving
from kaiju_tasks.store.postgres.arrays import array_literal, array_literals, columns_of
from kaiju_tasks.store.postgres.clock import DatabaseClock
from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.postgres.saving import SQL
from kaiju_tasks.store.shared import SharedTransaction
from kaiju_tasks.types import AuditRecord, Pause

WAITED_SECONDS = 0.1
"""Two rows of an insertion that are this far apart in time show that it has waited for a lock."""


class PostgresTransaction(SharedTransaction):
    """A transaction. Locking statements read the clock after the lock, as their last column."""

    def __init__(self, connection: Connection, clock: DatabaseClock) -> None:
        self._connection = connection
        self._clock = clock
        self._now = clock.now()
        self._locked_rows: dict[str, Row] = {}
        self._pauses_revision = 0

    @property
    def now(self) -> float:
        return self._now

    @property
    def pauses_revision(self) -> int:
        return self._pauses_revision

    async def begin(self) -> None:
        await self._connection.begin()

    async def commit(self) -> None:
        """:raises StoreUnavailable: the commit failed, or its outcome is unknown"""
        await self._connection.commit()

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        found = await self._locked("lock", storable_ids(ids))
        rows = self._remember(record for record in found if record["id"] is not None)
        return {row.id: row for row in rows}

    async def lock_due(self, limit: int) -> list[Row]:
        return await self._rows("lock_due", limit)

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
        values = (app_name, limit, executor_id, session)
        if gates:
            found = await self._locked("lock_at_gates", *values, list(gates), ready == 1)
        else:
            found = await self._locked("lock_suspect" if ready == 2 else "lock_ready", *values)
        if not found:
            return None
        self._pauses_revision = found[0]["value"]
        return self._remember(record for record in found if record["id"] is not None)

    async def hold_sessions(self, sessions: Mapping[str, str]) -> set[str]:
        ids = sorted(sessions)
        values = columns_of([(id, sessions[id]) for id in ids], "tt")
        ((self._pauses_revision, held),) = await self._fetch("hold_sessions", *values)
        return set(held or ())

    async def lock_gated(self, wanted: Mapping[str, int]) -> dict[str, Gated]:
        gates = sorted(wanted)
        most = array_literal([wanted[gate] for gate in gates])
        found = await self._locked("lock_gated", gates, most)
        gated: dict[str, Gated] = {}
        seen: dict[tuple[str, str], int] = {}
        for record in found:
            one = gated.setdefault(record["of_gate"], Gated([]))
            if record["id"] is None:
                one.passed_over = True
                continue
            (row,) = self._remember([record])
            one.rows.append(row)
            stream = (record["of_gate"], row.app_name)
            seen[stream] = seen.get(stream, record["visible"]) - 1
        for (gate, _), left in seen.items():
            gated[gate].passed_over |= left > 0
        return gated

    async def lock_slots(self, keys: Iterable[str]) -> dict[str, int]:
        return {key: used for key, used, _ in await self._locked("lock_slots", sorted(set(keys)))}

    async def save_slots(self, used: Mapping[str, int], unsettled: Container[str] = ()) -> None:
        values = ((key, count, key in unsettled) for key, count in used.items())
        await self._fetch("save_slots", *columns_of(values, "tnn"))

    async def used_slots(self) -> list[str]:
        return [key for (key,) in await self._fetch("used_slots")]

    async def leased_ids(self) -> list[str]:
        return [id for (id,) in await self._fetch("leased_ids")]

    async def unsettled_slots(self, limit: int) -> list[str]:
        return [key for (key,) in await self._fetch("unsettled_slots", limit)]

    async def claim(self, wanted: Mapping[str, str]) -> dict[str, str]:
        held: dict[str, str] = {}
        left = dict(sorted(wanted.items()))
        while left:  # a key may have been released between the two statements
            taken = {key for key, _ in await self._locked("claim", *columns_of(left.items(), "tt"))}
            left = {key: task_id for key, task_id in left.items() if key not in taken}
            found = await self._locked("claimants", list(left)) if left else []
            held |= {key: task_id for key, task_id, _ in found}
            left = {key: task_id for key, task_id in left.items() if key not in held}
        return held

    async def unclaim(self, ids: Sequence[str]) -> None:
        await self._fetch("unclaim", ids)

    async def put_children(self, parent_id: str, wait: Wait, children: Sequence[Child]) -> None:
        values = [child_values(parent_id, wait, child) for child in children]
        await self._fetch("put_children", *columns_of(values, "tnnnttntnttnn"))

    async def drop_children(self, wait: Wait, positions: Sequence[int]) -> None:
        await self._fetch("drop_children", wait.job_id, wait.stage, array_literal(positions))

    async def children(self, wait: Wait) -> list[Child]:
        return [child_of(v) for v in await self._fetch("children", wait.job_id, wait.stage)]

    async def children_summary(self, waits: Iterable[Wait]) -> dict[Wait, Summary]:
        keys = columns_of(((wait.job_id, wait.stage) for wait in waits), "tn")
        found = await self._fetch("children_summary", *keys)
        return {Wait(job_id, stage): Summary(*stands) for job_id, stage, *stands in found}

    async def waits_of(self, ids: Iterable[str]) -> list[str]:
        return [id for (id,) in await self._fetch("waits_of", storable_ids(ids))]

    async def signal(self, ids: Sequence[str]) -> None:
        await self._fetch("add_signals", ids)

    async def take_signals(self, limit: int) -> list[str]:
        return [id for (id,) in await self._fetch("take_signals", limit)]

    async def result_sizes(self, runs: Iterable[tuple[str, int]]) -> dict[str, int]:
        return dict(await self._fetch("result_sizes", *columns_of(runs, "tn")))

    async def run_results(self, runs: Iterable[tuple[str, int]]) -> dict[str, dict[int, Raw]]:
        results: dict[str, dict[int, Raw]] = {}
        for job_id, stage, text in await self._fetch("run_results", *columns_of(runs, "tn")):
            results.setdefault(job_id, {})[stage] = json_raw(text) or NULL
        return results

    async def pauses(self) -> Pauses:
        ((revision, ids, bodies),) = await self._fetch("pauses")
        return Pauses(pauses_of(zip(ids, bodies, strict=True)), revision)

    async def put_pause(self, pause: Pause) -> bool:
        return bool(await self._fetch("put_pause", pause.id, pause_text(pause)))

    async def delete_pause(self, pause_id: str) -> bool:
        return bool(await self._fetch("delete_pause", pause_id))

    async def lock_leased(self, executor_id: str) -> list[Row]:
        return await self._rows("lock_leased", executor_id)

    async def definitions(self, ids: Iterable[str]) -> dict[str, StoredDefinition]:
        found = await self._fetch("definitions", storable_ids(ids))
        return {id: stored_definition(id, rev, body) for id, rev, body in found}

    async def next_tasks(self, ids: Iterable[str]) -> dict[str, str | None]:
        wanted = storable_ids(ids)
        return dict(await self._fetch("next_tasks", wanted, len(wanted) + NEXT_TASKS_LIMIT))

    async def family_sizes(self, root_ids: Iterable[str]) -> dict[str, int]:
        return dict(await self._fetch("family_sizes", list(root_ids)))

    async def grow_families(self, grown: Mapping[str, int]) -> dict[str, int]:
        columns = columns_of(grown.items(), "tn")
        return dict(await self._fetch("grow_families", *columns, self._now))

    async def results(self, keys: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int], Raw]:
        found = await self._fetch("results", *columns_of(keys, "tnn"))
        return {(job_id, stage): Raw(result.encode()) for job_id, stage, result in found}

    async def inboxes(self, ids: Iterable[str]) -> dict[str, list[InboxMessage]]:
        inboxes: dict[str, list[InboxMessage]] = {}
        for task_id, *message in await self._fetch("inboxes", storable_ids(ids)):
            inboxes.setdefault(task_id, []).append(message_of(message))
        return inboxes

    async def received(self, wanted: Mapping[str, str]) -> set[str]:
        return {id for (id,) in await self._fetch("received", *columns_of(wanted.items(), "tt"))}

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        refuse_repeated(steps)
        added = await saving.insert(self._connection, steps, self._now)
        if (waited_until := _waited_until(added)) is not None:
            self._now = waited_until
        return {step.row.id for step in steps} - {task_id for task_id, *_ in added}

    async def save(self, steps: Sequence[Step]) -> None:
        refuse_repeated(steps)
        await saving.save(self._connection, steps, self._now, self._locked_rows)
        self._locked_rows.update((step.row.id, step.row) for step in steps)

    async def lock_executor(self, executor_id: str) -> ExecutorRow | None:
        found = await self._locked("lock_executor", executor_id)
        return executor_of(found[0]) if found else None

    async def put_executor(self, executor: ExecutorRow) -> None:
        await self._fetch("put_executor", *executor_values(executor))

    async def lock_expired(
        self, limit: int, sessions: Collection[str] | None = None
    ) -> list[ExecutorRow]:
        wanted = None if sessions is None else list(sessions)
        return [executor_of(record) for record in await self._locked("lock_expired", limit, wanted)]

    async def lock_tokens(self) -> None:
        await self._locked("lock_tokens")

    async def add_audit(self, records: Sequence[AuditRecord]) -> None:
        values = (audit_values(record, self._now) for record in records)
        await self._fetch("add_audit", *array_literals(values, len(AUDIT_COLUMNS)))

    async def _rows(self, name: str, *values: Any) -> list[Row]:
        return self._remember(await self._locked(name, *values))

    def _remember(self, records: Iterable[Any]) -> list[Row]:
        rows = [row_of(record) for record in records]
        self._locked_rows.update((row.id, row) for row in rows)
        return rows

    async def _locked(self, name: str, *values: Any) -> list[Any]:
        asked_at = self._clock.local()
        found = await self._fetch(name, *values)
        if found:
            self._now = found[-1][-1]
            self._clock.seen(self._now, asked_at)
        return found

    async def _fetch(self, name: str, *values: Any) -> list[Any]:
        return await self._connection.fetch(SQL[name], *values)


def _waited_until(added: Sequence[Any]) -> float | None:
    """The time until which an insertion has waited for other transactions, if it has.

    :param added: id, clock at the begin of the statement and clock at its insertion, for each row
    """
    moments = [moment for _, _, moment in added]
    begins = [added[0][1], *moments[:-1]] if added else []
    gaps = (end - begin for begin, end in zip(begins, moments, strict=True))
    return moments[-1] if max(gaps, default=0.0) > WAITED_SECONDS else None
