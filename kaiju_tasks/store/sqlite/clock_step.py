"""Moves the times in SQLite with the clock."""

import json
import sqlite3

from kaiju_tasks.store.clock_step import fires_after_step
from kaiju_tasks.store.columns import delayed_ids, row_of_integers, stored_definition
from kaiju_tasks.store.sqlite.saving import SQL


def apply_step(db: sqlite3.Connection, step: float, now: float) -> None:
    """Apply a step of the clock.

    :param now: the clock after the step
    """
    delayed = delayed_ids(db.execute(SQL["perhaps_delayed"]))
    db.execute(SQL["shift_tasks"], (step, json.dumps(delayed)))
    db.execute(SQL["shift_executors"], (step, now))
    db.execute(SQL["shift_managers"], (step,))
    db.execute(SQL["raise_clock"])
    if step > 0:
        jumped = [
            (row_of_integers(row), stored_definition(row[0], rev, body).definition)
            for *row, rev, body in db.execute(SQL["jumped"], (now,))
        ]
        db.executemany(SQL["set_fire"], fires_after_step(jumped, now))
