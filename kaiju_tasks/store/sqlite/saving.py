"""Writes steps and their effects as rows of SQLite."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from operator import eq, itemgetter
from typing import Any

from kaiju_tasks.lifecycle import Row, Step
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
from kaiju_tasks.store.sql import load_statements

SQL = load_statements(__package__ or "")

_HOT = tuple(map(ROW_COLUMNS.index, SQL.columns["hot"]))
_hot_of = itemgetter(*_HOT)
_cold_of = itemgetter(*sorted(set(range(len(ROW_COLUMNS))) - set(_HOT)))


def insert(db: sqlite3.Connection, steps: Sequence[Step], now: float) -> set[str]:
    """Insert new tasks and their effects.

    :returns: the ids that were taken
    """
    ids = json.dumps([step.row.id for step in steps])
    taken = {id for (id,) in db.execute(SQL["existing"], (ids,))}
    new = [step for step in steps if step.row.id not in taken]
    insert_new(db, new)
    _other_effects(db, new, now)
    return taken


def insert_new(db: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Insert new tasks, their definitions, attempts and runs."""
    db.executemany(SQL["insert_task"], [row_values(step.row) for step in steps])
    _common_effects(db, steps)


def save(db: sqlite3.Connection, steps: Sequence[Step], now: float) -> None:
    """Write changed tasks and their effects."""
    if deleted := [step for step in steps if step.deleted]:
        delete(db, [step.row.id for step in deleted])
        _signal(db, deleted)
    if kept := [step for step in steps if step.changed and not step.deleted]:
        save_kept(db, kept)
        _other_effects(db, kept, now)


def save_kept(db: sqlite3.Connection, steps: Sequence[Step], before: Sequence[Row] = ()) -> None:
    """Write the rows of changed tasks, their definitions, attempts and runs.

    :param before: the rows before the change, in the same order, if they are known. If only hot
        columns have changed, only these are written: the others need most of the time.
    :raises StoreError: a task does not exist
    """
    _keep_versions(db, [step for step in steps if step.superseded is not None])
    name, rows = "save_task", [row_values(step.row) for step in steps]
    if before and _only_hot(rows, before):
        name, rows = "save_hot", [_hot_of(row) for row in rows]
    written = db.executemany(SQL[name], rows).rowcount
    if written != len(steps):
        raise StoreError(f"{len(steps) - written} of {len(steps)} tasks to save do not exist.")
    _common_effects(db, steps)


def _only_hot(rows: Sequence[tuple[Any, ...]], before: Sequence[Row]) -> bool:
    """Whether only hot columns have changed."""
    old = map(row_values, before)
    return all(map(eq, map(_cold_of, rows), map(_cold_of, old)))


def _keep_versions(db: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Keep the definitions that steps replace."""
    for step in steps:
        values = superseded_values(step)
        db.execute(SQL["keep_version"], values)
        db.execute(SQL["forget_versions"], forgotten_values(step))


def delete(db: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Delete tasks and all their data."""
    listed = (json.dumps(ids),)
    for name in (
        "delete_stages",
        "delete_logs",
        "delete_runs",
        "delete_inbox",
        "delete_received",
        "delete_versions",
        "unclaim",
        "delete_children",
        "delete_definitions",
        "delete_tasks",
    ):
        db.execute(SQL[name], listed)


def _common_effects(db: sqlite3.Connection, steps: Sequence[Step]) -> None:
    _many(
        db,
        "save_definition",
        (definition_values(s.definition, s.row.rev) for s in steps if s.definition is not None),
    )
    _many(db, "append_stage", (attempt_values(s.row.id, a) for s in steps for a in s.attempts))
    _many(db, "append_run", (run_values(run) for step in steps for run in step.runs))


def _other_effects(db: sqlite3.Connection, steps: Sequence[Step], now: float) -> None:
    for step in steps:
        if (copy := step.copy_results) is not None:
            values = (copy.from_job, copy.from_cycle, copy.to_job, copy.stages)
            db.execute(SQL["copy_results"], values)
    _inboxes(db, steps, now)
    _claims(db, steps)
    _signal(db, steps)
    for step in steps:
        if step.notification is not None:
            _notify(db, step)


def _inboxes(db: sqlite3.Connection, steps: Sequence[Step], now: float) -> None:
    _many(db, "remember_message", (v for s in steps for v in received_values(s, now)))
    _many(db, "clear_inbox", ((s.row.id,) for s in steps if s.inbox == "clear"))
    _many(db, "replay_inbox", ((s.row.id,) for s in steps if s.inbox == "replay"))
    _many(db, "add_message", (message_values(s) for s in steps if s.message is not None))
    _many(db, "consume_message", ((s.row.id, one) for s in steps for one in s.consumed))


def _claims(db: sqlite3.Connection, steps: Sequence[Step]) -> None:
    if changed := [step for step in steps if step.claim is not None]:
        db.execute(SQL["unclaim"], (json.dumps([step.row.id for step in changed]),))
        _many(db, "claim", ((step.claim, step.row.id) for step in changed if step.claim))


def _signal(db: sqlite3.Connection, steps: Sequence[Step]) -> None:
    run_ends = [run_end_values(step) for step in steps if step.run_end is not None]
    _many(db, "signal_parents", ((child_id,) for child_id, *_ in run_ends))
    _many(db, "note_run_ends", run_ends)
    _many(db, "add_signal", ((step.row.id,) for step in steps if step.signal))


def _notify(db: sqlite3.Connection, step: Step) -> None:
    draft = step.notification
    assert draft is not None
    results = dict(db.execute(SQL["run_results"], (draft.job_id, step.row.cycle)).fetchall())
    definition = step.definition
    if definition is None:
        (stored,) = db.execute(SQL["definitions"], (json.dumps([step.row.id]),)).fetchall()
        definition = stored_definition(*stored).definition
    db.execute(SQL["add_notification"], notification_values(step, definition, results))


def _many(db: sqlite3.Connection, name: str, values: Iterable[tuple[Any, ...]]) -> None:
    if listed := list(values):
        db.executemany(SQL[name], listed)
