"""Bulk calls in a store."""

from typing import Any

import msgspec
import pytest

from kaiju_tasks.lifecycle import Cause, Situation
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Condition, Store, StoreError
from kaiju_tasks.store.base import PageQuery
from kaiju_tasks.store.bulks import BulkArgs, BulkOrder, BulkProgress, StoredBulk
from kaiju_tasks.types import BulkState, Refusal
from tests.store.making import add

ORDER = BulkOrder(
    conditions=[
        Condition("status", "in", ["FAILED", None]),
        Condition("priority", "gt", 3),
        Condition("description", "like", "%é\\%_%"),
        Condition("enabled", "eq", True),
    ],
    args=BulkArgs(stage="failed", data='{"a": [1]}', name="go"),
    reason="why",
    rate=0.5,
    token_id="token",
    remote="10.0.0.1",
    cause=Cause(by="t", root="j", depth=1),
    audit_id="audit",
)


def bulk(id: str, **fields: Any) -> StoredBulk:
    given: dict[str, Any] = {
        "id": id,
        "method": "tasks.m_reset",
        "user_id": "ann",
        "state": BulkState.RUNNING,
        "started": 1.0,
        "ended": None,
        "manager_id": "m1",
        "epoch": 1,
        "cursor": None,
        "order": ORDER,
        "progress": BulkProgress(expected=3),
    }
    return StoredBulk(**{**given, **fields})


async def put(store: Store, *bulks: StoredBulk) -> None:
    async with store.transaction() as tx:
        for one in bulks:
            await tx.add_bulk(one)


async def test_a_call_is_read_as_it_was_written(store: Store) -> None:
    made = bulk("b")
    await put(store, made, bulk("other", user_id=None, order=BulkOrder(conditions=[], audit_id="")))
    assert await store.bulk("b") == made
    assert await store.bulk("nope") is None
    assert await store.bulk("\0") is None
    async with store.transaction() as tx:
        locked = await tx.lock_bulk("b")
        assert locked == made
        locked.cursor, locked.epoch, locked.manager_id = "t5", 2, "m2"
        locked.progress.done = 5
        locked.progress.saw("t5")
        locked.progress.refuse(Refusal("t4", "FAILED", "no", "status"))
        locked.end(BulkState.STOPPED, 0.5, "x")
        await tx.save_bulk(locked)
        assert await tx.lock_bulk("nope") is None
    found = await store.bulk("b")
    assert found == locked
    assert (found.ended, found.progress.refused) == (1.0, 1)  # it never ends before it has begun


def test_refusals_are_counted_by_reason_and_status_and_bounded() -> None:
    progress = BulkProgress(expected=0)
    for index in range(300):
        progress.refuse(Refusal(f"t{index}", "FAILED", "no", f"reason{index % 150}"))
        progress.saw(f"t{index}")
    assert progress.refused == 300
    assert (len(progress.refusals), len(progress.errors), len(progress.sample)) == (100, 20, 20)
    assert progress.refusals[0].count == 2


async def test_running_calls_are_counted_for_each_principal(store: Store) -> None:
    over = {"state": BulkState.FINISHED, "ended": 2.0}
    await put(store, bulk("a"), bulk("b"), bulk("c", **over), bulk("d", user_id=None))
    async with store.transaction() as tx:
        await tx.lock_bulks()
        counted = [await tx.running_bulks(name) for name in ("ann", "bob", None)]
    assert counted == [2, 0, 1]


async def test_calls_are_open_to_their_manager_and_free_without_it(store: Store) -> None:
    await put(store, bulk("a", started=2.0), bulk("b", manager_id="m2"), bulk("c", manager_id="m3"))
    await put(store, bulk("d", state=BulkState.FAILED, ended=2.0))
    await store.manager_seen("m1", 5.0)
    presence = await store.manager_seen("m2", 5.0)
    assert presence.bulks is True
    now = presence.now
    assert await store.open_bulks("m1", now - 5.0) == ["c", "a"]
    assert await store.open_bulks("m1", now + 5.0) == ["b", "c", "a"]
    await store.manager_gone("m2")
    assert await store.open_bulks("m4", now - 5.0) == ["b", "c"]
    async with store.transaction() as tx:
        free = [
            await tx.bulk_is_free(bulk("x", manager_id=manager_id), now - 5.0)
            for manager_id in ("m1", "m2", "m3")
        ]
    assert free == [False, True, True]


async def test_no_call_goes_on_when_all_have_ended(store: Store) -> None:
    await put(store, bulk("d", state=BulkState.FAILED, ended=2.0))
    assert (await store.manager_seen("m1", 5.0)).bulks is False


async def test_calls_are_listed_newest_first_and_pruned(store: Store) -> None:
    over = {"state": BulkState.FINISHED}
    await put(
        store,
        *(bulk(f"b{n}", started=float(n), ended=n + 1.0, **over) for n in range(5)),
        bulk("runs", started=9.0, user_id="bob"),
    )
    page = await store.bulks(PageQuery(limit=2))
    assert ([one.id for one in page.bulks], page.total, page.cut) == (["runs", "b4"], 6, False)
    after = await store.bulks(PageQuery(limit=2, sort=(("started", True),), after=[4.0, "b4"]))
    assert [one.id for one in after.bulks] == ["b3", "b2"]
    anns = await store.bulks(PageQuery([Condition("user_id", "eq", "ann")]))
    assert anns.total == 5
    assert await store.prune_bulks(3.5, 1) == 1
    assert await store.prune_bulks(3.5, 100) == 2
    left = await store.bulks(PageQuery())
    assert [one.id for one in left.bulks] == ["runs", "b4", "b3"]


async def test_matching_tasks_are_selected_with_their_versions(store: Store) -> None:
    for id in ("a", "b", "c"):
        await add(store, id)
    found = await store.matching([Condition("id", "ne", "b")], 10, None)
    rows = {id: view.row for id, view in (await store.tasks(["a", "c"], ALL_SIGHT)).items()}
    assert found == [(id, rows[id].rev, rows[id].version) for id in ("a", "c")]
    assert [id for id, _, _ in await store.matching([], 1, "a")] == ["b"]
    assert await store.matching([], 10, "c") == []


async def test_situations_are_counted(store: Store) -> None:
    for id in ("a", "b"):
        await add(store, id)
    row = (await store.tasks(["a"], ALL_SIGHT))["a"].row
    expected = Situation(str(row.status), row.open, row.exit_code, 0, False)
    assert await store.situations([], ALL_SIGHT) == [(expected, 2)]


@pytest.mark.parametrize(
    "fields", [{"state": "NONE"}, {"ended": 2.0}, {"state": BulkState.FINISHED}], ids=str
)
async def test_the_schema_refuses(store: Store, fields: dict[str, Any]) -> None:
    bad = msgspec.structs.replace(bulk("b"), **fields)

    async def save() -> None:
        await put(store, bad)

    with pytest.raises(StoreError, match="refused"):
        await save()
