"""A manager that has nothing to do leaves its database alone."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kaiju_tasks.embedded import embedded, link_executors
from kaiju_tasks.settings import load_settings
from kaiju_tasks.store.sqlite import connection
from tests.support.postgres import PostgresServer
from tests.support.processes import Processes
from tests.system.commands import executor
from tests.system.fleet import Fleet, command, task

WINDOW_SECONDS = 10.0
"""Two pings and five slow polls, with the default settings."""
SETTLE_SECONDS = 1.0
"""What follows from the last create is over then."""
PRUNING = 18
"""The statements of the first pruning, which falls into any second of the first minute."""
LATE = 3
"""What a slow machine asks late, and what pruning reads."""
STATEMENT = re.compile(r"LOG:  (?:execute [^:]*|statement):((?:.*\n)(?:\t.*\n)*)")
FIRST_USE = ("typeinfo_tree", "current_setting('jit')")
"""What asyncpg asks once in a connection, when it first meets a type."""
FUTURE = [task(f"future-{n}", command("echo"), delay=3600 + n) for n in range(100)]


@pytest.fixture
def talkative_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that logs every statement."""
    with PostgresServer(settings={"log_statement": "all"}) as server:
        yield server


@pytest.fixture
async def idle_fleet(
    processes: Processes, talkative_server: PostgresServer, tmp_path: Path
) -> AsyncIterator[Fleet]:
    talkative_server.create_database("tasks")
    fleet = Fleet(processes, talkative_server.dsn("tasks"), tmp_path)
    fleet.settings = {}
    yield fleet
    await fleet.close()


async def test_an_idle_manager_asks_its_database_about_once_a_second(
    idle_fleet: Fleet,
    talkative_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    of_sqlite, of_postgres = await asyncio.gather(
        asked_of_sqlite(monkeypatch, tmp_path), asked_of_postgres(idle_fleet, talkative_server)
    )
    for asked, seconds in (of_sqlite, of_postgres):
        pruning = [sql for sql in asked if "DELETE FROM" in sql]
        assert len(pruning) <= PRUNING, asked
        rest = [sql for sql in asked if sql not in pruning]
        assert 1 < len(rest) <= 1.4 * seconds + LATE, rest


async def window() -> float:
    """Wait, and return for how long."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    await asyncio.sleep(WINDOW_SECONDS)
    return clock() - begun


async def asked_of_postgres(fleet: Fleet, server: PostgresServer) -> tuple[list[str], float]:
    """What an idle manager with an idle executor asks, according to the server's log."""
    manager = await fleet.manager()
    await fleet.executor(manager)
    await fleet.client(manager).tasks.m_create(FUTURE)
    await asyncio.sleep(SETTLE_SECONDS)
    before = len(server.log)
    seconds = await window()
    asked = STATEMENT.findall(server.log[before:])
    return [sql for sql in asked if not any(known in sql for known in FIRST_USE)], seconds


async def asked_of_sqlite(monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[list[str], float]:
    """The same, according to SQLite's own trace; BEGIN and COMMIT ask nothing."""
    asked: list[str] = []
    connect = connection.connect

    def traced(path: str, *, readonly: bool = False) -> sqlite3.Connection:
        db = connect(path, readonly=readonly)
        db.set_trace_callback(asked.append)
        return db

    monkeypatch.setattr("kaiju_tasks.store.sqlite.store.connect", traced)
    settings = load_settings(environ={}, overrides={"db": f"sqlite:///{folder}/tasks.db"})
    async with embedded(settings) as inside, link_executors(inside, [executor]):
        await inside.call("tasks.m_create", data=FUTURE)
        await asyncio.sleep(SETTLE_SECONDS)
        asked.clear()
        seconds = await window()
        return [sql for sql in asked if not sql.startswith(("BEGIN", "COMMIT"))], seconds
