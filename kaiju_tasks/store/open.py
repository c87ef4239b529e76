"""The store that a URL names."""

import time
from collections.abc import Callable

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.store.base import Store
from kaiju_tasks.store.migrations import MigrationStatus

SQLITE = "sqlite://"
POSTGRES = ("postgresql://", "postgres://")
MEMORY = ":memory:"


def make_store(
    url: str,
    *,
    clock: Callable[[], float] = time.time,
    inline: bool = False,
    connections: int = 4,
) -> Store:
    """The store of a URL, not open yet.

    :param url: `sqlite:///path.db` (relative to the working folder; absolute with four slashes),
        `sqlite://:memory:`, or `postgresql://user:password@host:port/database[?schema=name]`
    :param clock: UNIX seconds; SQLite only, PostgreSQL has its own
    :param inline: SQLite only: no threads
    :param connections: PostgreSQL only: at most so many, from 1
    :raises SettingsError: the URL names no database
    """
    if url.startswith(SQLITE):
        from kaiju_tasks.store.sqlite import SqliteStore

        return SqliteStore(_sqlite_path(url), clock=clock, inline=inline)
    if url.startswith(POSTGRES):
        from kaiju_tasks.store.postgres import PostgresStore

        return PostgresStore(url, connections=connections)
    raise SettingsError(_wrong(url), field="db")


async def migration_status(url: str) -> list[MigrationStatus]:
    """Every migration that the program or the database knows, in order; changes nothing.

    :raises SettingsError: the URL names no database
    :raises StoreUnavailable: it cannot be reached
    """
    if url.startswith(SQLITE):
        from kaiju_tasks.store.sqlite import migrating as sqlite

        return sqlite.status(_sqlite_path(url))
    if url.startswith(POSTGRES):
        from kaiju_tasks.store.postgres import migrating as postgres
        from kaiju_tasks.store.postgres.address import parse_address

        return await postgres.status(parse_address(url))
    raise SettingsError(_wrong(url), field="db")


async def migrate(url: str) -> list[MigrationStatus]:
    """Apply what is missing.

    :returns: the status afterwards
    :raises SettingsError: the URL names no database
    :raises StoreRefused: a manager uses the file, or the database is newer than this program
    :raises StoreUnavailable: it cannot be reached
    """
    store = make_store(url, connections=1)
    await store.open(migrate=True)
    await store.close()
    return await migration_status(url)


def _sqlite_path(url: str) -> str:
    rest = url.removeprefix(SQLITE)
    if rest == MEMORY:
        return MEMORY
    path = rest.removeprefix("/")
    if not rest.startswith("/") or not path or path.endswith("/") or "\0" in path:
        raise SettingsError(_wrong(url), field="db")
    return path


def _wrong(url: str) -> str:
    scheme = url.partition("://")[0] if "://" in url else url
    return (
        f"The database `{scheme:.50}` cannot be used: give `sqlite:///path.db` (a file in the "
        "working folder; `sqlite:////absolute/path.db` elsewhere), `sqlite://:memory:` or "
        "`postgresql://user:password@host:5432/database`."
    )
