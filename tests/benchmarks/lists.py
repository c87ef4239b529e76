"""Measures how long the calls take that list what a database with many tasks has.

`python -m tests.benchmarks.lists` fills a PostgreSQL or a SQLite with N tasks, 5 N runs and 15 N
stages (many.sql), starts a manager, and prints for each call the median and the 95th percentile of
the milliseconds until a client has its answer, and the CPU time that the manager and the backends
of the database have used for it on average, which other work on the machine does not change. Each
call is made with other values each time.
"""

import argparse
import asyncio
import contextlib
import random
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg

from kaiju_tasks import Client
from kaiju_tasks.bench.cpu import Meter
from kaiju_tasks.errors import KaijuError
from kaiju_tasks.store.open import migrate
from kaiju_tasks.store.sql import Statements
from tests.support.postgres import PostgresServer
from tests.support.processes import Processes

READY = r"^kaiju-tasks \S+ at http://127\.0\.0\.1:(\d+) "
GOAL_SECONDS = 0.15
FILL_SECONDS = 7200.0
SETTINGS = {"shared_buffers": "1GB", "maintenance_work_mem": "1GB", "max_wal_size": "8GB"}
FEW = {"executors": 40, "audit": 100_000, "bulks": 1_000, "marks": 1_000, "notifications": 50_000}
FEW |= {"versions": 10_000, "inbox": 500, "stats": 2_000}
"""How many rows other tables have, whatever the number of tasks; `stats` counts intervals."""
POSTGRES = """
-- fragment: numbers
WITH s (i) AS (SELECT generate_series(1, CAST($1 AS integer)))

-- fragment: created
to_char(to_timestamp(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')

-- fragment: labels
jsonb_build_object('team', 'team' || (t % 1001), 'env', 'prod')

"""
SQLITE = """
-- fragment: numbers
WITH RECURSIVE s (i) AS (
    SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < CAST($1 AS integer))

-- fragment: created
strftime('%Y-%m-%dT%H:%M:%f', at, 'unixepoch') || '000+00:00'

-- fragment: labels
json_object('team', 'team' || (t % 1001), 'env', 'prod')

"""
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
INDEXES = """
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS made,
    c.conname AS constraint_name, pg_get_constraintdef(c.oid) AS constraint_made
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid
WHERE i.indrelid = $1::text::regclass
"""
FIRST_FRAGMENT = "-- fragment:"
Params = dict[str, Any]
Make = Callable[[random.Random, int], Params]
Pids = Callable[[int], Awaitable[list[int]]]


def task_id(number: int) -> str:
    return f"{number * 2654435761 % 4294967296}-t"


def run_id(number: int) -> str:
    return f"{number * 2654435761 % 4294967296}-r"


def _where(**conditions: Any) -> Params:
    named = {name.replace("__", "."): value for name, value in conditions.items()}
    return {"conditions": named}


def _any(dice: random.Random, tasks: int) -> str:
    return task_id(dice.randint(1, tasks))


def _hour(dice: random.Random) -> Params:
    start = time.time() - dice.uniform(3600, 18 * 86_400)
    return {"ge": start, "lt": start + 3600}


LAST = {"sort": ["-status_change"]}
CALLS: dict[str, tuple[str, Make]] = {
    "tasks.list": ("tasks.list", lambda *_: {}),
    "tasks.list, page 201": ("tasks.list", lambda *_: {"offset": 10_000}),
    "tasks.list id": ("tasks.list", lambda d, n: _where(id=_any(d, n))),
    "tasks.list 100 ids": ("tasks.list", lambda d, n: _where(id=[_any(d, n) for _ in range(100)])),
    "tasks.list app_name": ("tasks.list", lambda d, _: _where(app_name=f"app{d.randrange(50)}")),
    **{
        f"tasks.list status={status}": (
            "tasks.list",
            lambda *_, status=status: _where(status=status) | LAST,
        )
        for status in ("FAILED", "WAITING", "SUSPENDED", "EXECUTED", "QUEUED")
    },
    "tasks.list status=FAILED, by created": ("tasks.list", lambda *_: _where(status="FAILED")),
    "tasks.list status=QUEUED, by created": ("tasks.list", lambda *_: _where(status="QUEUED")),
    "tasks.list status=EXECUTED, by created": ("tasks.list", lambda *_: _where(status="EXECUTED")),
    "tasks.list four statuses": (
        "tasks.list",
        lambda *_: _where(status=["QUEUED", "EXECUTED", "WAITING", "SUSPENDED"]),
    ),
    "tasks.list failed, of a stream": (
        "tasks.list",
        lambda d, _: _where(status="FAILED", app_name=f"app{d.randrange(50)}") | LAST,
    ),
    "tasks.list failed, error.type": (
        "tasks.list",
        lambda *_: _where(status="FAILED", error__type="stage_timeout") | LAST,
    ),
    "tasks.list failed, method": (
        "tasks.list",
        lambda *_: _where(status="FAILED", method="mail.send") | LAST,
    ),
    "tasks.list failed, by method": (
        "tasks.list",
        lambda *_: _where(status="FAILED") | {"sort": ["method", "error.type", "status_change"]},
    ),
    "tasks.list group": ("tasks.list", lambda d, _: _where(group=f"group{d.randrange(1000)}")),
    "tasks.list label": ("tasks.list", lambda d, _: _where(label__team=f"team{d.randrange(1001)}")),
    "tasks.list cron": ("tasks.list", lambda *_: _where(cron="0 9 * * *") | {"sort": ["next_run"]}),
    "tasks.list parent_id": (
        "tasks.list",
        lambda d, n: _where(parent_id=task_id(d.randrange(n // 10) * 10 + 1)),
    ),
    "tasks.list created": (
        "tasks.list",
        lambda d, _: _where(created=_hour(d)),
    ),
    "tasks.list user_id of nobody": ("tasks.list", lambda *_: _where(user_id="nobody")),
    "tasks.list user_id": ("tasks.list", lambda d, _: _where(user_id=f"user{d.randrange(20)}")),
    "tasks.list executor_id": ("tasks.list", lambda *_: _where(executor_id="stored")),
    "tasks.count status=FAILED": ("tasks.count", lambda *_: _where(status="FAILED")),
    "tasks.m_explain, 50 ids": (
        "tasks.m_explain",
        lambda d, n: {"ids": [_any(d, n) for _ in range(50)]},
    ),
    "tasks.inbox": (
        "tasks.inbox",
        lambda d, n: {"id": task_id(d.randrange(max(1, min(100, n // 1000))) * 1000 + 50)},
    ),
    "tasks.family": ("tasks.family", lambda d, n: {"id": task_id(d.randrange(n // 10) * 10 + 9)}),
    "tasks.versions": ("tasks.versions", lambda d, _: {"id": task_id(d.randint(1, 500))}),
    "tasks.runs": ("tasks.runs", lambda d, n: {"id": _any(d, n)}),
    "tasks.stages": ("tasks.stages", lambda d, n: {"job_id": run_id(d.randint(1, 5 * n))}),
    "runs.list": ("runs.list", lambda *_: {}),
    "runs.list of an hour": ("runs.list", lambda d, _: _where(ended_at=_hour(d))),
    "runs.list failed": ("runs.list", lambda *_: _where(status="FAILED")),
    "runs.list failed, error.type": (
        "runs.list",
        lambda *_: _where(status="FAILED", error__type="stage_timeout"),
    ),
    "runs.list app_name": ("runs.list", lambda d, _: _where(app_name=f"app{d.randrange(50)}")),
    "runs.list group": ("runs.list", lambda d, _: _where(group=f"group{d.randrange(1000)}")),
    "runs.list label": ("runs.list", lambda d, _: _where(label__team=f"team{d.randrange(1001)}")),
    "runs.list executor_id": (
        "runs.list",
        lambda d, _: _where(executor_id=f"executor{d.randrange(40)}"),
    ),
    "runs.list task_id": ("runs.list", lambda d, n: _where(task_id=_any(d, n))),
    "runs.list cron": ("runs.list", lambda *_: _where(cron="0 9 * * *")),
    "runs.get": ("runs.get", lambda d, n: {"job_id": run_id(d.randint(1, 5 * n))}),
    "streams.list": ("streams.list", lambda *_: {}),
    "stats.series, an hour": (
        "stats.series",
        lambda *_: {
            "names": ["runs.finished", "runs.failed", "stages.seconds"],
            "start": time.time() - 3600,
            "end": time.time(),
        },
    ),
    "stats.series, a day of minutes": (
        "stats.series",
        lambda *_: {
            "names": ["runs.failed", "runs.run_seconds"],
            "start": time.time() - 86_400,
            "end": time.time(),
            "step": 600,
        },
    ),
    "stats.series, 80 days": (
        "stats.series",
        lambda *_: {
            "names": ["runs.failed", "runs.run_seconds"],
            "start": time.time() - 80 * 86_400,
            "end": time.time(),
            "step": 86_400,
        },
    ),
    "marks.list": ("marks.list", lambda *_: {}),
    "bulk.list": ("bulk.list", lambda *_: {}),
    "audit.list": ("audit.list", lambda *_: {}),
    "audit.list of a task": ("audit.list", lambda d, _: _where(target=_any(d, 100_000))),
    "audit.list of a day": ("audit.list", lambda *_: _where(at={"ge": time.time() - 86_400})),
    "notifications.list": ("notifications.list", lambda *_: {}),
    "executors.list": ("executors.list", lambda *_: {}),
    "schedules.upcoming": (
        "schedules.upcoming",
        lambda *_: {"start": time.time(), "end": time.time() + 86_400},
    ),
    "system.info": ("system.info", lambda *_: {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lists", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="at least 1,000")
    parser.add_argument("--db", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--only", default="", help="calls whose name contains this")
    parser.add_argument("--keep", action="store_true", help="keep the database until Enter")
    parser.add_argument("--filled", help="the URL of a database that is filled already")
    asyncio.run(measure(parser.parse_args()))


async def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="kaiju-lists-") as folder:
        made = contextlib.nullcontext(options.filled)
        async with (
            made if options.filled else filled(options.db, options.tasks, Path(folder)) as db,
            processes_of(db) as pids,
        ):
            processes = Processes(Path(folder))
            manager = processes.kaiju("serve", "--port", "0", "--db", db)
            url = f"http://127.0.0.1:{(await manager.logged(READY, 120))[1]}"
            try:
                async with Client(url) as client:
                    await calls(client, options, lambda: pids(manager.pid))
                if options.keep:
                    await asyncio.to_thread(input, f"{db} {url}\n")
            finally:
                manager.terminate()
                await manager.ended()


@contextlib.asynccontextmanager
async def processes_of(db: str) -> AsyncIterator[Pids]:
    """A function that returns the processes of a manager: itself, and those of PostgreSQL."""
    if not db.startswith("postgresql:"):

        async def alone(manager: int) -> list[int]:
            return [manager]

        yield alone
        return
    connection = await asyncpg.connect(db)

    async def both(manager: int) -> list[int]:
        return [manager, *(row[0] for row in await connection.fetch(BACKENDS))]

    yield both
    await connection.close()


async def calls(
    client: Client, options: argparse.Namespace, pids: Callable[[], Awaitable[list[int]]]
) -> None:
    print("| call | p50 ms | p95 ms | CPU ms |\n| --- | --- | --- | --- |", flush=True)
    dice = random.Random(1)
    for name, (method, make) in CALLS.items():
        if options.only not in name:
            continue
        seconds, refused = [], ""
        meter = Meter({"all": await pids()})
        for _ in range(options.calls):
            params = make(dice, options.tasks)
            began = time.perf_counter()
            try:
                await client.call(method, **params)
            except KaijuError as error:
                refused = f" {error.message}"
            seconds.append(time.perf_counter() - began)
            if sum(seconds) > 60:
                break
        meter.stop({"all": await pids()})
        used = meter.used["all"] / len(seconds)
        seconds.sort()
        p50, p95 = (seconds[int(len(seconds) * share)] for share in (0.5, 0.95))
        times = f"{p50 * 1000:.0f} | {p95 * 1000:.0f} | {used * 1000:.0f}"
        late = " (!)" if p95 > GOAL_SECONDS else ""
        print(f"| {name} | {times}{late}{refused} |", flush=True)


@contextlib.asynccontextmanager
async def filled(kind: str, tasks: int, folder: Path) -> AsyncIterator[str]:
    """A database with so many tasks, as its URL."""
    if kind == "sqlite":
        db = f"sqlite:///{folder}/tasks.db"
        await migrate(db)
        fill_sqlite(folder / "tasks.db", tasks)
        yield db
        return
    with PostgresServer(settings=SETTINGS) as server:
        db = server.create_database("lists")
        await migrate(db)
        await fill_postgres(db, tasks)
        yield db


def _rows(tasks: int) -> Iterator[tuple[str, int]]:
    yield from {"definitions": tasks, "tasks": tasks, "runs": 5 * tasks}.items()
    yield "stages", 15 * tasks
    yield from FEW.items()


async def fill_postgres(db: str, tasks: int) -> None:
    """Fill tables without their indexes, which are made afterwards."""
    sql = Statements(POSTGRES + _many())
    connection = await asyncpg.connect(db, command_timeout=FILL_SECONDS)
    try:
        for table, rows in _rows(tasks):
            began = time.perf_counter()
            indexes = await connection.fetch(INDEXES, table)
            for index in indexes:
                made = f"ALTER TABLE {table} DROP CONSTRAINT {index['constraint_name']}"
                if index["constraint_name"] is None:
                    made = f"DROP INDEX {index['name']}"
                await connection.execute(made)
            await connection.execute(sql[table], rows, tasks, time.time())
            for index in indexes:
                made = f"ALTER TABLE {table} ADD CONSTRAINT {index['constraint_name']} "
                made += str(index["constraint_made"])
                if index["constraint_name"] is None:
                    made = index["made"]
                await connection.execute(made)
            await connection.execute(f"VACUUM (ANALYZE) {table}")
            print(f"{table}: {rows:,} in {time.perf_counter() - began:.0f} s", flush=True)
    finally:
        await connection.close()


def fill_sqlite(path: Path, tasks: int) -> None:
    sql = Statements(SQLITE + _many())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -1000000")  # kB: the keys are in no order
        for table, rows in _rows(tasks):
            began = time.perf_counter()
            db.execute("BEGIN IMMEDIATE")
            db.execute(sql[table], {"1": rows, "2": tasks, "3": time.time()})
            db.execute("COMMIT")
            print(f"{table}: {rows:,} in {time.perf_counter() - began:.0f} s", flush=True)


def _many() -> str:
    text = (files("tests.benchmarks") / "many.sql").read_text()
    return text[text.index(FIRST_FRAGMENT) :]  # without the comment, which would end a fragment


if __name__ == "__main__":
    main()
