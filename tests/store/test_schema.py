"""The schema: equal to its migrations, alike in both dialects, and no place for impossible rows."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec import Raw

from kaiju_tasks.lifecycle import Attempt, RunRecord, Step
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Store, StoreError, StoreRefused
from kaiju_tasks.store.columns import (
    AUDIT_COLUMNS,
    EXECUTOR_COLUMNS,
    NOTIFICATION_COLUMNS,
    ROW_COLUMNS,
)
from kaiju_tasks.store.migrations import Applied, Migration, load_migrations, statuses, to_apply
from kaiju_tasks.store.open import make_store, migrate, migration_status
from kaiju_tasks.store.postgres import migrating as postgres_migrating
from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.postgres.saving import SQL as POSTGRES_SQL
from kaiju_tasks.store.sqlite.saving import SQL as SQLITE_SQL
from kaiju_tasks.types import Outcome, TaskStatus
from tests.store.making import add, new_step
from tests.store.schema_dump import EXPECTED, dump_postgres, dump_sqlite, file_of
from tests.support.postgres import Postgres
from tests.support.processes import ROOT

POSTGRES_ONLY = {"tasks.failed_method", "tasks_failed_method"}
"""What decision 60 leaves out of SQLite."""


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


async def test_the_postgres_schema_is_what_the_migrations_make(postgres_dsn: str) -> None:
    await migrate(postgres_dsn)
    assert await dump_postgres(postgres_dsn) == (EXPECTED / "postgres.txt").read_text()


async def test_indexes_of_a_live_database_are_built_before_without_blocking_it(
    postgres_dsn: str,
) -> None:
    """Those that docs/operations.md names are what the migration would build."""
    text = (ROOT / "docs" / "operations.md").read_text()
    statements = re.findall(r"`(CREATE INDEX CONCURRENTLY [^`]*;)`", text)
    assert len(statements) == 2
    known = [one for one in postgres_migrating.MIGRATIONS if one.version < 29]
    connection = await asyncpg.connect(postgres_dsn)
    try:
        session = Connection(connection, "kaiju", lambda name, why: None, 30)
        await postgres_migrating.migrate(session, None, known)
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
    await migrate(postgres_dsn)
    assert await dump_postgres(postgres_dsn) == (EXPECTED / "postgres.txt").read_text()


async def test_the_sqlite_schema_is_what_the_migrations_make(sqlite_url: str) -> None:
    await migrate(sqlite_url)
    assert dump_sqlite(file_of(sqlite_url)) == (EXPECTED / "sqlite.txt").read_text()


async def test_both_dialects_have_the_same_tables_columns_indexes_and_checks(
    postgres_dsn: str, sqlite_url: str
) -> None:
    await migrate(postgres_dsn)
    await migrate(sqlite_url)
    dump = (await dump_postgres(postgres_dsn)).splitlines()
    columns = {line.split()[1] for line in dump if line.startswith("column")}
    names = {line.split()[1].partition(".")[2] for line in dump if line.startswith("constraint")}
    indexes = {line.split("INDEX ")[1].split()[0] for line in dump if line.startswith("index")}
    with closing(sqlite3.connect(file_of(sqlite_url))) as db:
        assert columns - POSTGRES_ONLY == set(sqlite_columns(db))
        indexes -= names | POSTGRES_ONLY
        assert {name for name in indexes if not name.endswith("_pkey")} == {
            name
            for (name,) in db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
            )
        }
        text = dump_sqlite(file_of(sqlite_url))
    for name in names:
        assert name.endswith("_pkey") or f"CONSTRAINT {name} " in text


def sqlite_columns(db: sqlite3.Connection) -> Iterator[str]:
    for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        for column in db.execute(f"PRAGMA table_info({table})"):
            yield f"{table}.{column[1]}"


@pytest.mark.parametrize("sql", [SQLITE_SQL, POSTGRES_SQL], ids=["sqlite", "postgres"])
def test_statements_name_the_columns_in_the_order_of_the_structs(sql: Any) -> None:
    tasks = ", ".join(f"t.{name}" for name in ROW_COLUMNS)
    executors = ", ".join(f"e.{name}" for name in EXECUTOR_COLUMNS)
    for name in ("lock", "lock_due", "lock_ready", "lock_suspect", "lock_leased"):
        assert tasks in " ".join(sql[name].split())
    for name in ("lock_executor", "lock_expired", "executors"):
        assert executors in " ".join(sql[name].split())


def test_columns_that_are_written_stand_in_the_order_of_the_structs() -> None:
    written = {
        "tasks": ROW_COLUMNS,
        "runs": RunRecord.__struct_fields__,
        "notifications": NOTIFICATION_COLUMNS,
        "audit": AUDIT_COLUMNS,
    }
    assert {name: POSTGRES_SQL.columns[name] for name in written} == written


@pytest.mark.parametrize("sql", [SQLITE_SQL, POSTGRES_SQL], ids=["sqlite", "postgres"])
def test_every_statement_is_described(sql: Any) -> None:
    assert [name for name in sql if not sql.about[name]] == []


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "an unknown status": {"status": "RUNNING"},
    "finished without exit code": {"status": "FINISHED"},
    "finished with exit code 1": {"status": "FINISHED", "exit_code": 1},
    "failed with exit code 0": {"status": "FAILED", "exit_code": 0, "error": "{}"},
    "failed without exit code": {"status": "FAILED", "error": "{}"},
    "failed without error": {"status": "FAILED", "exit_code": 1},
    "waiting with an executor": {"status": "WAITING", "executor_id": "e"},
    "idle with a nonce": {"status": "IDLE", "nonce": "n"},
    "queued with an executor": {"executor_id": "e"},
    "executed without executor": {"status": "EXECUTED", "nonce": "n", "exec_deadline": 1.0},
    "executed without nonce": {"status": "EXECUTED", "executor_id": "e", "exec_deadline": 1.0},
    "executed without deadline": {"status": "EXECUTED", "executor_id": "e", "nonce": "n"},
    "executed without job": {
        "status": "EXECUTED", "executor_id": "e", "nonce": "n", "exec_deadline": 1.0,
        "job_id": None,
    },
    "executed and ready": {
        "status": "EXECUTED", "executor_id": "e", "nonce": "n", "exec_deadline": 1.0, "ready": 1,
    },
    "queued with a deadline of its stage": {"stage_deadline": 1.0},
    "waiting and ready": {"status": "WAITING", "ready": 1},
    "ready in a way nobody knows": {"ready": 3},
    "queued without a moment": {"queued_at": None},
    "suspended without held": {"status": "SUSPENDED"},
    "held without being suspended": {"held": "QUEUED"},
    "more stages done than there are": {"stage": 2},
    "a negative stage": {"stage": -1},
    "no stages": {"stages": 0},
    "101 stages": {"stages": 101},
    "11 retries": {"retries": 11},
    "a negative epoch": {"epoch": -1},
}  # fmt: skip


@pytest.mark.parametrize("fields", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
async def test_the_schema_refuses(store: Store, fields: dict[str, Any]) -> None:
    await add(store, "a")
    row = (await store.tasks(["a"], ALL_SIGHT))["a"].row
    defaults = {"ready": 0} if "status" in fields else {}
    bad = msgspec.structs.replace(row, **{**defaults, **fields})

    async def save() -> None:
        async with store.transaction() as tx:
            await tx.lock(["a"])
            await tx.save([Step(bad)])

    with pytest.raises(StoreError, match="refused"):
        await save()
    assert (await store.tasks(["a"], ALL_SIGHT))["a"].row == row


def attempt(**fields: Any) -> Attempt:
    made = Attempt("j", 0, 0, 1, "m", None, None, None, None, 1.0, Outcome.FINISHED)
    return msgspec.structs.replace(made, **{"result": Raw(b"1"), **fields})


def run(**fields: Any) -> RunRecord:
    made = RunRecord("r", "a", "j", "FINISHED", None, None, None, 1.0, 0, None, 0, 1, 1, None)
    return msgspec.structs.replace(made, **fields)


@pytest.mark.parametrize(
    "step",
    [
        {"attempts": [attempt(), attempt(attempt=2)]},
        {"attempts": [attempt(outcome=Outcome.FAILED, result=None)] * 2},
        {"attempts": [attempt(result=None)]},
        {"attempts": [attempt(outcome=Outcome.FAILED)]},
        {"attempts": [attempt(stage=100)]},
        {"runs": [run(exit_code=1)]},
        {"runs": [run(status="FAILED", exit_code=1, error=None)]},
        {"runs": [run(status="MISSED")]},
        {"runs": [run(), run(ended_at=2.0)]},
    ],
)
async def test_the_schema_refuses_impossible_history(store: Store, step: dict[str, Any]) -> None:
    await add(store, "a")

    async def save() -> None:
        async with store.transaction() as tx:
            row = (await tx.lock(["a"]))["a"]
            await tx.save([Step(row, **step)])

    with pytest.raises(StoreError, match="refused"):
        await save()


async def test_an_ended_task_may_get_fewer_commands_than_it_has_results(store: Store) -> None:
    async with store.transaction() as tx:
        step = new_step("a", tx.now)
        row = step.row
        row.status, row.exit_code, row.ready, row.open = TaskStatus.FINISHED, 0, 0, False
        row.stage, row.stages = 3, 1
        await tx.insert([step])


# migrations


async def test_an_old_database_is_refused_without_migrate_and_mended_with(
    new_store_url: str,
) -> None:
    store = make_store(new_store_url)
    with pytest.raises(StoreRefused, match="kaiju-tasks db migrate"):
        await store.open(migrate=False)
    pending = await migration_status(new_store_url)
    assert {one.state for one in pending} == {"pending"}
    done = await migrate(new_store_url)
    assert {one.state for one in done} == {"applied"}
    assert await migrate(new_store_url) == done
    await store.open(migrate=False)
    await store.close()


async def test_a_newer_database_is_refused(store_url: str) -> None:
    await migrate(store_url)
    statement = "INSERT INTO kaiju_migrations VALUES (9999, 'future', 'x', 1.0)"
    if store_url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(store_url))) as db:
            db.execute(statement)
            db.commit()
    else:
        connection = await asyncpg.connect(store_url)
        await connection.execute(statement)
        await connection.close()
    for checked in (True, False):
        with pytest.raises(StoreRefused, match=r"newer than this program.*9999"):
            await make_store(store_url).open(migrate=checked)
    assert (await migration_status(store_url))[-1].state == "unknown"


def test_a_migration_that_was_changed_is_refused() -> None:
    known = [Migration(1, "init", "CREATE TABLE x"), Migration(2, "more", "CREATE TABLE y")]
    applied = [Applied(1, "init", "another", 1.0)]
    with pytest.raises(StoreRefused, match="Migration 1"):
        to_apply(known, applied)
    assert [one.state for one in statuses(known, applied)] == ["changed", "pending"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_migrations_are_numbered_without_gaps(kind: str) -> None:
    found = load_migrations(f"kaiju_tasks.store.{kind}")
    assert [one.version for one in found] == list(range(1, len(found) + 1))
    names = [one.name for one in load_migrations("kaiju_tasks.store.sqlite")]
    assert [one.name for one in found] == names


async def test_a_failing_migration_leaves_nothing(postgres_dsn: str) -> None:
    raw = await asyncpg.connect(postgres_dsn)
    connection = Connection(raw, "test", lambda name, reason: None, None)
    broken = [Migration(1, "init", "CREATE TABLE half (a int); SELECT nonsense")]
    with pytest.raises(StoreError, match="nonsense"):
        await postgres_migrating.migrate(connection, None, broken)
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    assert await postgres_migrating.applied(connection) == []
    await raw.close()


async def test_a_schema_is_created_and_separate(postgres_dsn: str) -> None:
    first, second = (make_store(f"{postgres_dsn}?schema={name}") for name in ("one", "Two"))
    await first.open()
    await second.open()
    await add(first, "a")
    assert await second.count([], ALL_SIGHT) == 0
    assert await first.count([], ALL_SIGHT) == 1
    await first.close()
    await second.close()


async def test_tables_of_another_program_are_not_touched(
    postgres_dsn: str, postgres_server: Postgres
) -> None:
    postgres_server.query("CREATE TABLE tasks (mine int)", dsn=postgres_dsn)
    with pytest.raises(StoreRefused, match="schema=kaiju"):
        await make_store(postgres_dsn).open()
