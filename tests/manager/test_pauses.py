"""Pauses: what they hold stays in its place, and goes on by itself."""

import asyncio
from typing import Any, NoReturn

import asyncpg
import pytest

from kaiju_tasks.errors import Conflict, InvalidParams, NotFound, TooManyRequests
from kaiju_tasks.manager import Manager, pauses
from kaiju_tasks.manager.writing import committer
from kaiju_tasks.protocol import AckState
from kaiju_tasks.settings import Settings
from kaiju_tasks.store import StoreUnavailable
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls, HandExecutor, lease_of, pinging
from tests.support.wait import wait_until


async def pause(call: Calls, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await call("pauses.add", **{"reason": "maintenance", **fields})
    return made


async def is_paused(call: Calls, id: str) -> None:
    async def paused() -> bool:
        task = await call.get(id)
        return (task["status"], task["status_reason"]) == ("QUEUED", "paused")

    await wait_until(paused, f"{id} is held")


async def test_a_paused_stream_is_held_and_goes_on_in_order(
    call: Calls, executor: HandExecutor
) -> None:
    made = await pause(call, app_name="default")
    assert made["active"] is True
    assert made["next_change"] is None
    for i in range(3):
        await call.create("work", id=f"t{i}")
    await call.create("work", id="other", app_name="elsewhere")
    for i in range(3):
        await is_paused(call, f"t{i}")
    assert (await call.get("other"))["status_reason"] is None
    assert executor.assigned.empty()
    assert await call("pauses.remove", id=made["id"]) == {"removed": True}
    assert [(await executor.take()).id for _ in range(3)] == ["t0", "t1", "t2"]


async def test_what_stands_in_line_already_is_held_too(call: Calls, executor: HandExecutor) -> None:
    await executor.call("executors.drain", id="hand")
    for i in range(3):
        await call.create("work", id=f"t{i}")
    made = await pause(call, method="w?rk")
    for i in range(3):
        await is_paused(call, f"t{i}")
    await executor.call("executors.resume", id="hand")
    await call.create("other", id="free")
    assert (await executor.take()).id == "free"
    await call("pauses.remove", id=made["id"])
    assert {(await executor.take()).id for _ in range(3)} == {"t0", "t1", "t2"}


async def test_what_waits_for_a_slot_is_held_too_and_comes_back(
    call: Calls, executor: HandExecutor
) -> None:
    concurrency = {"key": "k", "limit": 1}
    await call.create("work", id="holder", concurrency=concurrency)
    holder = await executor.take()
    await call.create("work", id="t", group="g", concurrency=concurrency)

    async def waits_for_a_slot() -> bool:
        return bool((await call.get("t"))["status_reason"] == "concurrency")

    await wait_until(waits_for_a_slot, "t waits for a slot")
    made = await pause(call, group="g")
    await is_paused(call, "t")
    await call("pauses.remove", id=made["id"])
    await wait_until(waits_for_a_slot, "t waits for a slot again")
    await executor.finish(holder)
    assert (await executor.take()).id == "t"


async def test_running_stages_are_left_alone_and_the_next_one_is_held(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", "b", "c", id="t")
    task = await executor.take()
    made = await pause(call, method="b")
    assert (await executor.finish(task)).state is AckState.RELEASED
    await is_paused(call, "t")
    await call("pauses.remove", id=made["id"])
    task = await executor.take()
    assert task.stage == 1


async def test_running_stages_are_taken_back_when_asked(
    call: Calls, executor: HandExecutor
) -> None:
    created = await call.create("a", id="t")
    task = await executor.take()
    await call.create("b", id="untouched")
    await executor.take()
    made = await pause(call, method="a", stop_running=True)
    await is_paused(call, "t")
    await wait_until(lambda: executor.revoked == [lease_of(task)], "the lease is revoked")
    assert (await call.get("untouched"))["status"] == "EXECUTED"
    (stage,) = await call("tasks.stages", job_id=created["job_id"])
    assert (stage["outcome"], stage["rescued"]) == ("SUSPENDED", True)
    await call("pauses.remove", id=made["id"])
    assert (await executor.take()).id == "t"


async def test_a_condition_chooses_by_kws_and_literal_params(
    call: Calls, executor: HandExecutor
) -> None:
    await pause(call, method="*", condition={"kws.customer": "acme", "params.region": "eu"})

    def work(region: str) -> dict[str, Any]:
        return {"method": "work", "params": {"region": region}}

    await call.create(work("eu"), id="held", kws={"customer": "acme"})
    await call.create(work("us"), id="other-region", kws={"customer": "acme"})
    await call.create(work("eu"), id="other-customer", kws={"customer": "b"})
    await call.create(work("eu"), id="no-customer")
    await call.create(work("[kws.region]"), id="template", kws={"customer": "acme", "region": "eu"})
    taken = {(await executor.take()).id for _ in range(4)}
    assert taken == {"other-region", "other-customer", "no-customer", "template"}
    await is_paused(call, "held")


async def test_groups_are_held(call: Calls, executor: HandExecutor) -> None:
    await pause(call, group="nightly", group_id="7")
    await call.create("work", id="held", group="nightly", group_id="7")
    await call.create("work", id="free", group="nightly", group_id="8")
    assert (await executor.take()).id == "free"
    await is_paused(call, "held")


async def test_a_pause_ends_by_itself(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    until = await manager.store.now() + 0.5
    made = await pause(call, app_name="default", until=until)
    assert made["next_change"] == until
    await call.create("work", id="t")
    await is_paused(call, "t")
    task = await executor.take()
    row = await call.get("t")
    assert task.id == "t"
    assert row["status_change"] >= until


async def test_a_recurring_window_opens_and_closes(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    """Windows of a second at every other second."""
    await pause(call, app_name="default", cron="* * * * * */2", duration=1)
    moments = []
    for i in range(12):
        await call.create({"method": "_TIMER_", "params": {"timer": i * 0.25}}, "work", id=f"t{i}")
    for _ in range(12):
        task = await executor.take()
        row = await call.get(task.id)
        moments.append(row["status_change"] % 2)
        await executor.finish(task)
    assert all(moment >= 0.99 for moment in moments), moments


async def test_two_pauses_hold_until_the_last_is_over(call: Calls, executor: HandExecutor) -> None:
    first = await pause(call, app_name="default")
    second = await pause(call, method="work")
    await call.create("work", id="t")
    await is_paused(call, "t")
    await call("pauses.remove", id=first["id"])
    await is_paused(call, "t")
    await call("pauses.remove", id=second["id"])
    assert (await executor.take()).id == "t"


async def test_a_pause_stops_the_queue_clock(call: Calls, executor: HandExecutor) -> None:
    made = await pause(call, app_name="default")
    await call.create("work", id="t", max_queue_time=0.2)
    await is_paused(call, "t")
    await call.create("work", id="not paused", app_name="nobody", max_queue_time=0.3)
    await call.until("not paused", "FAILED")
    assert (await call.get("t"))["status"] == "QUEUED"
    await call("pauses.remove", id=made["id"])
    assert (await executor.take()).id == "t"


async def test_a_paused_task_can_be_operated(call: Calls, executor: HandExecutor) -> None:
    await pause(call, app_name="default")
    for id in ("held", "gone", "reset"):
        await call.create("work", id=id)
        await is_paused(call, id)
    await call("tasks.suspend", id="held")
    assert (await call("tasks.cancel", id="gone"))["exit_code"] == 130
    assert (await call("tasks.reset", id="reset"))["status_reason"] == "paused"
    assert (await call("tasks.resume", id="held"))["status_reason"] == "paused"


async def test_pauses_are_listed_with_reason_and_whether_they_hold(call: Calls) -> None:
    await pause(call, id="a", group="g", reason="too loud", author="Ada")
    await pause(call, id="b", method="x.*", cron="0 3 * * *", duration=3600, timezone="UTC")
    first, second = await call("pauses.list")
    assert (first["author"], second["author"]) == ("Ada", None)
    assert (first["id"], first["group"], first["reason"], first["active"]) == (
        "a",
        "g",
        "too loud",
        True,
    )
    assert second["next_change"] % 3600 == 0
    assert second["created"].endswith("+00:00")


async def over(call: Calls, manager: Manager, **fields: Any) -> None:
    """A pause that has ended."""
    until = await manager.store.now() + 0.2
    await pause(call, until=until, **fields)

    async def passed() -> bool:
        return await manager.store.now() >= until

    await wait_until(passed, "the pause is over")


async def test_a_pause_that_is_over_is_not_listed_even_with_a_window(
    call: Calls, manager: Manager
) -> None:
    window = {"cron": "* * * * *", "duration": 60, "timezone": "UTC"}
    later = await manager.store.now() + 3600
    await pause(call, id="later", app_name="x", until=later)
    await pause(call, id="windows", app_name="x", **window)
    await over(call, manager, id="once", app_name="x")
    await over(call, manager, id="over", app_name="x", **window)
    assert [one["id"] for one in await call("pauses.list")] == ["later", "windows"]


async def test_pruning_deletes_pauses_that_are_over_and_releases_what_they_held(
    call: Calls, manager: Manager, executor: HandExecutor
) -> None:
    await pause(call, id="stays", app_name="x")
    await pause(call, id="windows", app_name="x", cron="* * * * *", duration=60)
    await pause(call, id="over", app_name="default", until=await manager.store.now() + 0.5)
    await call.create("work", id="t")
    assert (await executor.take()).id == "t"
    await manager.retention.prune()
    assert [one.id for one in await manager.store.pauses()] == ["stays", "windows"]


async def test_the_id_of_a_pause_that_is_over_is_free(
    call: Calls, manager: Manager, executor: HandExecutor
) -> None:
    await over(call, manager, id="p", app_name="default")
    made = await pause(call, id="p", app_name="default", reason="again")
    assert (made["active"], made["reason"]) == (True, "again")
    await call.create("work", id="t")
    await is_paused(call, "t")
    with pytest.raises(Conflict):
        await pause(call, id="p", app_name="x")
    await call("pauses.remove", id="p")
    assert (await executor.take()).id == "t"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "method"),
        ({"app_name": "x", "cron": "0 3 * * *"}, "duration"),
        ({"app_name": "x", "duration": 5}, "cron"),
        ({"app_name": "x", "duration": 5, "cron": "no"}, "cron"),
        ({"app_name": "x", "timezone": "Mars"}, "timezone"),
        ({"app_name": "x", "until": 5}, "until"),
        ({"app_name": "x", "until": "soon"}, "until"),
        ({"app_name": "x", "condition": {"kws.x": {"wrong": 1}}}, "condition.kws.x.wrong"),
        ({"app_name": "x", "condition": {"customer": "acme"}}, "condition"),
        ({"app_name": "x", "reason": ""}, "reason"),
    ],
)
async def test_a_wrong_pause_is_refused_by_name(
    call: Calls, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        await pause(call, **fields)
    assert caught.value.data["field"] == field
    assert await call("pauses.list") == []


async def test_who_paused_what_is_in_the_audit(call: Calls) -> None:
    await pause(call, id="a", app_name="x", reason="too loud")
    await call("pauses.remove", id="a")
    with pytest.raises(NotFound):
        await call("pauses.remove", id="a")
    removed, added = (await call("audit.list"))["data"]
    assert (added["action"], added["target"]) == ("pauses.add", "a")
    assert added["data"] == {"reason": "too loud", "app_name": "x"}
    assert (removed["action"], removed["target"]) == ("pauses.remove", "a")


async def test_ids_of_pauses_are_their_own(call: Calls) -> None:
    await pause(call, id="a", app_name="x")
    with pytest.raises(Conflict):
        await pause(call, id="a", app_name="y")
    with pytest.raises(NotFound):
        await call("pauses.remove", id="b")


async def test_no_manager_acquires_what_is_paused_once_the_pause_is_answered(
    call: Calls, manager: Manager, other_manager: Manager, executor: HandExecutor
) -> None:
    """The other manager has not heard of the pause when it acquires: wake-ups may be lost."""
    there = HandExecutor(other_manager, "there")
    await there.connect(app="busy")
    other_manager.pauses.changed = lambda: None  # type: ignore[method-assign]
    async with pinging(there):
        for round in range(5):
            made = await pause(call, app_name="busy")
            data = [
                {"commands": [{"method": "work"}], "app_name": "busy", "id": f"{round}.{n}"}
                for n in range(20)
            ]
            await call("tasks.m_create", data=data)
            for task in data:
                await is_paused(call, str(task["id"]))
            assert there.assigned.empty()
            await call("pauses.remove", id=made["id"])
            for _ in data:
                await there.finish(await there.take())


async def test_a_manager_that_starts_ends_what_ended_while_none_was_up(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    made = await pause(call, app_name="default")
    await call.create("work", id="t")
    await is_paused(call, "t")
    async with manager.store.transaction() as tx:  # as a manager that dies right after its commit
        await tx.delete_pause(made["id"])
    manager.pauses.changed()
    assert (await executor.take()).id == "t"


async def test_a_manager_that_loses_its_database_while_it_starts_reports_the_store_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line explains errors of the store, and those only."""
    store = make_store(settings.db)
    await store.open()

    def lost() -> NoReturn:
        raise StoreUnavailable("10.0.0.1 is away", brief="the database cannot be reached")

    monkeypatch.setattr(store, "transaction", lost)
    monkeypatch.setattr(committer, "OUTAGE_PATIENCE_SECONDS", 0.0)
    manager = Manager(store, settings)
    try:
        with pytest.raises(StoreUnavailable, match=r"10\.0\.0\.1 is away"):
            await manager.start()
    finally:
        await manager.stop()
        await store.close()


LATE = """
CREATE FUNCTION wait_for_unlock() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait_for_unlock()
"""
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"


async def test_a_lease_whose_commit_is_under_way_when_a_pause_begins_is_stopped_too(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(postgres_dsn)
    await store.open()
    observer, holder = [await asyncpg.connect(postgres_dsn) for _ in range(2)]

    async def waits() -> bool:
        return bool(await observer.fetchval(WAITS))

    await observer.execute(LATE)
    async with Manager(store, Settings(db=postgres_dsn)).running() as manager:
        call, executor = Calls(manager), HandExecutor(manager, "hand")
        await executor.connect()
        async with pinging(executor):
            await holder.execute("SELECT pg_advisory_lock(1)")
            creating = asyncio.create_task(call.create("work", id="late"))
            await wait_until(waits, "the commit waits")
            settling = asyncio.Event()
            settle = manager.committer.settle

            async def noted() -> None:
                settling.set()
                await settle()

            monkeypatch.setattr(manager.committer, "settle", noted)
            await pause(call, app_name="default", stop_running=True)
            await wait_until(settling.is_set, "the pause waits for the commit")
            await holder.execute("SELECT pg_advisory_unlock(1)")
            await creating
            await is_paused(call, "late")
    for connection in (observer, holder):
        await connection.close()
    await store.close()


async def test_there_are_not_too_many_pauses(call: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "PAUSES_MAX", 2)
    for id in ("a", "b"):
        await pause(call, id=id, app_name="elsewhere")
    with pytest.raises(TooManyRequests):
        await pause(call, id="c", app_name="elsewhere")
    with pytest.raises(Conflict):
        await pause(call, id="a", app_name="elsewhere")
    await call("pauses.remove", id="a")
    await pause(call, id="c", app_name="elsewhere")


async def test_there_are_not_too_many_pauses_of_all_streams(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "WIDE_PAUSES_MAX", 1)
    await pause(call, id="a", group="g")
    await pause(call, id="b", group="g", app_name="elsewhere")
    with pytest.raises(TooManyRequests) as refused:
        await pause(call, id="c", group="g")
    assert refused.value.data["field"] == "app_name"
    await call("pauses.remove", id="a")
    await pause(call, id="c", group="g")
