"""What only PostgreSQL has: plans, restarts, wake-ups, conflicts."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.lifecycle import Due, Step
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import (
    Ping,
    Store,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TransactionConflict,
)
from kaiju_tasks.store.base import MESSAGE_BYTES
from kaiju_tasks.store.open import make_store
from kaiju_tasks.store.postgres import PostgresStore
from kaiju_tasks.store.postgres.arrays import array_literal
from kaiju_tasks.store.postgres.listener import PAYLOAD_BYTES, Wakes, channel_of
from kaiju_tasks.store.postgres.saving import SQL
from tests.store.making import acquire, add, advance_all, connect, happen, new_step
from tests.store.plans import pages_of, plan_of
from tests.support.postgres import Postgres, PostgresServer
from tests.support.wait import wait_until


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[Store]:
    made = make_store(postgres_dsn)
    await made.open()
    yield made
    await made.close()


# plans

BULK = """
INSERT INTO tasks SELECT
    'bulk' || n, 'app' || n % 3, n % 5,
    CASE n % 4 WHEN 0 THEN 'QUEUED' WHEN 1 THEN 'EXECUTED' ELSE 'IDLE' END,
    NULL, true, CASE n % 4 WHEN 0 THEN 1 + (n % 8) / 4 ELSE 0 END, true, 0, 1,
    'job' || n, 0, 0, 0, 0, 0,
    CASE n % 4 WHEN 1 THEN 'n' END, CASE n % 4 WHEN 1 THEN 'e' || n % 100 END,
    NULL, false, false, CASE WHEN n % 4 > 0 THEN 4e9 + n END, NULL, NULL, false, 0, NULL, n,
    NULL, NULL, CASE n % 4 WHEN 1 THEN 5 END, 0, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, 1, 0
FROM generate_series(1, 100000) AS n;
INSERT INTO stages SELECT 'job' || n, 0, 0, 0, 'bulk' || n, 1, 'm', NULL, NULL, NULL, NULL, 1,
    'FINISHED', false, '1', NULL, false FROM generate_series(1, 100000) AS n;
INSERT INTO runs SELECT 'old' || n, 'bulk' || n, 'old' || n, 'FINISHED', NULL, NULL, NULL, n, 0,
    NULL, 0, 1, 1, NULL, NULL FROM generate_series(1, 100000) AS n;
INSERT INTO definitions SELECT 'bulk' || n, 1, '{}', '2026', NULL, NULL, NULL, false, false
FROM generate_series(1, 100000) AS n
"""


@pytest.fixture
async def bulk(postgres_dsn: str, store: Store) -> AsyncIterator[Any]:
    """A connection to a database with 100,000 tasks that nobody has analysed."""
    connection = await asyncpg.connect(postgres_dsn)
    for table in ("tasks", "stages", "runs", "definitions"):
        await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    await connection.execute(BULK)
    yield connection
    await connection.close()


IDS = [f"bulk{n}" for n in range(1, 501)]
ZEROS = array_literal([0] * 500)
PLANS: dict[str, tuple[list[Any], str]] = {
    "lock": ([IDS], "tasks_pkey"),
    "lock_due": ([500], "tasks_due"),
    "lock_ready": (["app1", 500, "e1", "s1"], "tasks_ready"),
    "lock_suspect": (["app1", 500, "e1", "s1"], "tasks_suspect"),
    "lock_at_gates": (["app1", 500, "e1", "s1", ["m:a", "m:b"], True], "tasks_gated"),
    "method_gates": (["", "", 1000], "tasks_gated"),
    "lock_leased": (["e1"], "tasks_leased"),
    "holders": ([["e1"]], "tasks_leased"),
    "definitions": ([IDS], "definitions_pkey"),
    "results": ([IDS, ZEROS, ZEROS], "stages_pkey"),
    "run_results": ([IDS, ZEROS], "stages_pkey"),
    "delete": ([IDS], "runs_task"),
}


async def test_statements_keep_to_their_indexes_right_after_a_bulk_load(bulk: Any) -> None:
    for name, (values, index) in PLANS.items():
        plan = await plan_of(bulk, name, values)
        assert index in plan, name
        for table in ("tasks", "stages", "runs", "definitions"):
            assert f"Seq Scan on {table}" not in plan, name
    for name in ("save", "save_hot", "save_history", "save_hot_history"):
        parameters = (await bulk.prepare(SQL[name])).get_parameters()
        plan = await plan_of(bulk, name, ["{}"] * len(parameters))
        assert "Index Scan using tasks_pkey" in plan, name
        assert "Seq Scan" not in plan, name


async def test_the_work_summary_reads_few_rows_of_a_backlog(bulk: Any) -> None:
    await bulk.execute("VACUUM tasks")
    assert await pages_of(bulk, "work_summary", []) < 200


async def test_an_acquisition_reads_few_of_the_tasks_that_wait_for_methods(bulk: Any) -> None:
    gate = "UPDATE tasks SET ready = 0, gate = 'm:' || $1 WHERE status = 'QUEUED' AND app_name = $2"
    for method, app_name in (("a", "app0"), ("b", "app1"), ("c", "app2")):
        await bulk.execute(gate, method, app_name)
    await bulk.execute("VACUUM tasks")
    for gates in (["m:a"], ["m:b"], ["m:a", "m:b", "m:c"]):
        assert await pages_of(bulk, "lock_at_gates", ["app1", 10, "e1", "s1", gates, True]) < 100
    assert await pages_of(bulk, "method_gates", ["", "", 1000]) < 100


# errors and outages


async def test_a_deadlock_is_a_conflict_and_nothing_was_written(store: Store) -> None:
    await add(store, "a", "b")
    both = asyncio.Barrier(2)

    async def touch(first: str, second: str) -> None:
        async with store.transaction() as tx:
            await tx.insert([new_step(f"by-{first}", tx.now)])
            await tx.lock([first])
            await both.wait()
            await tx.lock([second])

    outcomes = await asyncio.gather(touch("a", "b"), touch("b", "a"), return_exceptions=True)
    (conflict,) = [one for one in outcomes if one is not None]
    assert isinstance(conflict, TransactionConflict)
    assert len(await store.tasks(["by-a", "by-b"], ALL_SIGHT)) == 1


async def test_the_store_heals_after_a_restart_of_the_server(
    own_postgres_server: PostgresServer,
) -> None:
    store = make_store(own_postgres_server.dsn())
    await store.open()
    await add(store, "a")
    await asyncio.to_thread(own_postgres_server.restart, "immediate")
    await wait_until(lambda: _reached(store), "the store is back")
    await add(store, "b")
    assert set(await store.tasks(["a", "b"], ALL_SIGHT)) == {"a", "b"}
    await store.close()


async def _reached(store: Store) -> bool:
    try:
        await store.now()
    except StoreUnavailable:
        return False
    return True


async def test_an_unreachable_server_is_unavailable_everywhere(
    own_postgres_server: PostgresServer,
) -> None:
    store = make_store(own_postgres_server.dsn())
    await store.open()
    await asyncio.to_thread(own_postgres_server.stop, "immediate")
    for call in (
        store.now,
        store.work_summary,
        lambda: store.tasks(["a"], ALL_SIGHT),
        lambda: store.wake(["x"]),
    ):
        with pytest.raises(StoreUnavailable):
            await call()
    with pytest.raises(StoreUnavailable):
        await add(store, "a")
    with pytest.raises(StoreUnavailable):
        await make_store(own_postgres_server.dsn()).open()
    await store.close()


async def test_a_connection_killed_within_a_transaction_is_unavailable_and_known(
    store: Store, postgres_server: Postgres
) -> None:
    async def cut() -> None:
        async with store.transaction() as tx:
            await tx.insert([new_step("a", tx.now)])
            await asyncio.to_thread(_kill_others, postgres_server, store)
            await tx.lock(["a"])

    with pytest.raises(StoreUnavailable) as raised:
        await cut()
    assert raised.value.unknown is False
    await wait_until(lambda: _reached(store), "the store is back")
    assert await store.tasks(["a"], ALL_SIGHT) == {}


async def test_a_connection_that_breaks_during_the_commit_leaves_its_outcome_unknown(
    store: Store, postgres_server: Postgres
) -> None:
    async def cut() -> None:
        async with store.transaction() as tx:
            await tx.insert([new_step("a", tx.now)])
            _kill_others(postgres_server, store)  # the loop stands: COMMIT is sent before it knows

    with pytest.raises(StoreUnavailable) as raised:
        await cut()
    assert raised.value.unknown is True


def _kill_others(server: Postgres, store: Store) -> None:
    assert isinstance(store, PostgresStore)
    database = store._address.dsn.rpartition("/")[2]
    server.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database
    )


async def test_a_cancelled_transaction_leaves_the_pool_usable(postgres_dsn: str) -> None:
    store = make_store(postgres_dsn, connections=1)
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
    assert await store.tasks(["a"], ALL_SIGHT) == {}
    await add(store, "a")
    await store.close()


async def test_a_wrong_database_is_refused_in_words(postgres_server: Postgres) -> None:
    with pytest.raises(StoreRefused, match="does not exist"):
        await make_store(postgres_server.dsn("no_such_database")).open()


async def test_many_managers_open_a_fresh_database_at_once(postgres_dsn: str) -> None:
    stores = [make_store(f"{postgres_dsn}?schema=fresh") for _ in range(5)]
    await asyncio.gather(*(one.open() for one in stores))
    await add(stores[0], "a")
    assert await stores[4].count([], ALL_SIGHT) == 1
    await asyncio.gather(*(one.close() for one in stores))


async def test_pings_of_many_managers_do_not_deadlock(store: Store) -> None:
    for n in range(10):
        await connect(store, f"e{n}")
    pings = [Ping(f"e{n}", "s1", 1) for n in range(10)]
    await asyncio.gather(
        *(store.ping(pings[:: 1 if n % 2 else -1], 10) for n in range(12)),
    )


async def test_a_column_that_is_changed_back_in_the_same_transaction_is_saved(
    store: Store,
) -> None:
    await add(store, "a")
    async with store.transaction() as tx:
        row = (await tx.lock(["a"]))["a"]
        await tx.save([Step(msgspec.structs.replace(row, priority=9))])
        await tx.save([Step(row)])
    assert (await store.tasks(["a"], ALL_SIGHT))["a"].row.priority == row.priority


async def test_the_clock_is_the_databases(store: Store, postgres_server: Postgres) -> None:
    for _ in range(3):
        low = await _server_clock(postgres_server)
        async with store.transaction() as tx:
            assert tx.now == pytest.approx(low, abs=5)
            await tx.lock(["unknown"])
        assert low <= await store.now() <= await _server_clock(postgres_server)


async def _server_clock(server: Postgres) -> float:
    statement = "SELECT extract(epoch FROM clock_timestamp())::float8"
    rows = await asyncio.to_thread(server.query, statement)
    return float(rows[0][0])


async def test_due_and_acquired_rows_carry_a_moment_after_their_locks(store: Store) -> None:
    await add(store, "a")
    await connect(store)
    rows = await acquire(store)
    assert rows[0].status_change <= await store.now()
    step = await happen(store, "a", Due(job_id="x"))
    assert step.changed is False
    async with store.transaction() as tx:
        steps = await advance_all(tx, [], lambda row: Due(job_id="x"))
        await tx.save(steps)


# wake-ups


async def test_a_wake_is_heard_by_others_and_not_by_its_sender(postgres_dsn: str) -> None:
    first, second = make_store(postgres_dsn), make_store(postgres_dsn)
    await first.open()
    await second.open()
    heard: list[tuple[str, frozenset[str]]] = []
    async with (
        first.listen(lambda topics: heard.append(("first", topics))),
        second.listen(lambda topics: heard.append(("second", topics))),
    ):
        await first.wake(["b", "a", "b"])
        await second.wake(["c"])
        await wait_until(lambda: len(heard) == 2, "both have heard each other")
    assert dict(heard) == {"first": {"c"}, "second": {"a", "b"}}
    await first.close()
    await second.close()


async def test_messages_are_received_by_others_in_their_order(postgres_dsn: str) -> None:
    first, second = make_store(postgres_dsn), make_store(postgres_dsn)
    await first.open()
    await second.open()
    received: list[bytes] = []
    never: Any = pytest.fail
    messages = [b'{"number":%d,"text":"\xc3\xbc"}' % number for number in range(50)]
    messages.append(b'{"long":"%b"}' % (b"x" * (MESSAGE_BYTES - len('{"long":""}'))))
    async with first.listen(never, never), second.listen(never, received.append):
        await first.send(messages)
        await first.send([b"{}"])
        await wait_until(lambda: received[-1:] == [b"{}"], "all were received")
    assert received[:51] == messages
    await first.close()
    await second.close()


async def test_schemas_do_not_wake_each_other(postgres_dsn: str) -> None:
    urls = [f"{postgres_dsn}?schema={name}" for name in ("one", "one", "two")]
    stores = [make_store(url) for url in urls]
    heard: list[frozenset[str]] = []
    for one in stores:
        await one.open()
    async with stores[0].listen(heard.append):
        await stores[2].wake(["other"])
        await stores[1].wake(["mine"])
        await wait_until(lambda: heard, "its own schema's wake was heard")
    assert heard == [{"mine"}]
    for one in stores:
        await one.close()


async def test_a_listener_reconnects_and_then_looks_at_everything(
    store: Store, postgres_dsn: str, postgres_server: Postgres
) -> None:
    heard: list[frozenset[str]] = []
    other = make_store(postgres_dsn)
    async with store.listen(heard.append):
        await asyncio.to_thread(_kill_others, postgres_server, store)
        await wait_until(lambda: heard, "it is connected again")
        await other.open()
        await other.wake(["x"])
        await wait_until(lambda: len(heard) > 1, "it hears again")
    assert heard == [frozenset(), {"x"}]
    await other.close()


async def test_a_listener_waits_for_a_server_that_is_down(
    own_postgres_server: PostgresServer,
) -> None:
    store = make_store(own_postgres_server.dsn())
    await store.open()
    await asyncio.to_thread(own_postgres_server.stop, "immediate")
    heard: list[frozenset[str]] = []
    async with store.listen(heard.append):
        await asyncio.to_thread(own_postgres_server.start)
        await wait_until(lambda: heard, "it is connected")
    assert heard == [frozenset()]
    await store.close()


async def test_too_many_topics_mean_everything() -> None:
    async def never() -> Any:
        raise AssertionError

    wakes = Wakes(never)
    assert b'"topics":[]' in wakes.payload(f"stream-{n}" for n in range(2000)).encode()
    assert len(wakes.payload(["ü" * 3000]).encode()) <= PAYLOAD_BYTES


def test_a_channel_name_fits() -> None:
    assert channel_of("kaiju") == "kaiju_kaiju"
    assert len(channel_of("x" * 63).encode()) <= 63


# arrays


async def test_array_literals_come_back_as_they_were(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    columns: list[tuple[str, list[Any]]] = [
        (
            "text",
            ['"', "\\", "{}", "NULL", "null", "", None, "a,b", "\n\t\x01", "漢🦖", '\\"', " "],
        ),
        ("text", [None, None]),
        ("float8", [1.5, -0.0, 1e300, 5e-324, 0.1 + 0.2, None, 1763778000.123456]),
        ("bigint", [2**62, -1, None]),
        ("bool", [True, False, None]),
        ("int", []),
    ]
    for kind, values in columns:
        literal = array_literal(values)
        assert await connection.fetchval(f"SELECT $1::text::{kind}[]", literal) == values
    await connection.close()


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_an_array_literal_of_texts_can_be_read_back(values: list[str | None]) -> None:
    assert _read_array(array_literal(values)) == values


def _read_array(literal: str) -> list[str | None]:
    """Array input as the manual describes it."""
    found: list[str | None] = []
    rest = literal[1:-1]
    while rest:
        if rest[0] == '"':
            text, position = "", 1
            while rest[position] != '"':
                position += rest[position] == "\\"
                text += rest[position]
                position += 1
            found.append(text)
            rest = rest[position + 1 :]
        else:
            assert rest[:4].upper() == "NULL"
            found.append(None)
            rest = rest[4:]
        rest = rest[1:]
    return found


def test_errors_of_the_store_form_one_tree() -> None:
    for error in (StoreUnavailable, StoreRefused, TransactionConflict):
        assert issubclass(error, StoreError)
