"""Applies migrations to a SQLite file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from kaiju_tasks.store.migrations import (
    Applied,
    Migration,
    MigrationStatus,
    load_migrations,
    refuse_pending,
    statuses,
    to_apply,
)
from kaiju_tasks.store.sqlite.connection import connect, translated

MIGRATIONS = load_migrations(__package__ or "")

_TABLE = """
CREATE TABLE IF NOT EXISTS kaiju_migrations (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at REAL NOT NULL
) STRICT
"""


def applied(db: sqlite3.Connection) -> list[Applied]:
    """The recorded migrations of a database; none if it is new."""
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'kaiju_migrations'"
    if db.execute(known).fetchone() is None:
        return []
    rows = db.execute("SELECT version, name, checksum, applied_at FROM kaiju_migrations")
    return [Applied(*row) for row in rows]


def migrate(db: sqlite3.Connection, now: float, known: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the pending migrations, each in its own transaction.

    :raises StoreRefused: the database is newer than this program
    """
    for migration in to_apply(known, applied(db)):
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(_TABLE)
            for statement in _statements(migration.sql):
                db.execute(statement)
            db.execute(
                "INSERT INTO kaiju_migrations VALUES (?, ?, ?, ?)",
                (migration.version, migration.name, migration.checksum, now),
            )
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def status(path: str) -> list[MigrationStatus]:
    """The status of the migrations of a file, which may be in use or missing."""
    if not Path(path).exists():
        return statuses(MIGRATIONS, [])
    with translated(), closing(connect(path, readonly=True)) as db:
        return statuses(MIGRATIONS, applied(db))


def check(db: sqlite3.Connection) -> None:
    """:raises StoreRefused: the schema of the database is not that of this program"""
    refuse_pending(to_apply(MIGRATIONS, applied(db)))


def _statements(sql: str) -> Iterator[str]:
    """Split a script into statements, because `executescript` would commit first."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
