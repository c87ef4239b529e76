"""Translates PostgreSQL's errors to store errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from kaiju_tasks.errors import reason_of
from kaiju_tasks.store.base import StoreError, StoreRefused, StoreUnavailable, TransactionConflict

_LOCK_NOT_AVAILABLE = "55P03"
_READ_ONLY = "25006"
_STATEMENT_CANCELLED = "57014"
_DUPLICATE_TABLE = "42P07"
_CONFLICT = "40"
_OUTCOME_UNKNOWN = "40003"
_SESSION_ENDED = ("25P03", "25P04")
_UNAVAILABLE = ("08", "53", "57", "58", _READ_ONLY, *_SESSION_ENDED)
_REFUSED = ("28", "3D", "3F", "42501")
_LEFT = ("08", "57P", _READ_ONLY, _OUTCOME_UNKNOWN, *_SESSION_ENDED)

BRIEFS = {
    _READ_ONLY: "the database is read-only",
    "08": "the connection to the database broke",
    "53100": "the database has no disk space left",
    "53300": "the database accepts no more connections",
    "53": "the database lacks resources",
    "57P03": "the database is starting up or shutting down",
    "57P": "the database is shutting down",
    _STATEMENT_CANCELLED: "the database did not finish a statement in time",
    "58": "the database has a problem with its files",
}
"""The reasons for callers, by the beginning of the SQLSTATE; the first that fits counts."""


@contextmanager
def translated(*, unknown: bool = False, opens: bool = False) -> Iterator[None]:
    """Translate the errors of PostgreSQL and the network to store errors.

    :param unknown: whether the block commits, so that its outcome is unknown after an error
    :param opens: whether the block opens a connection. An internal error of the server, such as
        "could not write init file" when its disk is full, is no error of a statement then.
    """
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InternalClientError, asyncpg.InterfaceError) as error:
        raise translation(error, unknown=unknown, opens=opens) from error
    except (TimeoutError, OSError) as error:
        raise translation(error, unknown=unknown) from error


def translation(error: Exception, *, unknown: bool = False, opens: bool = False) -> Exception:
    """The store error of an error of asyncpg or the network; any other error is returned.

    :param unknown: whether the error came at a commit, so that its outcome is unknown
    :param opens: whether it came when a connection was opened
    """
    match error:
        case asyncpg.InternalServerError() if opens:
            text = f"The database cannot begin a session: {_reason(error)}."
            return StoreUnavailable(text, brief="the database cannot begin a session")
        case asyncpg.PostgresError():
            return _translation(error, unknown)
        case asyncpg.InternalClientError():
            text = f"The connection to the database failed: {_reason(error)}."
            return StoreUnavailable(text, unknown=unknown)
        case asyncpg.ClientConfigurationError():
            return StoreRefused(f"The database URL cannot be used: {_reason(error)}.")
        case ValueError() if isinstance(error, asyncpg.InterfaceError):
            return StoreError(f"A value cannot be sent to the database: {_reason(error)}.")
        case asyncpg.InterfaceError():  # the connection was already closed: nothing was sent
            return StoreUnavailable(_unreachable(error))
        case TimeoutError():
            text, brief = _unreachable(error), "the database did not answer in time"
            return StoreUnavailable(text, unknown=unknown, brief=brief)
        case OSError():
            return StoreUnavailable(_unreachable(error), unknown=unknown)
    return error


def leaves(error: Exception) -> bool:
    """Whether a connection cannot be used after an error, and others of its kind neither: it is
    broken, the server ends it, or it leads to a server that is no longer the primary."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_LEFT)
    return isinstance(error, OSError | asyncpg.InternalClientError)


def brief_of(error: Exception) -> str:
    """The reason of an error for callers, without the words of the server."""
    state = getattr(error, "sqlstate", None) or ""
    for beginning, brief in BRIEFS.items():
        if state.startswith(beginning):
            return brief
    return "the database cannot be reached"


def _reason(error: BaseException) -> str:
    return reason_of(error).rstrip(".")


def _unreachable(error: BaseException) -> str:
    return f"The database cannot be reached: {_reason(error)}."


def _translation(error: asyncpg.PostgresError, unknown: bool) -> StoreError:
    state = error.sqlstate or ""
    if state == _OUTCOME_UNKNOWN:
        return StoreUnavailable(_unreachable(error), unknown=True)
    if state.startswith(_CONFLICT) or state == _LOCK_NOT_AVAILABLE:
        return TransactionConflict(f"The transaction conflicted with another: {_reason(error)}.")
    if state.startswith(_UNAVAILABLE):
        brief = brief_of(error)
        text = f"{brief[0].upper()}{brief[1:]}: {_reason(error)}."
        return StoreUnavailable(text, unknown=unknown, brief=brief)
    if state.startswith(_REFUSED):
        return StoreRefused(f"The database refused access: {_reason(error)}.")
    if state == _DUPLICATE_TABLE:
        return StoreRefused(
            f"The schema contains tables of another program: {_reason(error)}. "
            "Use a separate schema for kaiju_tasks: add `?schema=kaiju` to the URL."
        )
    return StoreError(f"The database refused a statement: {_reason(error)}.")
