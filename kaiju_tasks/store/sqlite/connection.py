"""Opens SQLite connections, and translates SQLite's errors to store errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from kaiju_tasks.errors import reason_of
from kaiju_tasks.store.base import StoreError, StoreUnavailable, TransactionConflict

BUSY_MS = 5_000
MEMORY = ":memory:"


def connect(path: str, *, readonly: bool = False) -> sqlite3.Connection:
    """Open a connection with explicit transactions and durable commits.

    :param path: the path of the file, or `:memory:`
    :param readonly: whether to refuse writes
    :raises StoreUnavailable: the file cannot be opened
    """
    with translated():
        db = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        try:
            db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA case_sensitive_like = ON")
            db.execute("PRAGMA journal_size_limit = 67108864")
            db.execute(f"PRAGMA query_only = {'ON' if readonly else 'OFF'}")
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def translated() -> Iterator[None]:
    """Translate SQLite's errors to store errors."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise StoreError(f"The database refused a row: {error}.") from error
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise TransactionConflict(f"The database file is busy: {error}.") from error
        if code == sqlite3.SQLITE_ERROR:
            raise StoreError(f"The database refused a statement: {error}.") from error
        raise _unusable(error) from error
    except sqlite3.Error as error:
        raise _unusable(error) from error


def _unusable(error: sqlite3.Error) -> StoreUnavailable:
    reason = reason_of(error)
    brief = f"the database file cannot be used: {reason}"
    return StoreUnavailable(f"The database file cannot be used: {reason}.", brief=brief)
