"""Databases that tests use one after another: making one costs more than most tests do."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import Any

import asyncpg

from kaiju_tasks.store.open import make_store
from tests.support.postgres import Postgres, fresh_name
from tests.support.wait import wait_until

CATALOGS = {
    "pg_attrdef": "",
    "pg_attribute": "",
    "pg_constraint": "",
    "pg_db_role_setting": "",
    "pg_index": "",
    "pg_namespace": "",
    "pg_proc": "",
    "pg_statistic": "WHERE starelid >= 16384",
    "pg_trigger": "",
    "pg_type": "",
}
"""What a test may change beside rows. A statement that changes an object gives its row a new xmin;
TRUNCATE only changes pg_class."""
UNCHANGED = " UNION ALL ".join(
    [
        *(
            f"SELECT '{name}', concat_ws(' ', count(*), max(xmin::text::bigint)) "
            f"FROM {name} {where}"
            for name, where in CATALOGS.items()
        ),
        "SELECT 'pg_class', string_agg(concat_ws(' ', oid, relname, reloptions), ',' ORDER BY oid) "
        "FROM pg_class WHERE oid >= 16384",
        "SELECT 'migrations', string_agg(m::text, ',' ORDER BY version) FROM kaiju_migrations m",
    ]
)
USED = """
SELECT relname, pg_relation_size(oid) / current_setting('block_size')::int AS pages FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0
  AND relname <> 'kaiju_migrations'
"""
PAGES = 8
"""TRUNCATE makes a new file for the table and for each of its indexes, which takes 20 times as long
as DELETE, but a table with many dead rows is not like an empty one."""
RESTART = "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence"
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
GOODBYE_SECONDS = 1.0
"""A closed connection is gone after a moment."""


class ReusedDatabases:
    """Databases with the tables of kaiju_tasks and no tasks.

    A database is used again if a test changed only rows and left no connection. Otherwise it is
    dropped, and the next test gets a new one.
    """

    def __init__(self) -> None:
        self._free: dict[Postgres, list[_Database]] = defaultdict(list)
        self._loop = LoopThread()

    @contextmanager
    def one(self, server: Postgres) -> Iterator[str]:
        """A database for one test.

        :returns: its DSN
        """
        free = self._free[server]
        database = free.pop() if free else self._made(server)
        yield database.dsn
        if self._loop.run(database.empty):
            free.append(database)
        else:
            self._drop(server, database)

    def _made(self, server: Postgres) -> "_Database":
        name = fresh_name()
        database = _Database(name, server.create_database(name))
        make_tables(database.dsn)
        self._loop.run(database.remember)
        return database

    def _drop(self, server: Postgres, database: "_Database") -> None:
        self._loop.run(database.close)
        server.drop_database(database.name)

    def close(self) -> None:
        """Drop them all."""
        for server, free in self._free.items():
            for database in free:
                self._drop(server, database)
        self._free.clear()
        self._loop.close()


class LoopThread:
    """An event loop in a thread of its own: connections stay open from one test to the next."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine until it has ended.

        :returns: its result
        """
        return asyncio.run_coroutine_threadsafe(main(), self._loop).result()

    def close(self) -> None:
        """Stop the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def make_tables(url: str) -> None:
    """Make the tables of kaiju_tasks in a store."""

    async def make() -> None:
        store = make_store(url)
        await store.open()
        await store.close()

    run_apart(make)


class _Database:
    def __init__(self, name: str, dsn: str) -> None:
        self.name = name
        self.dsn = dsn
        self._connection: Any = None
        self._unchanged: list[Any] = []
        self._rows: dict[str, str] = {}

    async def remember(self) -> None:
        """Note what the database is like before a test uses it."""
        connection = await self._connected()
        self._unchanged = await connection.fetch(UNCHANGED)
        for table, _ in await connection.fetch(USED):
            self._rows[table] = await connection.fetchval(f"SELECT json_agg(t) FROM {table} t")

    async def empty(self) -> bool:
        """Remove what a test has written.

        :returns: whether it is as it was
        """
        return await self._empty(await self._connected())

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.dsn)
        return self._connection

    async def _empty(self, connection: Any) -> bool:
        async def alone() -> bool:
            return bool(await connection.fetchval(OTHERS) == 0)

        try:
            await wait_until(alone, "all connections are closed", GOODBYE_SECONDS)
        except AssertionError:
            return False
        if await connection.fetch(UNCHANGED) != self._unchanged:
            return False
        used = await connection.fetch(USED)
        if large := [table for table, pages in used if pages > PAGES]:
            await connection.execute(f"TRUNCATE {', '.join(large)}")
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")  # no triggers
            for table, pages in used:
                if pages <= PAGES:
                    await connection.execute(f"DELETE FROM {table}")
            await connection.execute(RESTART)
        for table, rows in self._rows.items():
            insert = f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $1)"
            await connection.execute(insert, rows)
        await connection.execute("SELECT pg_stat_reset()")
        return True


def run_apart(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine on a loop of its own, beside a running one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, main()).result()
