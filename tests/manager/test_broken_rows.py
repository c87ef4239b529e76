"""Rows that cannot be read or advanced: they are marked, and the others go on."""

import logging
from typing import Any

import pytest

from kaiju_tasks.errors import Conflict
from kaiju_tasks.lifecycle import advance
from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.postgres.clock_step import apply_step as postgres_step
from kaiju_tasks.store.sqlite.clock_step import apply_step as sqlite_step
from tests.manager.damage import Sql
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until


def forget(manager: Manager, *ids: str) -> None:
    """Let a manager read definitions again."""
    for task_id in ids:
        manager.committer.states.definitions.forget(task_id)


def body(patch: str) -> str:
    return f"UPDATE definitions SET body = {patch} WHERE task_id = 'bad'"


UNREADABLE = {
    "no JSON": body("'{nonsense'"),
    "another shape": body("'[]'"),
    "commands of another shape": body("replace(body, '\"method\"', '\"verb\"')"),
    "an unknown value of a later version": body(
        'replace(body, \'"max_retries":1\', \'"max_retries":1,"misfire":"tomorrow"\')'
    ),
}


def failed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors of the manager; that the run failed is logged too."""
    errors = [one for one in caplog.records if one.levelno >= logging.ERROR]
    return [one.message for one in errors if one.name != "kaiju_tasks.manager.runs"]


@pytest.mark.parametrize("damage", UNREADABLE)
async def test_a_due_task_whose_definition_cannot_be_read_is_marked_and_shown(
    damage: str,
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await call.create("work", id="bad", delay=1e6, max_retries=1)
    await sql(UNREADABLE[damage])
    forget(manager, "bad")
    await sql("UPDATE tasks SET due_at = 1, next_run = 1 WHERE id = 'bad'")
    manager.scheduler.look()
    bad = await call.until("bad", "FAILED")
    assert bad["error"]["type"] == "internal_error"
    assert bad["error"]["message"].startswith("the stored definition cannot be read: ")
    await call.create("work", id="good")
    assert (await executor.take()).id == "good"
    listed = (await call("tasks.list"))["data"]
    assert {one["id"]: one["status"] for one in listed}["bad"] == "FAILED"
    assert await call("tasks.explain", id="bad")
    (run,) = await call("tasks.runs", id="bad")
    assert run["status"] == "FAILED"
    manager.scheduler.look()
    await call.create("work", id="another", delay=0.01)
    assert (await executor.take()).id == "another"
    (line,) = failed(caplog)
    assert line.startswith(
        "advancing task bad failed, it is FAILED now: the stored definition cannot be read"
    )
    with pytest.raises(Conflict, match="cannot be read"):
        await call("tasks.reset", id="bad")
    await call("tasks.delete", id="bad")


async def test_a_queued_task_whose_definition_cannot_be_read_does_not_stop_its_stream(
    manager: Manager, call: Calls, sql: Sql
) -> None:
    await call.create("work", id="bad", priority=1)
    await call.create("work", id="good")
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    executor = HandExecutor(manager, "late")
    await executor.connect()
    assert (await executor.take()).id == "good"
    assert (await call.until("bad", "FAILED"))["exit_code"] == 1


async def test_a_pause_holds_no_task_that_cannot_be_read(
    manager: Manager, call: Calls, sql: Sql
) -> None:
    await call.create("work", id="bad", priority=1)
    await call.create("work", id="good")
    await call("pauses.add", reason="r", method="other.*")
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    executor = HandExecutor(manager, "late")
    await executor.connect()
    assert (await executor.take()).id == "good"
    await call.until("bad", "FAILED")


async def test_a_report_for_a_task_that_cannot_be_read_ends_it_and_not_its_batch(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await call.create("work", id="bad")
    await call.create("work", id="good")
    taken = {task.id: task for task in (await executor.take(), await executor.take())}
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    await executor.finish(taken["bad"])
    await executor.finish(taken["good"])
    assert (await call.until("bad", "FAILED"))["error"]["type"] == "internal_error"
    await call.until("good", "FINISHED")


async def test_a_schedule_whose_zone_is_gone_is_marked_once_and_healed_by_an_update(
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fields: dict[str, Any] = {"cron": "0 * * * *", "timezone": "Europe/Berlin"}
    await call.create("work", id="bad", **fields)
    await sql(body("replace(body, 'Europe/Berlin', 'Europe/Atlantis')"))
    forget(manager, "bad")
    await sql("UPDATE tasks SET due_at = 1, next_run = 1, fire_at = 1 WHERE id = 'bad'")
    manager.scheduler.look()
    bad = await call.until("bad", "FAILED")
    assert "Europe/Atlantis" in bad["error"]["message"]
    assert bad["next_run"] is None
    await call.create("work", id="good", delay=0.01)
    assert (await executor.take()).id == "good"
    assert len(failed(caplog)) == 1
    await call("tasks.update", id="bad", data={"timezone": "Europe/Paris"})
    healed = await call.get("bad")
    assert healed["status"] == "IDLE"
    assert healed["next_run"] > 1e9


async def test_an_error_of_the_core_ends_only_the_task_that_meets_it(
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(task: Any, event: Any, now: float) -> Any:
        if task.row.id == "bad":
            raise ZeroDivisionError("division by zero")
        return advance(task, event, now)

    monkeypatch.setattr("kaiju_tasks.manager.writing.states.advance", breaks)
    await call.create("work", id="bad", delay=2.0)  # longer than a create takes
    bad = await call.until("bad", "FAILED")
    assert bad["error"]["message"] == (
        "the task cannot be continued: ZeroDivisionError: division by zero"
    )
    await call.create("work", id="good", delay=0.01)
    assert (await executor.take()).id == "good"
    assert failed(caplog) == ["advancing task bad failed, it is FAILED now: division by zero"]


async def test_a_pause_that_cannot_be_read_holds_nothing_and_hides_no_other(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await sql("INSERT INTO pauses (id, body) VALUES ('bad', '{')")
    await call("pauses.add", id="p1", app_name="other", reason="maintenance")
    bad, good = await call("pauses.list")
    assert (bad["id"], good["id"]) == ("bad", "p1")
    assert "cannot be read" in bad["problem"]
    await call.create("work", id="good")
    assert (await executor.take()).id == "good"


async def test_an_executor_whose_row_cannot_be_read_is_listed(
    call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await sql("UPDATE executors SET app_names = '{', commands = '{'")
    (listed,) = await call("executors.list")
    assert listed["id"] == "hand"


async def test_results_and_errors_that_are_no_json_are_null(
    call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await call.create("work", "work", id="bad")
    task = await executor.take()
    await executor.finish(task, 1)
    await executor.finish(task, 2, 1)
    await call.until("bad", "FINISHED")
    await sql("UPDATE stages SET result = '{' WHERE stage = 0")
    bad = await call.get("bad")
    assert bad["result"] == [None, 2]
    job_id = bad["job_id"]
    assert [one["result"] for one in await call("tasks.stages", job_id=job_id)] == [None, 2]


# -- a status that no version, or only a later one, knows


async def set_status(sql: Sql, settings: Settings, more: str = "", id: str = "bad") -> None:
    """Give a task the status LIMBO."""
    if not settings.db.startswith("sqlite"):
        await sql("ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_status_known")
        await sql("ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_only_executed_is_leased")
        await sql("ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_only_queued_is_ready")
    await sql(f"UPDATE tasks SET status = 'LIMBO'{more} WHERE id = '{id}'")


UNKNOWN_STATUS = "the stored status 'LIMBO' is unknown"


async def test_a_due_task_of_unknown_status_is_marked_and_shown(
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await call.create("work", id="bad", delay=1e6)
    await set_status(sql, settings)
    listed = (await call("tasks.list"))["data"]
    assert [one["status"] for one in listed] == ["LIMBO"]
    assert (await call.get("bad"))["status"] == "LIMBO"
    (reason,) = (await call("tasks.explain", id="bad"))["reasons"]
    assert reason["code"] == "unreadable"
    with pytest.raises(Conflict, match="is unknown"):
        await call("tasks.cancel", id="bad")
    await sql("UPDATE tasks SET due_at = 1, next_run = 1 WHERE id = 'bad'")
    manager.scheduler.look()
    bad = await call.until("bad", "FAILED")
    assert bad["error"]["message"] == UNKNOWN_STATUS
    await call.create("work", id="good", delay=0.01)
    assert (await executor.take()).id == "good"
    assert failed(caplog) == [f"advancing task bad failed, it is FAILED now: {UNKNOWN_STATUS}"]
    await call("tasks.reset", id="bad")
    assert (await executor.take()).id == "bad"


async def test_a_ready_task_of_unknown_status_does_not_stop_its_stream(
    manager: Manager, call: Calls, sql: Sql, settings: Settings
) -> None:
    await call.create("work", id="bad", priority=1)
    await call.create("work", id="good")
    await set_status(sql, settings)
    executor = HandExecutor(manager, "late")
    await executor.connect()
    assert (await executor.take()).id == "good"
    assert (await call.until("bad", "FAILED"))["error"]["message"] == UNKNOWN_STATUS


async def test_a_leased_task_of_unknown_status_ends_with_its_report_and_frees_its_slot(
    call: Calls, executor: HandExecutor, sql: Sql, settings: Settings
) -> None:
    limit = {"key": "one", "limit": 1}
    await call.create("work", id="bad", concurrency=limit)
    bad = await executor.take()
    await call.create("work", id="next", concurrency=limit)
    await set_status(sql, settings)
    await executor.finish(bad)
    assert (await call.until("bad", "FAILED"))["error"]["message"] == UNKNOWN_STATUS
    assert (await executor.take()).id == "next"


async def test_a_task_of_unknown_status_can_be_deleted(
    call: Calls, sql: Sql, settings: Settings
) -> None:
    await call.create("work", id="bad", delay=1e6)
    await set_status(sql, settings)
    await call("tasks.delete", id="bad")
    assert (await call("tasks.list"))["data"] == []


async def test_an_executor_of_unknown_status_counts_as_lost(
    call: Calls, executor: HandExecutor, sql: Sql, settings: Settings
) -> None:
    odd = HandExecutor(call.manager, "odd")
    await odd.connect()
    if not settings.db.startswith("sqlite"):
        await sql("ALTER TABLE executors DROP CONSTRAINT IF EXISTS executors_status_known")
    await sql("UPDATE executors SET status = 'LIMBO' WHERE id = 'odd'")
    listed = {one["id"]: one["status"] for one in await call("executors.list")}
    assert listed == {"hand": "ACTIVE", "odd": "LOST"}
    await odd.ping()
    await call.manager.reconciliation.check()
    assert executor.caller.session is not None
    assert executor.caller.session.open
    await odd.connect()
    assert (await call("executors.get", id="odd"))["status"] == "ACTIVE"


# -- earlier results that are needed


async def with_result(call: Calls, executor: HandExecutor, *later: Any, **fields: Any) -> None:
    """A task `bad` whose first stage has a result, and which waits for a message after it."""
    await call.create("work", {"method": "_MESSAGE_"}, *later, id="bad", **fields)
    await executor.finish(await executor.take(), {"a": 1})
    await call.until("bad", "WAITING")


async def test_a_task_whose_assignment_needs_a_damaged_result_fails_alone(
    call: Calls, executor: HandExecutor, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    limit = {"key": "one", "limit": 1}
    reads = {"method": "work", "params": {"x": "[0.a]"}}
    await with_result(call, executor, reads, concurrency=limit)
    await sql("UPDATE stages SET result = '{' WHERE stage = 0")
    executor.capacity = 0
    await executor.call("manager.ping", id=executor.id, capacity=0)
    await call("tasks.message", id="bad", data=None)
    await call.create("work", id="good")
    await call.create("work", id="next", concurrency=limit)
    await executor.call("manager.ping", id=executor.id, capacity=10)
    taken = {(await executor.take()).id for _ in range(2)}
    assert taken == {"good", "next"}
    bad = await call.until("bad", "FAILED")
    assert bad["error"]["message"].startswith("the stored result of stage 0 cannot be read: ")
    assert executor.caller.session is not None
    assert sorted(executor.caller.session.leases) == ["good", "next"]
    assert [line for line in failed(caplog) if "advancing" in line] == [
        f"advancing task bad failed, it is FAILED now: {bad['error']['message']}"
    ]


async def test_a_hook_that_needs_a_damaged_result_fails_its_task_alone(
    call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    timer = {"method": "_TIMER_", "params": {"timer": "[0.a]"}}
    await with_result(call, executor, timer)
    await sql("UPDATE stages SET result = '{' WHERE stage = 0")
    await call("tasks.message", id="bad", data=None)
    error = (await call.until("bad", "FAILED"))["error"]
    assert error["type"] == "template_error"
    assert error["message"].startswith("the stored result of stage 0 cannot be read: ")


async def test_damaged_results_are_null_in_what_is_made_of_a_run(
    call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await call.create("work", "work", id="bad", notify=True)
    task = await executor.take()
    await executor.finish(task, 1)
    await sql("UPDATE stages SET result = '{' WHERE stage = 0")
    await executor.finish(task, 2, 1)
    await call.until("bad", "FINISHED")
    (notification,) = (await call("notifications.list"))["data"]
    assert notification["result"] == [None, 2]


# -- slots of which the key cannot be read


async def test_a_task_that_cannot_be_read_while_it_executes_leaks_no_slot(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    one, other = {"key": "one", "limit": 1}, {"key": "other", "limit": 2}
    await call.create("work", id="bad", concurrency=one)
    bad = await executor.take()
    await call.create("work", id="beside", concurrency=other)
    await executor.take()
    await call.create("work", id="next", concurrency=one)
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")

    async def next_is_held() -> bool:
        return bool((await call.get("next"))["status_reason"] == "concurrency")

    await wait_until(next_is_held, "the next task waits for its slot")
    await executor.finish(bad)
    await call.until("bad", "FAILED")
    assert (await executor.take()).id == "next"
    used = [await manager.store.slot_used(f"{kind}") for kind in await slot_keys(manager)]
    assert used == [1, 1]


async def test_slots_are_kept_while_another_task_executes_whose_key_cannot_be_read(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    limit = {"key": "two", "limit": 2}
    ids = ["bad", "worse"]
    for id in ids:
        await call.create("work", id=id, concurrency=limit)
    taken = {task.id: task for task in (await executor.take(), await executor.take())}
    for id in ("next", "last"):
        await call.create("work", id=id, concurrency=limit)
    await sql("UPDATE definitions SET body = '{nonsense' WHERE task_id IN ('bad', 'worse')")
    forget(manager, *ids)
    await executor.finish(taken["bad"])
    await call.until("bad", "FAILED")
    (key,) = await slot_keys(manager)
    assert await manager.store.slot_used(key) == 2
    await executor.finish(taken["worse"])
    await call.until("worse", "FAILED")
    for id in ("next", "last"):
        task = await executor.take()
        assert task.id == id
        await executor.finish(task)
    await call.until("last", "FINISHED")


async def test_a_task_that_waits_for_a_slot_and_cannot_be_read_lets_the_next_one_pass(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    limit = {"key": "one", "limit": 1}
    await call.create("work", id="first", concurrency=limit)
    first = await executor.take()
    for id in ("bad", "next"):
        await call.create("work", id=id, concurrency=limit)
        await call.until(id, "QUEUED")
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    await executor.finish(first)
    await call.until("bad", "FAILED")
    assert (await executor.take()).id == "next"


async def slot_keys(manager: Manager) -> list[str]:
    async with manager.store.transaction() as tx:
        return await tx.used_slots()


async def test_a_task_that_cannot_be_read_gives_back_its_unique_key(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    unique = {"key": "task"}
    await call.create("work", id="bad", unique=unique)
    bad = await executor.take()
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    await executor.finish(bad)
    await call.until("bad", "FAILED")
    await call.create("work", id="next", unique=unique)
    assert (await executor.take()).id == "next"


# -- what runs over many rows


async def with_broken_parent(manager: Manager, call: Calls, sql: Sql) -> str:
    """A task `bad` that waits for a task that it created, and cannot be read any more.

    :returns: the id of the other one
    """
    child = {"commands": [{"method": "work"}], "id": "child"}
    await call.create({"method": "_TASKS_", "params": {"create": [child]}}, id="bad")
    await call.until("bad", "WAITING")
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    return "child"


async def test_a_waiting_task_that_cannot_be_read_ends_with_the_tasks_it_waits_for(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await with_broken_parent(manager, call, sql)
    await executor.finish(await executor.take())
    assert (await call.until("bad", "FAILED"))["error"]["type"] == "internal_error"
    await call.create("work", id="good", delay=0.01)
    assert (await executor.take()).id == "good"


async def test_a_waiting_task_that_cannot_be_read_can_be_deleted(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    child = await with_broken_parent(manager, call, sql)
    await call("tasks.delete", id="bad")
    await call.until(child, "FAILED")


async def test_a_task_that_cannot_be_read_when_another_begins_to_wait_for_it_has_ended_for_that(
    manager: Manager, call: Calls, sql: Sql
) -> None:
    await call.create({"method": "_MESSAGE_", "params": {}}, id="bad")
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    await call.create({"method": "_TASKS_", "params": {"ids": ["bad"]}}, id="parent")
    ended = await call.until("parent", "FAILED")
    assert ended["error"]["type"] == "child_failed"
    assert (await call.get("bad"))["error"]["type"] == "internal_error"


async def test_a_child_that_cannot_be_read_ends_with_the_task_that_waits_for_it(
    manager: Manager, call: Calls, sql: Sql
) -> None:
    child = {"id": "bad", "commands": [{"method": "_MESSAGE_", "params": {}}]}
    await call.create({"method": "_TASKS_", "params": {"create": [child]}}, id="parent")
    await call.until("bad", "WAITING")
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    await call("tasks.delete", id="parent")
    assert (await call.until("bad", "FAILED"))["error"]["type"] == "internal_error"


async def test_a_row_that_cannot_be_read_does_not_hinder_a_step_of_the_clock(
    manager: Manager, call: Calls, sql: Sql, settings: Settings
) -> None:
    await call.create("work", id="bad", delay=1e6)
    await call.create("work", id="good", delay=1e6)
    await sql(UNREADABLE["no JSON"])
    before = (await call.get("good"))["next_run"]
    store: Any = manager.store
    if settings.db.startswith("sqlite"):
        await store._run(store._writer, lambda db: sqlite_step(db, 100.0, 1.8e9))
    else:
        async with store._pool.single() as connection:
            await connection.begin()
            await postgres_step(connection, 100.0, 1.8e9)
            await connection.commit()
    assert (await call.get("good"))["next_run"] == pytest.approx(before + 100.0)


async def test_a_pause_that_cannot_be_read_does_not_hinder_the_pruning_of_others(
    manager: Manager, call: Calls, sql: Sql
) -> None:
    await sql("INSERT INTO pauses (id, body) VALUES ('bad', '{')")
    await call("pauses.add", id="p1", app_name="other", reason="maintenance", until=2e9)
    await call("pauses.add", id="p2", app_name="other", reason="maintenance", until=3e9)
    assert await manager.store.prune_pauses(2.5e9) == 1
    assert [one["id"] for one in await call("pauses.list")] == ["bad", "p2"]
