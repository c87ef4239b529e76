"""Stores tasks that are there before a measurement begins: a backlog, a history, future tasks."""

import contextlib
import time
from importlib.resources import files
from pathlib import Path
from typing import Literal

from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.store.sql import Statements
from kaiju_tasks.store.sqlite.connection import connect

Kind = Literal["backlog", "history", "future"]

SQL = Statements((files("kaiju_tasks.bench") / "stored.sql").read_text())
ROWS: dict[Kind, tuple[str, ...]] = {
    "backlog": ("backlog_tasks",),
    "history": ("history_tasks", "history_stages", "history_runs"),
    "future": ("future_tasks",),
}
VACUUM = "VACUUM (ANALYZE) tasks, definitions, stages, runs"  # as autovacuum does in time
SECONDS = 1800.0


async def in_postgres(dsn: str, schema: str, kind: Kind, count: int) -> None:
    """Insert tasks into a schema of PostgreSQL."""
    import asyncpg

    connection = await asyncpg.connect(
        dsn, server_settings={"search_path": schema}, command_timeout=SECONDS
    )
    try:
        await connection.execute(SQL["definitions"], count, Job("stored", count).body)
        for name in ROWS[kind]:
            await connection.execute(SQL[name], count, time.time())
        await connection.execute(VACUUM)
    finally:
        await connection.close()


def in_sqlite(path: Path, kind: Kind, count: int) -> None:
    """Insert tasks into a file of SQLite."""
    with contextlib.closing(connect(str(path))) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(SQL["definitions"], {"1": count, "2": Job("stored", count).body})
        for name in ROWS[kind]:
            db.execute(SQL[name], {"1": count, "2": time.time()})
        db.execute("COMMIT")
