"""Writes steps and their effects as arrays of columns in PostgreSQL.

Each kind of effect that occurs takes one statement. The effects that every report has (rows,
attempts, runs) are written by one statement together.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import eq, itemgetter
from typing import Any

from kaiju_tasks.lifecycle import Definition, Row, Step
from kaiju_tasks.store.base import StoreError
from kaiju_tasks.store.columns import (
    ROW_COLUMNS,
    attempt_values,
    definition_values,
    forgotten_values,
    message_values,
    notification_values,
    received_values,
    row_values,
    run_end_values,
    run_values,
    stored_definition,
    superseded_values,
)
from kaiju_tasks.store.postgres.arrays import array_literal, array_literals, columns_of, is_large
from kaiju_tasks.store.sql import load_statements

SQL = load_statements(__package__ or "")

HOT = tuple(map(ROW_COLUMNS.index, SQL.columns["hot"]))
hot_of = itemgetter(*HOT)
cold_of = itemgetter(*sorted(set(range(len(ROW_COLUMNS))) - set(HOT)))
"""The values of a row in the columns that most steps change, and those in the other columns."""


async def insert(connection: Any, steps: Sequence[Step], now: float) -> list[Any]:
    """Insert new tasks and their effects, in the order of ids, which prevents deadlocks.

    :returns: for each inserted task its id, the clock at the begin and the clock at its insertion
    """
    ordered = sorted(steps, key=lambda step: step.row.id)
    tables = {
        "tasks": [row_values(step.row) for step in ordered],
        "definitions": _definition_rows(ordered),
    }
    text, values = with_arrays("insert", tables)
    added: list[Any] = await connection.fetch(text, *values)
    ids = {task_id for task_id, *_ in added}
    new = [step for step in steps if step.row.id in ids]
    attempts, runs = history_of(new)
    if attempts:
        text, values = with_arrays("append_stages", {"stages": attempts})
        await connection.execute(text, *values)
    if runs:
        await connection.execute(SQL["append_runs"], *_arrays("runs", runs))
    await _other_effects(connection, new, now)
    return added


async def save(
    connection: Any, steps: Sequence[Step], now: float, before: Mapping[str, Row]
) -> None:
    """Write changed tasks and their effects.

    :param before: the rows at the time of the lock, by id
    """
    if deleted := [step for step in steps if step.deleted]:
        await delete(connection, [step.row.id for step in deleted])
        await _signal(connection, deleted)
    kept = [step for step in steps if step.changed and not step.deleted]
    if not kept:
        return
    if superseded := [step for step in kept if step.superseded is not None]:
        replaced = (superseded_values(step) for step in superseded)
        await connection.execute(SQL["keep_versions"], *columns_of(replaced, "tnn"))
        forgotten = (forgotten_values(step) for step in superseded)
        await connection.execute(SQL["forget_versions"], *columns_of(forgotten, "tn"))
    if defined := _definition_rows(kept):
        text, values = with_arrays("save_definitions", {"definitions": defined})
        await connection.execute(text, *values)
    await _save_rows(connection, kept, before)
    await _other_effects(connection, kept, now)


async def _save_rows(connection: Any, steps: Sequence[Step], before: Mapping[str, Row]) -> None:
    """Write rows, attempts and runs in one statement."""
    rows = [row_values(step.row) for step in steps]
    name, kind = "save", "tasks"
    if _only_hot(rows, [before.get(step.row.id) for step in steps]):
        name, kind = "save_hot", "hot"
        rows = [hot_of(row) for row in rows]
    tables = {kind: rows}
    attempts, runs = history_of(steps)
    if attempts or runs:
        name += "_history"
        tables |= {"stages": attempts, "runs": runs}
    text, values = with_arrays(name, tables)
    tag = await connection.execute(text, *values)
    if (written := int(tag.rpartition(" ")[2])) != len(steps):
        lost = len(steps) - written
        raise StoreError(f"{lost} of {len(steps)} tasks to save do not exist.")


def _only_hot(rows: Sequence[tuple[Any, ...]], before: Sequence[Row | None]) -> bool:
    """Whether only hot columns have changed."""
    old = [row_values(row) for row in before if row is not None]
    return len(old) == len(rows) and all(map(eq, map(cold_of, rows), map(cold_of, old)))


async def delete(connection: Any, ids: Sequence[str]) -> None:
    """Delete tasks and all their data."""
    await connection.execute(SQL["delete"], ids)


def _definition_rows(steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    return [definition_values(s.definition, s.row.rev) for s in steps if s.definition is not None]


def with_arrays(
    name: str, tables: Mapping[str, Sequence[tuple[Any, ...]]]
) -> tuple[str, list[Any]]:
    """A statement that takes its rows as arrays, and its parameters. Large texts are sent as they
    are: PostgreSQL reads 10 kB of them in a third of the time of an array literal. For small ones,
    it is the other way round.

    :param tables: rows, by the name of their list of columns
    """
    columns = {
        key: list(zip(*rows, strict=True)) or [()] * len(SQL.columns[key])
        for key, rows in tables.items()
    }
    wide = {key: SQL.wide_columns[key] for key in tables}
    if not any(is_large(columns[key][index]) for key, indexes in wide.items() for index in indexes):
        literals = {key: list(map(array_literal, found)) for key, found in columns.items()}
        return SQL[name], SQL.parameters(name, literals)
    arrays = {
        key: [
            column if index in wide[key] else array_literal(column)
            for index, column in enumerate(found)
        ]
        for key, found in columns.items()
    }
    return SQL.wide(name), SQL.parameters(name, arrays)


def _arrays(columns: str, rows: Iterable[tuple[Any, ...]]) -> list[str]:
    return array_literals(rows, len(SQL.columns[columns]))


def history_of(steps: Sequence[Step]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    attempts = [attempt_values(step.row.id, one) for step in steps for one in step.attempts]
    return attempts, [run_values(run) for step in steps for run in step.runs]


async def _other_effects(connection: Any, steps: Sequence[Step], now: float) -> None:
    for step in steps:
        if (copy := step.copy_results) is not None:
            values = (copy.from_job, copy.from_cycle, copy.to_job, copy.stages)
            await connection.execute(SQL["copy_results"], *values)
    await _inboxes(connection, steps, now)
    await _claims(connection, steps)
    await _signal(connection, steps)
    if notified := [step for step in steps if step.notification is not None]:
        await _notify(connection, notified)


async def _inboxes(connection: Any, steps: Sequence[Step], now: float) -> None:
    if received := [values for step in steps for values in received_values(step, now)]:
        await connection.execute(SQL["remember_messages"], *columns_of(received, "tttn"))
    if cleared := [step.row.id for step in steps if step.inbox == "clear"]:
        await connection.execute(SQL["clear_inboxes"], cleared)
    if replayed := [step.row.id for step in steps if step.inbox == "replay"]:
        await connection.execute(SQL["replay_inboxes"], replayed)
    if added := [message_values(step) for step in steps if step.message is not None]:
        await connection.execute(SQL["add_messages"], *_arrays("messages", added))
    if consumed := [(step.row.id, one) for step in steps for one in step.consumed]:
        await connection.execute(SQL["consume_messages"], *columns_of(consumed, "tt"))


async def _claims(connection: Any, steps: Sequence[Step]) -> None:
    changed = [step for step in steps if step.claim is not None]
    if not changed:
        return
    await connection.execute(SQL["unclaim"], [step.row.id for step in changed])
    if taken := {step.claim: step.row.id for step in changed if step.claim}:
        await connection.execute(SQL["claim"], *columns_of(sorted(taken.items()), "tt"))


async def _signal(connection: Any, steps: Sequence[Step]) -> None:
    if run_ends := sorted(run_end_values(step) for step in steps if step.run_end is not None):
        await connection.execute(SQL["note_run_ends"], *_arrays("run_ends", run_ends))
    if signalled := [step.row.id for step in steps if step.signal]:
        await connection.execute(SQL["add_signals"], signalled)


async def _notify(connection: Any, steps: Sequence[Step]) -> None:
    keys = [(step.row.job_id, step.row.cycle) for step in steps]
    results: dict[str, dict[int, str]] = {}
    for job_id, stage, result in await connection.fetch(
        SQL["run_results"], *columns_of(keys, "tn")
    ):
        results.setdefault(job_id, {})[stage] = result
    definitions = await _definitions(connection, steps)
    rows = [
        notification_values(step, definitions[step.row.id], results.get(step.row.job_id or "", {}))
        for step in steps
    ]
    await connection.execute(SQL["add_notifications"], *_arrays("notifications", rows))


async def _definitions(connection: Any, steps: Sequence[Step]) -> dict[str, Definition]:
    found = {step.row.id: step.definition for step in steps if step.definition is not None}
    if missing := [step.row.id for step in steps if step.definition is None]:
        for task_id, rev, body in await connection.fetch(SQL["definitions"], missing):
            found[task_id] = stored_definition(task_id, rev, body).definition
    return found
