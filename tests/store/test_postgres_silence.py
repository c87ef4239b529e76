"""Connections to PostgreSQL that fall silent, break, or lead to a server that is read-only."""

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import StoreUnavailable
from kaiju_tasks.store.open import migration_status
from kaiju_tasks.store.postgres import PostgresStore, migrating
from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.postgres.connector import OURS
from kaiju_tasks.store.postgres.leftovers import Leftovers
from tests.store.making import add, new_step
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy, proxy
from tests.support.wait import PATIENCE_SECONDS, wait_until

SOON = Bounds(
    connect_seconds=10,
    doubt_seconds=0.2,
    look_seconds=0.05,
    probe_seconds=1.0,
    idle_seconds=2.0,
    close_seconds=0.5,
)
QUESTION = "SELECT 'a statement of its own'"
_STALLED = """
SELECT pid FROM pg_stat_activity
WHERE application_name = $1 AND state = 'active' AND wait_event = 'ClientRead'
"""
_WAITS_FOR_A_LOCK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
NEVER = 4 * PATIENCE_SECONDS
"""A test that waits for so long has failed."""


@pytest.fixture
async def way(postgres_dsn: str) -> AsyncIterator[Proxy]:
    async with proxy(urlsplit(postgres_dsn).port or 0) as opened:
        yield opened


@pytest.fixture
def url(postgres_dsn: str, way: Proxy) -> str:
    parts = urlsplit(postgres_dsn)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{way.port}")).geturl()


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    made = PostgresStore(url, bounds=SOON)
    await made.open()
    yield made
    await made.close()


async def use_all_connections(store: PostgresStore) -> None:
    """Open all the connections of a store; afterwards none is in use."""
    everybody = asyncio.Barrier(4)

    async def use() -> None:
        async with store.transaction():
            await everybody.wait()

    await asyncio.gather(*(use() for _ in range(4)))


@pytest.mark.parametrize("answers_only", [False, True])
async def test_silent_connections_cost_one_wait_and_are_all_left(
    store: PostgresStore, way: Proxy, answers_only: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await use_all_connections(store)
    way.silence(answers_only=answers_only)
    with pytest.raises(StoreUnavailable, match=r"was silent for .* the database works") as raised:
        await add(store, "a")
    assert raised.value.brief == "the database does not answer"
    for name in "bcde":
        await add(store, name)
    assert [record.message for record in caplog.records if "silent" in record.message] == [
        "left a connection to the database, and 3 unused: " + str(raised.value)
    ]


async def test_a_read_is_repeated_on_another_connection(store: PostgresStore, way: Proxy) -> None:
    await add(store, "a")
    way.silence()
    assert set(await store.tasks(["a"], ALL_SIGHT)) == {"a"}


async def test_a_commit_that_is_not_answered_is_in_doubt(store: PostgresStore, way: Proxy) -> None:
    async def insert() -> None:
        async with store.transaction() as tx:
            await tx.insert([new_step("a", tx.now)])
            way.silence(answers_only=True)

    with pytest.raises(StoreUnavailable) as raised:
        await insert()
    assert raised.value.unknown
    assert set(await store.tasks(["a"], ALL_SIGHT)) == {"a"}


async def test_the_locks_of_a_silent_transaction_are_released(
    store: PostgresStore, way: Proxy
) -> None:
    async def lock_twice() -> None:
        async with store.transaction() as tx:
            await tx.lock(["a"])
            way.silence()
            await tx.lock(["a"])

    await add(store, "a")
    with pytest.raises(StoreUnavailable):
        await lock_twice()
    async with store.transaction() as tx:
        assert set(await tx.lock(["a"])) == {"a"}


async def test_the_locks_of_a_connection_that_fell_silent_inside_a_statement_are_released(
    store: PostgresStore, way: Proxy, postgres_dsn: str
) -> None:
    """Its process waits for the parameters of a prepared statement, without any limit of time."""

    async def lock_and_ask() -> None:
        async with store.transaction() as tx:
            await tx.lock(["a"])
            way.silent_after = QUESTION.encode()
            await tx._connection.fetch(QUESTION)

    await add(store, "a")
    with pytest.raises(StoreUnavailable):
        await lock_and_ask()
    way.silent_after = None
    observer = await asyncpg.connect(postgres_dsn)
    await wait_until(lambda: _may_lock(observer, "a"), "the lock is released")  # nobody waits
    await observer.close()


async def test_a_silent_connection_that_waited_for_a_lock_is_left_soon_after_the_first_one(
    url: str, way: Proxy, postgres_dsn: str
) -> None:
    """Once one connection was silent, no statement of the others is left in peace for so long."""
    bounds = Bounds(doubt_seconds=NEVER, look_seconds=0.05, idle_seconds=NEVER, lock_seconds=NEVER)
    store = PostgresStore(url, bounds=bounds)
    await store.open()
    await add(store, "a")
    observer = await asyncpg.connect(postgres_dsn)

    async with observer.transaction():
        locking = await _begin_to_wait(store, observer)
        way.silence()
        assert store._pool is not None
        store._pool._watch.found_silence()
    with pytest.raises(StoreUnavailable, match="was silent"):
        await locking
    await wait_until(lambda: _may_lock(observer, "a"), "the lock is released")
    await observer.close()
    await store.close()


async def test_a_process_that_gets_its_lock_after_its_connection_was_left_is_ended(
    url: str, way: Proxy, postgres_dsn: str
) -> None:
    bounds = Bounds(look_seconds=0.05, idle_seconds=NEVER, lock_seconds=NEVER)
    store = PostgresStore(url, bounds=bounds)
    await store.open()
    await add(store, "a")
    observer = await asyncpg.connect(postgres_dsn)
    pool = store._pool
    assert pool is not None

    async with observer.transaction():
        locking = await _begin_to_wait(store, observer)
        way.silence()
        [one] = [one for one in pool._used if one.asked_at is not None]
        looked_at = pool._leftovers._looked_at
        one.leave("The network is silent.", "the network is silent")
        with pytest.raises(StoreUnavailable, match="The network is silent"):
            await locking
        await wait_until(lambda: pool._leftovers._looked_at != looked_at, "it is looked at")
    await wait_until(lambda: _may_lock(observer, "a"), "the lock is released")
    await wait_until(lambda: not pool._leftovers.due, "nothing is left")
    await observer.close()
    await store.close()


async def test_the_locks_of_a_client_that_stands_still_inside_a_statement_are_released(
    store: PostgresStore, way: Proxy, url: str, postgres_dsn: str
) -> None:
    await add(store, "a")
    stopped = await asyncpg.connect(url, server_settings={"application_name": f"{OURS} stopped"})
    await stopped.execute("BEGIN; SELECT FROM tasks WHERE id = 'a' FOR UPDATE")
    way.silent_after = QUESTION.encode()
    asking = asyncio.create_task(stopped.fetch(QUESTION))
    observer = await asyncpg.connect(postgres_dsn)
    assert store._pool is not None
    store._pool._leftovers = _always_due()
    await wait_until(lambda: _may_lock(observer, "a"), "the lock is released")  # nobody waits
    stopped.terminate()
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await asking
    await observer.close()


async def test_a_client_of_another_program_is_left_alone(
    store: PostgresStore, way: Proxy, url: str, postgres_dsn: str
) -> None:
    name = f"{OURS}_report"
    other = await asyncpg.connect(url, server_settings={"application_name": name})
    way.silent_after = QUESTION.encode()
    asking = asyncio.create_task(other.fetch(QUESTION))
    observer = await asyncpg.connect(postgres_dsn)

    async def stalled() -> bool:
        return await observer.fetchval(_STALLED, name) is not None

    await wait_until(stalled, "it stands still")
    assert store._pool is not None
    leftovers = store._pool._leftovers = _always_due()
    leftovers.add("somebody")
    await wait_until(lambda: not leftovers._names, "processes were ended")
    assert await stalled()
    other.terminate()
    await asyncio.gather(asking, return_exceptions=True)
    await observer.close()


async def test_a_role_that_may_end_no_process_is_logged_once(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw = await asyncpg.connect(postgres_dsn)
    await raw.execute("REVOKE EXECUTE ON FUNCTION pg_terminate_backend FROM PUBLIC")
    await raw.execute("SET ROLE pg_read_all_stats")
    connection = Connection(raw, "test", lambda name, reason: None, None)
    leftovers = Leftovers(OURS, Bounds(), asyncio.get_running_loop().time)
    for name in "ab":
        leftovers.add(name)
        await leftovers.end(connection)
        assert not leftovers.due
    [record] = [record for record in caplog.records if "cannot end" in record.message]
    assert "permission denied" in record.message
    await raw.close()


def _always_due() -> Leftovers:
    bounds = Bounds(idle_seconds=0, statement_seconds=-1)
    return Leftovers(OURS, bounds, asyncio.get_running_loop().time)


async def _begin_to_wait(store: PostgresStore, observer: asyncpg.Connection) -> asyncio.Task[None]:
    """A transaction of the store that waits for the lock of a task, which the observer holds."""

    async def lock() -> None:
        async with store.transaction() as tx:
            await tx.lock(["a"])

    async def waits() -> bool:
        return bool(await observer.fetchval(_WAITS_FOR_A_LOCK))

    await observer.execute("SELECT FROM tasks WHERE id = 'a' FOR UPDATE")
    locking = asyncio.create_task(lock())
    await wait_until(waits, "it waits for the lock")
    return locking


async def _may_lock(observer: asyncpg.Connection, id: str) -> bool:
    locking = "SELECT id FROM tasks WHERE id = $1 FOR UPDATE SKIP LOCKED"
    return await observer.fetchval(locking, id) is not None


async def test_a_statement_that_takes_long_is_not_left(store: PostgresStore) -> None:
    await add(store, "a")
    locked, looks = asyncio.Event(), 0
    assert store._pool is not None
    watch = store._pool._watch
    look = watch._look

    async def counted(names: object) -> object:
        nonlocal looks
        looks += 1
        return await look(names)  # type: ignore[arg-type]

    watch._look = counted  # type: ignore[assignment]

    async def hold() -> None:
        async with store.transaction() as tx:
            await tx.lock(["a"])
            locked.set()
            await wait_until(lambda: looks >= 3, "three looks at the statement that waits")

    holding = asyncio.create_task(hold())
    await locked.wait()
    async with store.transaction() as tx:
        assert set(await tx.lock(["a"])) == {"a"}
    await holding


async def test_a_statement_without_end_is_given_up(url: str) -> None:
    store = PostgresStore(url, bounds=Bounds(doubt_seconds=0, look_seconds=0.05))
    await store.open()
    assert store._pool is not None
    async with store._pool.connection() as connection:
        connection.answer_seconds = 0.1
        with pytest.raises(StoreUnavailable, match="did not finish a statement"):
            await connection.fetch(f"SELECT pg_sleep({NEVER})")
    assert await store.now() > 0
    await store.close()


async def test_a_cancelled_caller_does_not_wait_for_a_silent_connection(
    url: str, way: Proxy
) -> None:
    bounds = Bounds(doubt_seconds=NEVER, probe_seconds=NEVER, close_seconds=0.1)
    store = PostgresStore(url, bounds=bounds)
    await store.open()
    for cancelled in (store.now(), _in_transaction(store)):
        way.silence()
        task = asyncio.create_task(cancelled)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE_SECONDS)
        assert task.cancelled()
    assert await store.now() > 0
    await asyncio.wait_for(store.close(), PATIENCE_SECONDS)


async def _in_transaction(store: PostgresStore) -> float:
    async with store.transaction() as tx:
        await asyncio.Event().wait()
    return tx.now


async def test_a_cancelled_statement_ends_and_its_connection_is_used_again(url: str) -> None:
    store = PostgresStore(url, connections=1)
    await store.open()
    assert store._pool is not None
    async with store._pool.connection() as connection:
        name = connection.name

    async def sleep() -> None:
        assert store._pool is not None
        async with store._pool.connection() as connection:
            await connection.fetch(f"SELECT pg_sleep({NEVER})")

    task = asyncio.create_task(sleep())
    observer = await asyncpg.connect(url)

    async def runs() -> bool:
        text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return bool(await observer.fetchval(text))

    await wait_until(runs, "it sleeps")
    task.cancel()
    async with store._pool.connection() as connection:
        assert connection.name == name
    assert not await runs()
    await observer.close()
    await store.close()


async def test_a_busy_pool_says_so(url: str) -> None:
    store = PostgresStore(url, connections=1, bounds=Bounds(free_seconds=0.1))
    await store.open()
    async with store.transaction():
        with pytest.raises(StoreUnavailable, match=r"All 1 connections .* were busy for 0\.1 s"):
            await store.now()
    await store.close()


async def test_a_connection_that_cannot_be_opened_gives_its_reason(url: str, way: Proxy) -> None:
    way.mute = True
    store = PostgresStore(url, bounds=Bounds(connect_seconds=0.2))
    with pytest.raises(StoreUnavailable, match=r"cannot be reached: TimeoutError\.$"):
        await store.open()


async def test_opening_and_the_status_do_not_wait_for_a_silent_connection(
    url: str, way: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "DEFAULT_BOUNDS", SOON)
    applied = migrating.applied

    async def silent(connection: Connection) -> object:
        way.silence()
        return await applied(connection)

    monkeypatch.setattr(migrating, "applied", silent)
    with pytest.raises(StoreUnavailable, match="was silent"):
        await PostgresStore(url, bounds=SOON).open()
    with pytest.raises(StoreUnavailable, match="was silent"):
        await migration_status(url)


async def test_a_store_is_closed_while_its_connections_are_silent(
    store: PostgresStore, way: Proxy
) -> None:
    await use_all_connections(store)
    async with store.listen(lambda topics: None):
        way.silence()
        waiting = asyncio.create_task(store.now())
        await asyncio.sleep(0)
        await asyncio.wait_for(store.close(), PATIENCE_SECONDS)
    with pytest.raises(StoreUnavailable):
        await waiting


async def test_a_silent_listener_connects_again_and_looks_at_everything(
    store: PostgresStore, way: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[frozenset[str]] = []
    async with store.listen(heard.append):
        way.silence()
        await wait_until(lambda: heard, "it listens again")
    assert heard == [frozenset()]
    (record,) = [one for one in caplog.records if "listens for wake-ups" in one.message]
    assert record.levelno == logging.WARNING
    assert record.message.endswith("cannot be reached: TimeoutError.")


async def test_a_read_only_server_is_left_and_the_primary_found(
    own_postgres_server: PostgresServer,
) -> None:
    server = own_postgres_server
    store = PostgresStore(server.create_database("tasks"))
    await store.open()
    await use_all_connections(store)

    async def read_only(value: str) -> None:
        await asyncio.to_thread(
            server.query, f"ALTER SYSTEM SET default_transaction_read_only = {value}"
        )
        await asyncio.to_thread(server.query, "SELECT pg_reload_conf()")

    async def refused() -> StoreUnavailable | None:
        try:
            await store.manager_seen("m", 1)
        except StoreUnavailable as error:
            return error
        return None

    await read_only("on")
    error = await wait_until(refused, "a write is refused")
    assert error is not None
    assert error.brief == "the database is read-only"
    assert str(error).startswith("The database is read-only: cannot execute INSERT")
    assert store._pool is not None
    assert store._pool._unused == []
    assert await store.now() > 0
    await read_only("off")

    async def written() -> bool:
        return await refused() is None

    await wait_until(written, "it can write again")
    await store.close()
