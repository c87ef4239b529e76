"""Statements that damage rows beside a manager."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from tests.support.wait import PATIENCE_SECONDS

Sql = Callable[[str], Awaitable[None]]


async def run_sql(db: str, text: str) -> None:
    """Run a statement on a database that a manager uses. SQLite checks no constraints."""
    if db.startswith("sqlite"):
        await asyncio.to_thread(_in_sqlite, Path(db.removeprefix("sqlite:///")), text)
        return
    connection = await asyncpg.connect(db)
    await connection.execute(text)
    await connection.close()


def _in_sqlite(path: Path, text: str) -> None:
    db = sqlite3.connect(path, timeout=PATIENCE_SECONDS)
    db.execute("PRAGMA ignore_check_constraints = ON")
    with db:
        db.execute(text)
    db.close()
