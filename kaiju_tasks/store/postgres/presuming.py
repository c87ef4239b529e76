"""Writes presumed transactions to PostgreSQL, each as one statement without BEGIN and COMMIT."""

from collections.abc import Mapping, Sequence
from operator import eq
from typing import Any, NamedTuple

from kaiju_tasks.lifecycle import Row
from kaiju_tasks.store.columns import definition_values, row_values
from kaiju_tasks.store.postgres.saving import SQL, cold_of, history_of, hot_of, with_arrays
from kaiju_tasks.store.presumed import Presumed

SIZES = (1, 2, 4, 8)
"""Up to so many rows are sent as single parameters, in a statement for the next of these numbers.
Each of the statements is planned once for each connection."""


class Guard(NamedTuple):
    """When a statement may be executed.

    :param clock_revision: how often the database's clock was set when its time was last read
    :param valid_until: by the database's clock, UNIX seconds
    :param pauses_revision: the revision that the pauses must have; None for any
    """

    clock_revision: int
    valid_until: float
    pauses_revision: int | None


Tables = Mapping[str, Sequence[tuple[Any, ...]]]


def statement_of(presumed: Presumed, guard: Guard) -> tuple[str, list[Any]]:
    """The statement of a presumed transaction, and its parameters."""
    return _insertion(presumed, guard) if presumed.inserted else _change(presumed, guard)


def _insertion(presumed: Presumed, guard: Guard) -> tuple[str, list[Any]]:
    steps = sorted(presumed.inserted, key=lambda step: step.row.id)
    definitions = [
        definition_values(step.definition, step.row.rev)
        for step in steps
        if step.definition is not None
    ]
    tables: Tables = {
        "guard": [guard],
        "sessions": list(presumed.sessions.items()),
        "tasks": [row_values(step.row) for step in steps],
        "definitions": definitions,
    }
    return _statement("insert_presumed", tables)


def _change(presumed: Presumed, guard: Guard) -> tuple[str, list[Any]]:
    """Write the rows in the order of their ids, in which they are locked."""
    pairs = sorted(zip(presumed.saved, presumed.before, strict=True), key=lambda p: p[1].id)
    steps = [step for step, _ in pairs]
    rows = [row_values(step.row) for step in steps]
    old = [row_values(row) for _, row in pairs]
    attempts, runs = history_of(steps)
    known = [_known(row) for _, row in pairs]
    tables: dict[str, Sequence[tuple[Any, ...]]] = {
        "guard": [guard],
        "sessions": list(presumed.sessions.items()),
        "known": known,
        "stages": attempts,
        "runs": runs,
    }
    if all(map(eq, map(cold_of, rows), map(cold_of, old))):
        tables["hot"] = [hot_of(row) for row in rows]
        return _statement("save_hot_presumed", tables)
    tables["tasks"] = rows
    return _statement("save_presumed", tables)


def _known(row: Row) -> tuple[Any, ...]:
    return row.id, row.rev, row.version


def _statement(name: str, tables: Tables) -> tuple[str, list[Any]]:
    most = max(map(len, tables.values()))
    for size in SIZES:
        if most <= size:
            return SQL.few(name, size), SQL.few_parameters(name, size, tables)
    return with_arrays(name, tables)
