"""Audit records and notifications, as they are kept, listed and pruned: both stores."""

from typing import Any

import asyncpg
import msgspec
import pytest

from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Condition, PageQuery, Store
from kaiju_tasks.store import query as queries
from kaiju_tasks.store.open import migrate
from kaiju_tasks.store.postgres.dialect import PostgresDialect
from kaiju_tasks.types import AuditRecord
from tests.store.making import acquire, add, connect, definition, finish

FOREVER = 9e9


def record(id: str, **fields: Any) -> AuditRecord:
    defaults: dict[str, Any] = {
        "user_id": "u",
        "remote": "127.0.0.1",
        "action": "tasks.reset",
        "target": "t",
        "data": {},
    }
    return AuditRecord(id=id, **{**defaults, **fields})


async def write(store: Store, *records: AuditRecord) -> float:
    async with store.transaction() as tx:
        await tx.add_audit(records)
        return tx.now


async def test_a_record_comes_back_as_it_was_with_the_moment_it_was_written(store: Store) -> None:
    written = record("a", target="é\0", remote=None, data={"fields": ["kws"], "x": '"\\\u2028'})
    now = await write(store, written)
    (read,), total = await store.audit(PageQuery(), ALL_SIGHT)
    assert total == 1
    assert read.at == now
    assert (read.id, read.user_id, read.remote, read.action) == ("a", "u", None, "tasks.reset")
    assert read.target == "é\ufffd"
    assert msgspec.json.decode(read.data) == written.data


async def test_a_record_that_is_written_again_keeps_all_but_its_data(store: Store) -> None:
    began = await write(store, record("a", data={"rate": 5}))
    await write(store, record("a", user_id="other", data={"rate": 5, "done": 3}))
    (read,), total = await store.audit(PageQuery(), ALL_SIGHT)
    assert (total, read.at, read.user_id) == (1, began, "u")
    assert msgspec.json.decode(read.data) == {"rate": 5, "done": 3}


async def test_a_record_of_a_transaction_that_fails_is_not_there(store: Store) -> None:
    try:
        async with store.transaction() as tx:
            await tx.add_audit([record("a")])
            raise RuntimeError("no")
    except RuntimeError:
        pass
    assert await store.audit(PageQuery(), ALL_SIGHT) == ([], 0)


async def test_records_are_listed_newest_first_by_condition_and_page(store: Store) -> None:
    for index in range(5):
        await write(store, record(f"r{index}", target=f"t{index % 2}"))
    everything, _ = await store.audit(PageQuery(), ALL_SIGHT)
    assert [one.id for one in everything] == ["r4", "r3", "r2", "r1", "r0"]
    odd, total = await store.audit(PageQuery([Condition("target", "eq", "t1")], limit=1), ALL_SIGHT)
    assert ([one.id for one in odd], total) == (["r3"], 2)
    since, _ = await store.audit(PageQuery([Condition("at", "ge", everything[1].at)]), ALL_SIGHT)
    assert [one.id for one in since] == ["r4", "r3"]
    sort = (("at", True),)
    after = [everything[1].at, everything[1].id]
    rest, total = await store.audit(PageQuery(sort=sort, after=after, limit=2), ALL_SIGHT)
    assert ([one.id for one in rest], total) == (["r2", "r1"], 5)


async def test_old_records_are_pruned_batch_by_batch(store: Store) -> None:
    moments = [await write(store, record(f"r{index}")) for index in range(3)]
    assert await store.prune_audit(moments[0], 10) == 0
    assert await store.prune_audit(FOREVER, 2) == 2
    assert await store.prune_audit(FOREVER, 2) == 1
    assert await store.audit(PageQuery(), ALL_SIGHT) == ([], 0)


async def test_old_notifications_are_pruned_dismissed_or_not(store: Store) -> None:
    await connect(store)
    for id in ("a", "b"):
        await add(store, definition(id, notify=True))
        await finish(store, await acquire(store))
    await store.set_notification("job-a", False, ALL_SIGHT)
    now = await store.now()
    assert await store.prune_notifications(now - 3600, 10) == 0
    assert await store.prune_notifications(now + 1, 1) == 1
    assert await store.prune_notifications(now + 1, 10) == 1
    assert await store.notifications(PageQuery(), ALL_SIGHT) == ([], 0, False)


@pytest.mark.parametrize("table", [queries.AUDIT, queries.NOTIFICATIONS], ids=lambda t: t.name)
async def test_a_page_on_postgres_reads_the_index_and_sorts_nothing(
    postgres_dsn: str, table: queries.Table
) -> None:
    await migrate(postgres_dsn)
    page, values = queries.rows(PostgresDialect(), table, PageQuery())
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(
        "INSERT INTO audit (id, at, action, data) "
        "SELECT n, n, 'tasks.reset', '{}' FROM generate_series(1, 5000) n; "
        "INSERT INTO notifications (id, message, kws, created, enabled, task_id, status, result) "
        "SELECT n, '', '{}', n, true, 't', 'FINISHED', '[]' FROM generate_series(1, 5000) n; "
        "ANALYZE"
    )
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {page}", *values))
    await connection.close()
    assert f"Index Scan using {table.name}_" in plan
    assert "Sort" not in plan
