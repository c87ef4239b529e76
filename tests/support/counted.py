"""Counts the statements and the round trips of a manager to its database."""

import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.sqlite.thread import ConnectionThread

T = TypeVar("T")

_WRITTEN = re.compile(r"\b(?:INSERT INTO|(?<!FOR )(?<!DO )UPDATE|DELETE FROM) (\w+)")
_READ = re.compile(r"\bFROM (\w+)")


class Counted:
    """What was asked of the database, in short: the first word of a statement that neither reads
    nor writes a table, otherwise the tables that it writes or else reads.

    :ivar statements: in order
    :ivar trips: round trips to PostgreSQL, or switches to the thread of SQLite and back
    """

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.trips = 0

    def clear(self) -> None:
        self.statements.clear()
        self.trips = 0

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.statements)

    def asked(self, text: str) -> None:
        self.statements.append(_short(text))


def _short(text: str) -> str:
    written = dict.fromkeys(_WRITTEN.findall(text))
    read = dict.fromkeys(_READ.findall(text))
    if written:
        return "write " + " ".join(sorted(written))
    return f"read {next(iter(read))}" if read else text.split()[0]


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """Count on all connections of all stores, also on those that are open already."""
    count = Counted()
    ask, run = Connection._ask, ConnectionThread.run

    async def asked(self: Connection, answer: Awaitable[T], *, unknown: bool = False) -> T:
        count.trips += 1
        return await ask(self, answer, unknown=unknown)

    def said(name: str) -> None:
        method = getattr(Connection, name)

        async def call(self: Connection, *args: Any, **kwargs: Any) -> Any:
            count.asked(name.upper() if name in ("begin", "commit") else args[0])
            return await method(self, *args, **kwargs)

        monkeypatch.setattr(Connection, name, call)

    async def ran(self: ConnectionThread, work: Callable[[sqlite3.Connection], T]) -> T:
        count.trips += 1

        def traced(db: sqlite3.Connection) -> T:
            db.set_trace_callback(count.asked)
            try:
                return work(db)
            finally:
                db.set_trace_callback(None)

        return await run(self, traced)

    with monkeypatch.context() as patched:
        monkeypatch = patched
        for name in ("fetch", "fetch_committed", "fetchval", "execute", "begin", "commit"):
            said(name)
        patched.setattr(Connection, "_ask", asked)
        patched.setattr(ConnectionThread, "run", ran)
        yield count
