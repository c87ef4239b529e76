"""Translates PostgreSQL's errors to store errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from kaiju_tasks.store.base import StoreError, StoreRefused, StoreUnavailable, TransactionConflict

_LOCK_NOT_AVAILABLE = "55P03"
_READ_ONLY = "25006"
_DUPLICATE_TABLE = "42P07"
_CONFLICT = "40"
_OUTCOME_UNKNOWN = "40003"
_UNAVAILABLE = ("08", "53", "57", "58")
_REFUSED = ("28", "3D", "3F", "42501")


@contextmanager
def translated(*, unknown: bool = False) -> Iterator[None]:
    """Translate the errors of PostgreSQL and the network to store errors.

    :param unknown: whether the block commits, so that its outcome is unknown after an error
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _translation(error, unknown) from error
    except asyncpg.InternalClientError as error:
        raise StoreUnavailable(f"The connection failed: {error}.", unknown=unknown) from error
    except asyncpg.InterfaceError as error:  # the connection was already closed: nothing was sent
        raise StoreUnavailable(_reason(error)) from error
    except (TimeoutError, OSError) as error:
        raise StoreUnavailable(_reason(error), unknown=unknown) from error


def _reason(error: BaseException) -> str:
    return f"The database cannot be reached: {error or type(error).__name__}."


def _translation(error: asyncpg.PostgresError, unknown: bool) -> StoreError:
    state = error.sqlstate or ""
    if state == _OUTCOME_UNKNOWN:
        return StoreUnavailable(_reason(error), unknown=True)
    if state.startswith(_CONFLICT) or state == _LOCK_NOT_AVAILABLE:
        return TransactionConflict(f"The transaction conflicted with another: {error}.")
    if state.startswith(_UNAVAILABLE) or state == _READ_ONLY:
        return StoreUnavailable(_reason(error), unknown=unknown)
    if state.startswith(_REFUSED):
        return StoreRefused(f"The database refused access: {error}.")
    if state == _DUPLICATE_TABLE:
        return StoreRefused(
            f"The schema contains tables of another program: {error}. "
            "Use a separate schema for kaiju_tasks: add `?schema=kaiju` to the URL."
        )
    return StoreError(f"The database refused a statement: {error}.")
