"""Creates a temporary database for a measurement, next to the given one."""

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.errors import SettingsError
from kaiju_tasks.store.open import make_store, migration_status

SQLITE_FILE = "sqlite:///"


class Place(Struct):
    """The database of a measurement.

    :param url: the URL for `--db`
    :param path: the file, for SQLite
    :param dsn: the DSN, for PostgreSQL
    :param schema: the schema, for PostgreSQL
    """

    url: str
    path: Path | None = None
    dsn: str = ""
    schema: str = ""

    async def limit(self, jobs: list[Job]) -> dict[str, tuple[float, float]]:
        """Measure the tasks per second of the limit, by job: (created, drained)."""
        if self.path is None:
            from kaiju_tasks.bench import limit_postgres

            return await limit_postgres.measure(self.dsn, self.schema, jobs)
        from kaiju_tasks.bench.limit_sqlite import Limit

        with contextlib.closing(Limit(self.path)) as limit:
            return limit.measure(jobs)

    async def plant_future(self, count: int) -> None:
        """Insert tasks that are due in a day or later."""
        if self.path is None:
            from kaiju_tasks.bench import limit_postgres

            await limit_postgres.plant_future(self.dsn, self.schema, count)
            return
        from kaiju_tasks.bench.limit_sqlite import Limit

        with contextlib.closing(Limit(self.path)) as limit:
            limit.plant_future(count)


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
