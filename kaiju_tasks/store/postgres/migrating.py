"""Applies migrations to a PostgreSQL schema."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence

from kaiju_tasks.store.base import StoreError, StoreRefused, StoreUnavailable
from kaiju_tasks.store.migrations import (
    Applied,
    Migration,
    MigrationStatus,
    load_migrations,
    statuses,
    to_apply,
)
from kaiju_tasks.store.postgres.address import Address
from kaiju_tasks.store.postgres.bounds import DEFAULT_BOUNDS
from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.postgres.connector import Connector
from kaiju_tasks.store.postgres.pool import Pool

MIGRATIONS = load_migrations(__package__ or "")
LOCK_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.1

_TABLE = """
CREATE TABLE IF NOT EXISTS kaiju_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at double precision NOT NULL
)
"""
_RECORD = """
INSERT INTO kaiju_migrations (version, name, checksum, applied_at)
VALUES ($1, $2, $3, extract(epoch FROM clock_timestamp()))
"""


async def applied(connection: Connection) -> list[Applied]:
    """The recorded migrations of a schema; none if it is new or missing."""
    if await connection.fetchval("SELECT to_regclass('kaiju_migrations')") is None:
        return []
    rows = await connection.fetch(
        "SELECT version, name, checksum, applied_at FROM kaiju_migrations"
    )
    return [Applied(*row) for row in rows]


async def pending(
    connection: Connection, known: Sequence[Migration] = MIGRATIONS
) -> list[Migration]:
    """The migrations that are not applied yet, in order.

    :raises StoreRefused: the database is newer than this program
    """
    return to_apply(known, await applied(connection))


async def migrate(
    connection: Connection, schema: str | None, known: Sequence[Migration] = MIGRATIONS
) -> None:
    """Apply the pending migrations, each in its own transaction.

    :raises StoreRefused: the database is newer than this program
    :raises StoreUnavailable: another manager has been migrating for LOCK_WAIT_SECONDS seconds
    """
    while await pending(connection, known):
        await _begin_alone(connection, _lock_key(schema))
        try:
            if schema is not None:
                await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            await _refuse_no_schema(connection)
            if left := await pending(connection, known):
                await _apply(connection, left[0])
            await connection.commit()
        except BaseException:
            with contextlib.suppress(StoreError):
                await connection.rollback()
            raise


async def status(address: Address) -> list[MigrationStatus]:
    """The status of the migrations of a schema."""
    pool = Pool(Connector(address, DEFAULT_BOUNDS), 1, DEFAULT_BOUNDS)
    try:
        async with pool.connection() as connection:
            return statuses(MIGRATIONS, await applied(connection))
    finally:
        await pool.close()


async def _apply(connection: Connection, migration: Migration) -> None:
    await connection.execute(_TABLE)
    await connection.execute(migration.sql)
    await connection.execute(_RECORD, migration.version, migration.name, migration.checksum)


async def _begin_alone(connection: Connection, key: int) -> None:
    """Begin a transaction while no other manager migrates. Poll for the lock: a blocked session
    would delay an index that is built concurrently."""
    deadline = asyncio.get_running_loop().time() + LOCK_WAIT_SECONDS
    while True:
        await connection.begin("SET LOCAL statement_timeout = 0")  # an index may take hours
        if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", key):
            return
        await connection.rollback()
        if asyncio.get_running_loop().time() > deadline:
            raise StoreUnavailable(
                f"Another manager has been migrating the database for {LOCK_WAIT_SECONDS:g} "
                "seconds. Try again when it is ready."
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _refuse_no_schema(connection: Connection) -> None:
    if await connection.fetchval("SELECT current_schema()") is None:
        raise StoreRefused(
            "The database has no schema for the tables. Add `?schema=kaiju` to the URL to create "
            "one."
        )


def _lock_key(schema: str | None) -> int:
    digest = hashlib.sha256(f"kaiju_tasks/{schema or ''}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
