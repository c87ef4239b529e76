"""The schema of a database as text. `python -m tests.store.schema_dump` writes what is expected."""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import asyncpg

from kaiju_tasks.store.open import migrate
from tests.support.postgres import PostgresServer

EXPECTED = Path(__file__).parent / "schema"

POSTGRES_DUMP = """
SELECT line FROM (
    SELECT 1 AS part, format('column %s.%s %s%s%s%s', c.relname, a.attname,
        format_type(a.atttypid, a.atttypmod),
        CASE WHEN l.collname <> 'default' THEN ' collate ' || l.collname ELSE '' END,
        CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
        coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')) AS line
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 2, format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT 3, 'index ' || replace(indexdef, schemaname || '.', '') FROM pg_indexes
    WHERE schemaname = current_schema()
    UNION ALL
    SELECT 4, 'trigger ' || replace(pg_get_triggerdef(oid), current_schema() || '.', '')
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 5, format('options %s %s', relname, reloptions) FROM pg_class
    WHERE reloptions IS NOT NULL AND relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 6, format('statistics %s.%s %s', c.relname, a.attname, a.attstattarget)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attstattarget > 0
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
) AS dump ORDER BY part, line COLLATE "C"
"""


async def dump_postgres(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(POSTGRES_DUMP)
    finally:
        await connection.close()
    return "\n".join(row[0] for row in rows) + "\n"


def dump_sqlite(path: str) -> str:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return "\n".join(sql for (sql,) in rows) + "\n"


def file_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


async def write_expected(dsn: str, folder: str) -> None:
    """Write both dumps from fresh databases."""
    EXPECTED.mkdir(exist_ok=True)
    await migrate(dsn)
    (EXPECTED / "postgres.txt").write_text(await dump_postgres(dsn))
    await migrate(f"sqlite:///{folder}/fresh.db")
    (EXPECTED / "sqlite.txt").write_text(dump_sqlite(f"{folder}/fresh.db"))


if __name__ == "__main__":
    with PostgresServer() as server, tempfile.TemporaryDirectory() as folder:
        asyncio.run(write_expected(server.dsn(), folder))
