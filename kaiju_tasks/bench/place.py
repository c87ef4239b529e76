"""Creates a temporary database for a measurement, next to the given one."""

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from kaiju_tasks.bench import space, stored
from kaiju_tasks.bench.cpu import is_named
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.space import Used
from kaiju_tasks.bench.stored import Kind
from kaiju_tasks.errors import SettingsError
from kaiju_tasks.store.open import make_store, migration_status

SQLITE_FILE = "sqlite:///"
SERVER_PIDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
AND pid <> pg_backend_pid()"""


class Place(Struct):
    """The database of a measurement.

    :param url: the URL for `--db`
    :param path: the file, for SQLite
    :param dsn: the DSN, for PostgreSQL
    :param schema: the schema, for PostgreSQL
    :ivar others: the server processes of other connections to that database
    """

    url: str
    path: Path | None = None
    dsn: str = ""
    schema: str = ""
    others: frozenset[int] = frozenset()

    async def limit(self, job: Job) -> tuple[float, float]:
        """Measure the tasks per second of the limit: (created, drained)."""
        if self.path is None:
            from kaiju_tasks.bench import limit_postgres

            return await limit_postgres.measure(self.dsn, self.schema, job)
        from kaiju_tasks.bench.limit_sqlite import Limit

        with contextlib.closing(Limit(self.path)) as limit:
            return limit.measure(job)

    async def store(self, kind: Kind, count: int) -> None:
        """Insert tasks that are there before a measurement begins."""
        if self.path is None:
            await stored.in_postgres(self.dsn, self.schema, kind, count)
        else:
            stored.in_sqlite(self.path, kind, count)

    async def note_others(self) -> None:
        """Remember the connections of others, before those of a manager are opened."""
        self.others = frozenset(await self._all_server_pids())

    async def server_pids(self) -> list[int]:
        """Return the processes of PostgreSQL that serve the managers of this place, if they run on
        this machine."""
        return [pid for pid in await self._all_server_pids() if pid not in self.others]

    async def used_bytes(self) -> Used:
        """Return the bytes that tables and indexes use, and that the server has logged."""
        if self.path is None:
            return await space.in_postgres(self.dsn, self.schema)
        return space.in_sqlite(self.path)

    async def _all_server_pids(self) -> list[int]:
        if self.path is not None:
            return []
        import asyncpg

        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch(SERVER_PIDS)
        finally:
            await connection.close()
        return [row["pid"] for row in rows if is_named(row["pid"], "postgres")]


@contextlib.asynccontextmanager
async def fresh_place(url: str) -> AsyncIterator[Place]:
    """Create an empty, migrated database that is deleted at the end of the block: a temporary
    file next to a SQLite database, or a separate schema in a PostgreSQL database.

    :raises SettingsError: the URL does not name a database that two processes can share
    :raises StoreError: the database cannot be used
    """
    if url.startswith(SQLITE_FILE):
        make_store(url)  # refuses a URL without a file
        async with _sqlite_place(Path(url.removeprefix(SQLITE_FILE)).parent) as place:
            yield place
    elif url.startswith(("postgresql://", "postgres://")):
        async with _postgres_place(url) as place:
            yield place
    else:
        raise SettingsError(
            "bench needs a database that two processes can share: `sqlite:///path.db` or "
            "`postgresql://user:password@host/database`",
            field="db",
        )


@contextlib.asynccontextmanager
async def _sqlite_place(folder: Path) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory(prefix="kaiju-bench-", dir=folder) as made:
        path = Path(made) / "bench.db"
        place = Place(f"sqlite:///{path}", path=path)
        await _migrate(place.url)
        yield place


@contextlib.asynccontextmanager
async def _postgres_place(url: str) -> AsyncIterator[Place]:
    import asyncpg

    from kaiju_tasks.store.postgres.address import parse_address

    dsn = parse_address(url).dsn
    schema = f"kaiju_bench_{secrets.token_hex(4)}"
    query = "&".join(filter(None, (urlsplit(dsn).query, f"schema={schema}")))
    place = Place(f"{url.partition('?')[0]}?{query}", dsn=dsn, schema=schema)
    await migration_status(place.url)  # fail early if the database cannot be reached
    try:
        await _migrate(place.url)
        yield place
    finally:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE', timeout=600)
        finally:
            await connection.close()


async def _migrate(url: str) -> None:
    store = make_store(url)
    await store.open()
    await store.close()
