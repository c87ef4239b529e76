"""Measures how many bytes a database uses."""

import contextlib
from pathlib import Path

from msgspec import Struct

from kaiju_tasks.store.sqlite.connection import connect

TABLES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r'"""
LOGGED = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"


class Used(Struct, frozen=True):
    """The bytes of a database.

    :param stored: of its tables and indexes
    :param logged: that the server has written to its log (WAL) since it was created, for all its
        databases; None for SQLite
    """

    stored: int
    logged: int | None = None


async def in_postgres(dsn: str, schema: str) -> Used:
    """Measure a schema of PostgreSQL."""
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        stored = await connection.fetchval(TABLES, schema)
        return Used(stored, await connection.fetchval(LOGGED))
    finally:
        await connection.close()


def in_sqlite(path: Path) -> Used:
    """Measure the pages of a file that are in use."""
    with contextlib.closing(connect(str(path), readonly=True)) as db:
        pages, unused, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return Used((pages - unused) * size)
