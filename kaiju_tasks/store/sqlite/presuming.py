"""Writes presumed transactions to SQLite."""

import json
import sqlite3

from kaiju_tasks.store.presumed import Presumed
from kaiju_tasks.store.sqlite.saving import SQL, insert_new, save_kept


def write_presumed(db: sqlite3.Connection, presumed: Presumed) -> bool:
    """Write a presumed transaction, within a transaction of the connection.

    :returns: whether the presumptions hold; otherwise nothing is written
    """
    steps = presumed.inserted or presumed.saved
    ids = json.dumps([step.row.id for step in steps])
    stored = set(db.execute(SQL["row_versions"], (ids,)))
    if stored != {(row.id, row.rev, row.version) for row in presumed.before}:
        return False
    if presumed.sessions and not _held(db, presumed):
        return False
    if presumed.inserted:
        insert_new(db, steps)
    else:
        save_kept(db, steps, presumed.before)
    return True


def _held(db: sqlite3.Connection, presumed: Presumed) -> bool:
    """Whether the sessions may acquire tasks, and the pauses are the known ones."""
    (revision,) = db.execute(SQL["pauses_revision"]).fetchone()
    pairs = presumed.sessions.items()
    return revision == presumed.pauses_revision and all(
        db.execute(SQL["acquiring"], pair).fetchone() for pair in pairs
    )
