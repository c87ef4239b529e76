"""Executors, managers and their signs of life: both stores."""

import asyncio

import msgspec
import pytest
from msgspec import Raw

from kaiju_tasks.protocol import Lease
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Ping, Store
from kaiju_tasks.types import ExecutorStatus
from tests.store.making import acquire, add, connect, executor


async def put(store: Store, *executors: object) -> None:
    async with store.transaction() as tx:
        for one in executors:
            await tx.put_executor(one)  # type: ignore[arg-type]


async def test_every_field_of_an_executor_comes_back(store: Store) -> None:
    full = executor(
        "ünï",
        now=12.5,
        app_names=["a", "ü"],
        commands=Raw(b'[{"method":"x","doc":"\\u0000"}]'),
        host="h",
        pid=7,
        version="1.2",
    )
    await put(store, full)
    assert await store.executors(ALL_SIGHT) == [full]
    changed = msgspec.structs.replace(
        full, session="s2", status=ExecutorStatus.DRAINING, capacity=0, host=None, pid=None
    )
    await put(store, changed)
    async with store.transaction() as tx:
        assert await tx.lock_executor("ünï") == changed
        assert await tx.lock_executor("unknown") is None


async def test_executors_are_listed_with_what_they_hold(store: Store) -> None:
    await connect(store, "e2")
    await connect(store, "e1")
    await add(store, "a", "b", "c")
    await acquire(store, 2, executor_id="e2")
    assert [(one.id, one.running) for one in await store.executors(ALL_SIGHT)] == [
        ("e1", 0),
        ("e2", 2),
    ]
    assert [one.id for one in await store.executors(ALL_SIGHT, ["e2", "unknown"])] == ["e2"]
    assert await store.executors(ALL_SIGHT, []) == []


async def test_executors_are_read_with_their_leases(store: Store) -> None:
    await connect(store, "e2")
    await connect(store, "e1", status=ExecutorStatus.DRAINING)
    await add(store, "a", "b", "c")
    leased = await acquire(store, 2, executor_id="e2")
    holders = await store.holders(["e1", "e2", "unknown"])
    assert set(holders) == {"e1", "e2"}
    assert (holders["e1"].status, holders["e1"].leases) == (ExecutorStatus.DRAINING, set())
    assert (holders["e2"].session, holders["e2"].status) == ("s1", ExecutorStatus.ACTIVE)
    assert holders["e2"].leases == {
        Lease(row.id, row.job_id or "", row.epoch, row.nonce or "") for row in leased
    }
    assert await store.holders([]) == {}


async def test_a_ping_renews_the_lease_of_its_session_only(store: Store) -> None:
    await connect(store)
    await connect(store, "lost", status=ExecutorStatus.LOST)
    await connect(store, "draining", status=ExecutorStatus.DRAINING)
    pings = [
        Ping("draining", "s1", 1),
        Ping("e1", "s1", 77),
        Ping("lost", "s1", 1),
        Ping("unknown", "s1", 1),
    ]
    assert await store.ping([Ping("e1", "old", 5)], 1000) == {}
    assert await store.ping(pings, 1000) == {
        "e1": ExecutorStatus.ACTIVE,
        "draining": ExecutorStatus.DRAINING,
    }
    (row,) = await store.executors(ALL_SIGHT, ["e1"])
    now = await store.now()
    assert row.capacity == 77
    assert now - 10 < row.last_ping <= now
    assert row.lease_until == pytest.approx(row.last_ping + 1000)
    assert await store.ping([], 1000) == {}


async def test_a_ping_never_shortens_a_lease(store: Store) -> None:
    await connect(store)
    await store.ping([Ping("e1", "s1", 5)], 1000)
    (before,) = await store.executors(ALL_SIGHT, ["e1"])
    assert await store.ping([Ping("e1", "s1", 5)], 10) == {"e1": ExecutorStatus.ACTIVE}
    (after,) = await store.executors(ALL_SIGHT, ["e1"])
    assert after.lease_until == before.lease_until


async def test_a_lease_is_shortened_never_prolonged(store: Store) -> None:
    await connect(store)
    await store.shorten_lease("e1", "old", 1)
    now = await store.now()
    assert (await store.executors(ALL_SIGHT))[0].lease_until > now + 5
    await store.shorten_lease("e1", "s1", 2)
    shortened = (await store.executors(ALL_SIGHT))[0].lease_until
    assert now + 1 < shortened < now + 5
    await store.shorten_lease("e1", "s1", 1000)
    assert (await store.executors(ALL_SIGHT))[0].lease_until == shortened


async def test_expired_executors_are_found_earliest_first(store: Store) -> None:
    await put(
        store,
        executor("late", lease_until=20.0),
        executor("early", lease_until=10.0, status=ExecutorStatus.SUSPENDED),
        executor("lost", lease_until=5.0, status=ExecutorStatus.LOST),
        executor("gone", lease_until=5.0, status=ExecutorStatus.GONE),
    )
    await connect(store, "alive")
    async with store.transaction() as tx:
        assert [one.id for one in await tx.lock_expired(10)] == ["early", "late"]
        assert [one.id for one in await tx.lock_expired(1)] == ["early"]


async def test_only_executors_that_are_gone_are_forgotten(store: Store) -> None:
    await put(
        store,
        executor("lost", lease_until=5.0, status=ExecutorStatus.LOST),
        executor("gone-lately", lease_until=50.0, status=ExecutorStatus.GONE),
        executor("silent", lease_until=5.0),
    )
    assert await store.forget_executors(10.0) == 1
    assert [one.id for one in await store.executors(ALL_SIGHT)] == ["gone-lately", "silent"]


async def test_managers_hand_on_since_when_somebody_is_up(store: Store) -> None:
    first = (await store.manager_seen("m1", 60)).up_since
    now = await store.now()
    assert now - 10 < first <= now
    assert (await store.manager_seen("m1", 60)).up_since == first
    assert (await store.manager_seen("m2", 60)).up_since == first
    await store.manager_gone("m1")
    assert (await store.manager_seen("m3", 60)).up_since == first, "m2 was up all the time"


async def test_a_break_of_all_managers_starts_anew(store: Store) -> None:
    first = (await store.manager_seen("m1", 60)).up_since
    later = (await store.manager_seen("m1", -1)).up_since
    assert later > first
    await store.manager_gone("m1")
    assert (await store.manager_seen("m2", 60)).up_since > later
    await store.manager_gone("unknown")


async def test_a_break_within_the_grace_is_covered(store: Store) -> None:
    first = await store.manager_seen("m1", 60, 60)
    assert first.covered_since == first.up_since == first.now
    await store.manager_gone("m1")
    again = await store.manager_seen("m2", 60, 60)
    assert (again.covered_since, again.up_since) == (first.now, again.now)
    await store.manager_gone("m2")
    late = await store.manager_seen("m3", 60, -1)
    assert late.covered_since == late.now


async def test_a_killed_manager_has_the_grace_of_one_that_falls_silent(store: Store) -> None:
    first = await store.manager_seen("m1", -1, -1, 60)
    assert (await store.manager_seen("m2", -1, -1, 60)).covered_since == first.now
    late = await store.manager_seen("m3", -1, 60, -1)
    assert late.covered_since == late.now


async def test_managers_that_were_up_long_ago_are_forgotten(store: Store) -> None:
    first = await store.manager_seen("m1", 60)
    assert await store.forget_managers(first.now) == 0
    assert await store.forget_managers(first.now + 0.001) == 1


async def test_managers_seen_at_once_agree(store: Store) -> None:
    first = (await store.manager_seen("m0", 60)).up_since
    seen = await asyncio.gather(*(store.manager_seen(f"m{n}", 60) for n in range(6)))
    assert {one.up_since for one in seen} == {first}
