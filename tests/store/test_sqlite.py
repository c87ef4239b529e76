"""What only SQLite has: one file, one thread, one manager."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Ping, StoreRefused, StoreUnavailable, TransactionConflict
from kaiju_tasks.store.open import make_store, migrate, migration_status
from kaiju_tasks.store.sqlite import connection
from kaiju_tasks.store.sqlite.saving import SQL
from tests.store.making import acquire, add, connect, finish, new_step
from tests.support.stepped import stepped_store
from tests.support.wait import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


async def test_a_second_manager_on_the_file_is_refused(path: Path) -> None:
    first, second = make_store(f"sqlite:///{path}"), make_store(f"sqlite:///{path}")
    await first.open()
    with pytest.raises(StoreRefused, match="Another manager is using"):
        await second.open()
    with pytest.raises(StoreRefused, match="Another manager is using"):
        await migrate(f"sqlite:///{path}")
    assert (await migration_status(f"sqlite:///{path}"))[0].state == "applied"
    await first.close()
    await second.open()
    await second.close()


async def test_a_store_beside_a_manager_works_but_never_migrates(path: Path) -> None:
    manager = make_store(f"sqlite:///{path}")
    await manager.open()
    beside = make_store(f"sqlite:///{path}", beside=True)
    await beside.open()
    async with beside.transaction() as tx:
        await tx.lock_tokens()
    assert (await manager.credential(None)).revision == 1
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM kaiju_migrations WHERE version > 1")
        db.commit()
    with pytest.raises(StoreRefused, match="kaiju-tasks db migrate"):
        await make_store(f"sqlite:///{path}", beside=True).open()
    await beside.close()
    await manager.close()
    alone = make_store(f"sqlite:///{path.with_name('new.db')}", beside=True)
    await alone.open()
    assert (await alone.credential(None)).revision == 0
    await alone.close()


async def test_a_store_beside_locks_out_a_manager_only_when_it_was_first(path: Path) -> None:
    beside, manager = make_store(f"sqlite:///{path}", beside=True), make_store(f"sqlite:///{path}")
    await beside.open()
    with pytest.raises(StoreRefused, match="Another manager is using"):
        await manager.open()
    await beside.close()
    await manager.open()
    await manager.close()


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    path.touch(0o644)
    path.chmod(0o664)
    store = make_store(f"sqlite:///{path}")
    await store.open()
    await add(store, "a")
    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in path.parent.iterdir()}
    assert modes.keys() == {"tasks.db", "tasks.db-wal", "tasks.db-shm", "tasks.db.lock"}
    assert set(modes.values()) == {"0o600"}
    await store.close()


HOLD = """
import asyncio, sys
from kaiju_tasks.store.open import make_store
from tests.store.making import add

async def main() -> None:
    store = make_store(sys.argv[1])
    await store.open()
    for number in range(10**9):
        await add(store, f"t{number:09}")
        print(number, flush=True)

asyncio.run(main())
"""


async def test_kill_9_loses_nothing_that_was_acknowledged_and_frees_the_file(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        seen = [int(process.stdout.readline()) for _ in range(50)]
    finally:
        process.kill()
    rest, _ = process.communicate()
    acknowledged = seen + [int(line) for line in rest.split("\n")[:-1]]
    store = make_store(f"sqlite:///{path}")
    await store.open()
    stored = await store.count([], ALL_SIGHT)
    assert stored in (len(acknowledged), len(acknowledged) + 1)
    await store.close()


async def test_a_commit_is_on_disk_and_the_journal_is_a_wal(path: Path) -> None:
    with closing(connection.connect(str(path))) as db:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert values == ["wal", 2, 1, 5000]


async def test_reads_do_not_wait_for_a_transaction(path: Path) -> None:
    store = make_store(f"sqlite:///{path}")
    await store.open()
    await add(store, "a")
    async with store.transaction() as tx:
        await tx.insert([new_step("b", tx.now)])
        assert set(await store.tasks(["a", "b"], ALL_SIGHT)) == {"a"}
    assert set(await store.tasks(["a", "b"], ALL_SIGHT)) == {"a", "b"}
    await store.close()


async def test_transactions_exclude_each_other(path: Path) -> None:
    store = make_store(f"sqlite:///{path}")
    await store.open()
    order: list[str] = []

    async def work(name: str) -> None:
        async with store.transaction() as tx:
            order.append(f"{name} in")
            await tx.lock(["a"])
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(work("1"), work("2"), work("3"))
    assert order == ["1 in", "1 out", "2 in", "2 out", "3 in", "3 out"]
    await store.close()


async def test_a_cancelled_transaction_leaves_nothing_and_blocks_nobody(path: Path) -> None:
    store = make_store(f"sqlite:///{path}")
    await store.open()
    inside = asyncio.Event()

    async def hang() -> None:
        async with store.transaction() as tx:
            await tx.insert([new_step("a", tx.now)])
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await add(store, "a")
    await store.close()


async def test_inline_means_no_threads(path: Path) -> None:
    for url in (f"sqlite:///{path}", "sqlite://:memory:"):
        before = threading.active_count()
        store = make_store(url, inline=True, clock=lambda: 1000.0)
        await store.open()
        await add(store, "a")
        await connect(store)
        (row,) = await finish(store, await acquire(store))
        assert threading.active_count() == before
        assert (row.status_change, await store.now()) == (1000.0, 1000.0)
        await store.close()


async def test_a_memory_store_keeps_its_tasks_until_it_is_closed() -> None:
    store = make_store("sqlite://:memory:")
    await store.open()
    await add(store, "a")
    assert set(await store.tasks(["a"], ALL_SIGHT)) == {"a"}
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.tasks(["a"], ALL_SIGHT)


async def test_two_memory_stores_are_two() -> None:
    first, second = make_store("sqlite://:memory:"), make_store("sqlite://:memory:")
    await first.open()
    await second.open()
    await add(first, "a")
    assert await second.count([], ALL_SIGHT) == 0
    await first.close()
    await second.close()


async def test_threads_end_with_the_store(path: Path) -> None:
    before = threading.active_count()
    store = make_store(f"sqlite:///{path}")
    await store.open()
    assert threading.active_count() > before
    await store.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("kaiju-sqlite")]


async def test_a_foreign_writer_makes_a_conflict(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_MS", 1)
    store = make_store(f"sqlite:///{path}")
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransactionConflict):
            await add(store, "a")
        other.execute("ROLLBACK")
    await add(store, "a")
    await store.close()


async def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_text("this is no database at all, but a text of some length" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await make_store(f"sqlite:///{path}").open()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no-such-folder"):
        await make_store(f"sqlite:///{tmp_path}/no-such-folder/tasks.db").open()


async def test_the_status_of_a_missing_file_does_not_create_it(path: Path) -> None:
    assert (await migration_status(f"sqlite:///{path}"))[0].state == "pending"
    assert not path.exists()


async def test_there_is_nobody_to_wake(path: Path) -> None:
    store = make_store(f"sqlite:///{path}")
    await store.open()
    async with store.listen(lambda topics: pytest.fail("nobody is there")):
        await store.wake(["x"])
        await store.send([b"{}"])
    await store.close()


PLANS = {
    "lock": "sqlite_autoindex_tasks_1",
    "lock_due": "tasks_due",
    "lock_ready": "tasks_ready",
    "lock_suspect": "tasks_suspect",
    "lock_leased": "tasks_leased",
    "result": "sqlite_autoindex_stages_1",
    "run_results": "sqlite_autoindex_stages_1",
    "definitions": "sqlite_autoindex_definitions_1",
    "runs": "runs_task",
    "prunable_runs": "runs_ended",
    "inboxes": "sqlite_autoindex_inbox_1",
}


@pytest.mark.parametrize("name", PLANS)
async def test_a_statement_uses_its_index(path: Path, name: str) -> None:
    await migrate(f"sqlite:///{path}")
    with closing(connection.connect(str(path))) as db:
        values = ("[]", 1, 1, 1)[: SQL[name].count("?")]
        plan = "\n".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values))
    assert PLANS[name] in plan
    assert "SCAN t" not in plan
    if name in ("lock_due", "lock_ready", "lock_suspect", "runs"):
        assert "TEMP B-TREE FOR ORDER BY" not in plan.partition("SCAN")[0]


async def test_a_closed_store_can_be_opened_again(path: Path) -> None:
    store = make_store(f"sqlite:///{path}")
    await store.open()
    await add(store, "a")
    await store.close()
    await store.open()
    assert set(await store.tasks(["a"], ALL_SIGHT)) == {"a"}
    await wait_until(lambda: store.count([], ALL_SIGHT), "it can be read")
    await store.close()


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_times_are_read_after_the_wait_for_a_step_of_the_clock(
    path: Path, step: float
) -> None:
    store, set_clock = await stepped_store(f"sqlite:///{path}")
    await store.open()
    await connect(store)
    async with store.transaction():
        await set_clock(step)
        following = asyncio.create_task(store.now())
        await asyncio.sleep(0)
        ping = asyncio.create_task(store.ping([Ping("e1", "s1", 1)], 15.0))
        seen = asyncio.create_task(store.manager_seen("m1", 15.0))
        await asyncio.sleep(0)
    await following
    await ping
    (executor,) = await store.executors(ALL_SIGHT)
    assert executor.lease_until == pytest.approx(store.clock() + 15.0, abs=600)
    assert (await seen).now == pytest.approx(store.clock(), abs=600)
    await store.close()
