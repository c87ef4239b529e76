"""Creates the store for a database URL."""

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
    clock: Callable[[], float] | None = None,
    inline: bool = False,
    connections: int = 4,
    beside: bool = False,
) -> Store:
    """Create the store for a URL, without opening it.

    :param url: `sqlite:///path.db` (relative to the working directory; absolute with four
        slashes), `sqlite://:memory:`, or
        `postgresql://user:password@host:port/database[?schema=name]`, also with several
        hosts, `host1:port,host2:port`
    :param clock: the source of the time in UNIX seconds, for SQLite only; by default, the wall
        clock without its steps
    :param inline: whether to run statements in the caller's thread, for SQLite only
    :param beside: whether to open a SQLite file even while a manager uses it, for short
        transactions; PostgreSQL always allows it
    :param connections: maximum number of connections, from 1, for PostgreSQL only
    :raises SettingsError: the URL is not valid
    """
    if url.startswith(SQLITE):
        from kaiju_tasks.store.sqlite import SqliteStore

        return SqliteStore(_sqlite_path(url), clock=clock, inline=inline, beside=beside)
    if url.startswith(POSTGRES):
        from kaiju_tasks.store.postgres import PostgresStore

        return PostgresStore(url, connections=connections)
    raise SettingsError(_wrong(url), field="db")


async def migration_status(url: str) -> list[MigrationStatus]:
    """The status of every migration of the program or the database, in order. It is read-only.

    :raises SettingsError: the URL is not valid
    :raises StoreUnavailable: the database cannot be reached
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
    """Apply the pending migrations.

    :returns: the status afterwards
    :raises SettingsError: the URL is not valid
    :raises StoreRefused: a manager uses the file, or the database is newer than this program
    :raises StoreUnavailable: the database cannot be reached
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
        f"The database `{scheme:.50}` cannot be used: use `sqlite:///path.db` (a file in the "
        "working directory; `sqlite:////absolute/path.db` elsewhere), `sqlite://:memory:` or "
        "`postgresql://user:password@host:5432/database`."
    )
