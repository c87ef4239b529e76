"""Pauses, bulk calls, notifications, credentials and records that cannot be read or applied: they
are shown as far as possible, and everything else goes on."""

import logging
from typing import Any

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.rights import Kind, Scope
from kaiju_tasks.rights.scope import NOTHING_SCOPE
from kaiju_tasks.settings import Settings
from tests.manager.conftest import a_manager
from tests.manager.damage import Sql, run_sql
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.support.wait import wait_until

ALWAYS = {"cron": "* * * * *", "duration": 3600, "timezone": "Europe/Berlin"}
"""A window that is always open."""
DAMAGED_PAUSES = {
    "a zone that is gone": ("Europe/Berlin", "Europe/Atlantis", "Europe/Atlantis"),
    "a schedule of a later version": ("* * * * *", "@fortnightly", "cron"),
    "a condition of a later version": ('{"kws.a":1}', '{"kws.a":{"later":1}}', "later"),
}


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("damage", DAMAGED_PAUSES)
async def test_a_pause_that_cannot_be_applied_holds_nothing_and_is_shown(
    damage: str,
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, new, named = DAMAGED_PAUSES[damage]
    hold = {"condition": {"kws.a": 1}, "reason": "new disks", **ALWAYS}
    await call("pauses.add", id="bad", app_name="default", **hold)
    await call("pauses.add", id="good", app_name="other", reason="maintenance")
    held = await call.create("work", id="held", kws={"a": 1})
    assert held["status_reason"] == "paused"
    await sql(f"UPDATE pauses SET body = replace(body, '{old}', '{new}') WHERE id = 'bad'")
    manager.pauses.changed()
    assert (await executor.take()).id == "held"
    await call.create("work", id="due", kws={"a": 1}, delay=0.01)
    assert (await executor.take()).id == "due"
    pauses = {one["id"]: one for one in await call("pauses.list")}
    assert (pauses["bad"]["active"], pauses["bad"]["next_change"]) == (False, None)
    assert named in pauses["bad"]["problem"]
    assert pauses["bad"]["reason"] == "new disks"
    assert (pauses["good"]["active"], pauses["good"]["problem"]) == (True, None)
    manager.pauses.changed()
    await call.create("work", id="also", app_name="other")
    assert await call("tasks.explain", id="also")
    (line,) = errors(caplog)
    assert line.startswith("the pause bad cannot be applied and holds nothing: ")
    await call("pauses.remove", id="bad")


LOST = {
    "app_name": "it lacks `app_name`",
    "method": "it lacks `method`",
    "condition": "it lacks `condition`",
    "until": "it lacks `until`",
    "cron": "it lacks `cron`",
    "timezone": "it lacks `timezone`",
    "reason": "it lacks `reason`",
    "id": "it lacks `id`",
}


@pytest.mark.parametrize("field", LOST)
async def test_a_pause_that_has_lost_a_field_holds_nothing_and_is_shown(
    field: str, manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await call("pauses.add", id="bad", app_name="default", method="w*", reason="r", **ALWAYS)
    await damage_pause(manager, sql, f'"{field}":', f'"no_{field}":')
    await call("pauses.add", id="good", app_name="other", reason="maintenance")
    await call.create("work", id="free")
    assert (await executor.take()).id == "free"
    held = await call.create("work", id="held", app_name="other")
    assert held["status_reason"] == "paused"
    bad, good = await call("pauses.list")
    assert (bad["id"], bad["active"], good["active"]) == ("bad", False, True)
    assert LOST[field] in bad["problem"]
    await call("pauses.remove", id="bad")
    assert [one["id"] for one in await call("pauses.list")] == ["good"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"app_name":"default"', '"app_name":null', "it names nothing that it holds"),
        ('"duration":3600.0', '"duration":null', "only one of `cron` and `duration`"),
        ('"cron":"* * * * *"', '"cron":null', "only one of `cron` and `duration`"),
        ('"app_name":"default"', '"app_name":1', "Expected `str | null`"),
        ('"id":"bad"', '"id":"other"', "another `id`"),
        ("{", "[", "malformed"),
    ],
)
async def test_a_pause_that_has_lost_a_value_holds_nothing_and_is_shown(
    old: str,
    new: str,
    problem: str,
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
) -> None:
    await call("pauses.add", id="bad", app_name="default", reason="r", **ALWAYS)
    await damage_pause(manager, sql, old, new)
    await call.create("work", id="free")
    assert (await executor.take()).id == "free"
    (bad,) = await call("pauses.list")
    assert (bad["id"], bad["active"]) == ("bad", False)
    assert problem in bad["problem"]


async def damage_pause(manager: Manager, sql: Sql, old: str, new: str) -> None:
    """Replace a part of the stored pause `bad`, and let the manager read it again."""
    await sql(f"UPDATE pauses SET body = replace(body, '{old}', '{new}') WHERE id = 'bad'")
    manager.pauses.changed()


async def test_a_manager_starts_beside_a_pause_that_cannot_be_applied(settings: Settings) -> None:
    async with a_manager(settings) as first:
        await Calls(first)("pauses.add", id="bad", app_name="default", reason="x", **ALWAYS)
    await run_sql(settings.db, "UPDATE pauses SET body = replace(body, 'Berlin', 'Atlantis')")
    async with a_manager(settings) as second:
        executor = HandExecutor(second, "hand")
        await executor.connect()
        async with pinging(executor):
            await Calls(second).create("work", id="good")
            assert (await executor.take()).id == "good"


async def test_a_bulk_call_whose_order_cannot_be_read_fails_and_the_others_go_on(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_manager(settings) as first:
        call = Calls(first)
        for id in ("t1", "t2", "t3", "t4"):
            await call.create("work", id=id, delay=3600)
        slow: dict[str, Any] = {"rate": 0.1, "wait": 0.01, "conditions": {"id": {"like": "%"}}}
        bad = await call("tasks.m_suspend", bulk_id="bad", **slow)
        good = await call("tasks.m_cancel", bulk_id="good", **slow)
        assert (bad["state"], good["state"]) == ("RUNNING", "RUNNING")
    await run_sql(settings.db, "UPDATE bulks SET body = '{' WHERE id = 'bad'")
    await run_sql(settings.db, "UPDATE bulks SET body = replace(body, '0.1', '1e6')")
    async with a_manager(settings) as second:
        call = Calls(second)

        async def ended() -> bool:
            listed = (await call("bulk.list"))["data"]
            return {one["state"] for one in listed} == {"FAILED", "FINISHED"}

        await wait_until(ended, "both calls have ended")
        bad = await call("bulk.get", id="bad")
        assert (bad["state"], bad["conditions"]) == ("FAILED", {})
        assert "what was asked for cannot be read" in bad["error"]
        for id in ("t1", "t2", "t3", "t4"):
            assert (await call.get(id))["status"] == "FAILED"
    assert sum("the order of the bulk call bad" in line for line in errors(caplog)) <= 1


async def test_a_bulk_call_of_unknown_state_or_progress_is_listed(
    call: Calls, sql: Sql, settings: Settings
) -> None:
    await call("tasks.m_suspend", bulk_id="bad", conditions={"group": "none"})
    await call("tasks.m_suspend", bulk_id="good", conditions={"group": "none"})
    if not settings.db.startswith("sqlite"):
        await sql("ALTER TABLE bulks DROP CONSTRAINT bulks_state_known")
    await sql("UPDATE bulks SET state = 'RESTING', progress = '[]' WHERE id = 'bad'")
    listed = {one["id"]: one for one in (await call("bulk.list"))["data"]}
    assert (listed["good"]["state"], listed["bad"]["state"]) == ("FINISHED", "FAILED")


async def test_labels_that_cannot_be_read_hide_no_notification_and_no_run(
    call: Calls, executor: HandExecutor, sql: Sql, settings: Settings
) -> None:
    await call.create("work", id="bad", notify=True, labels={"a": "b"})
    await executor.finish(await executor.take())
    await call.until("bad", "FINISHED")
    for table in ("notifications", "definitions"):
        await sql(f"UPDATE {table} SET labels = '[1]'")
    (notification,) = (await call("notifications.list"))["data"]
    assert (notification["task_id"], notification["labels"]) == ("bad", {})
    assert (await call("notifications.get", id=notification["id"]))["labels"] == {}
    (run,) = (await call("runs.list"))["data"]
    assert (run["task_id"], run["labels"]) == ("bad", {})


async def test_an_error_that_is_no_json_is_shown_as_null(
    call: Calls, executor: HandExecutor, sql: Sql, manager: Manager
) -> None:
    await call.create("work", id="bad", app_name="default", max_retries=1, retry_delay=3600)
    await executor.fail(await executor.take())
    await call.until("bad", "IDLE")
    issued = await database_issuer(manager.store).create(
        TokenOrder(principal="eve", kind=Kind.VIEWER, scope=Scope())
    )
    manager.auth.changed()
    admission = await manager.auth.admit(issued.token)
    viewer = call.by(type(call.caller)(admission.principal, remote="10.0.0.1"))
    for damaged in ("{", "[]", '"x"'):
        await sql(f"UPDATE tasks SET error = '{damaged}' WHERE id = 'bad'")
        manager.committer.states.rows.forget(["bad"])
        for caller in (call, viewer):
            assert (await caller.get("bad"))["id"] == "bad"
            assert await caller("tasks.explain", id="bad")
            assert len(await caller("tasks.runs", id="bad")) == 1
            assert (await caller("tasks.list", columns=["id", "error.type"]))["data"]


@pytest.mark.parametrize("damaged", ["{", "[]", '"x"', '{"type":1}'])
@pytest.mark.parametrize("action", ["reset", "restart_from", "cancel", "run_now"])
async def test_a_run_whose_error_is_no_json_is_ended_and_begun_again(
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    manager: Manager,
    caplog: pytest.LogCaptureFixture,
    action: str,
    damaged: str,
) -> None:
    await call.create("work", id="bad", app_name="default", max_retries=1, retry_delay=3600)
    await executor.fail(await executor.take())
    await call.until("bad", "IDLE")
    await sql(f"UPDATE tasks SET error = '{damaged}' WHERE id = 'bad'")
    manager.committer.states.rows.forget(["bad"])
    more = {"stage": 0} if action == "restart_from" else {}
    assert (await call(f"tasks.{action}", id="bad", **more))["id"] == "bad"
    assert await call("tasks.runs", id="bad")
    if action != "cancel":
        assert (await executor.take()).id == "bad"
    assert "publishing committed changes failed" not in errors(caplog)


async def test_the_runs_of_a_task_of_unknown_status_are_listed(
    call: Calls, executor: HandExecutor, sql: Sql, settings: Settings
) -> None:
    await call.create({"method": "_MESSAGE_", "params": {}}, id="bad")
    if not settings.db.startswith("sqlite"):
        await sql("ALTER TABLE tasks DROP CONSTRAINT tasks_status_known")
    await sql("UPDATE tasks SET status = 'LIMBO' WHERE id = 'bad'")
    (run,) = await call("tasks.runs", id="bad")
    assert run["status"] == "LIMBO"


async def test_an_audit_record_that_cannot_be_read_hides_no_reason(call: Calls, sql: Sql) -> None:
    await call.create("work", id="held", delay=3600)
    await call("tasks.suspend", id="held")
    await sql("UPDATE audit SET data = '[]'")
    assert (await call("tasks.explain", id="held"))["reasons"]
    assert await call("tasks.m_explain", ids=["held"])


async def test_a_principal_of_unknown_kind_may_do_nothing_and_hides_no_other(
    manager: Manager, call: Calls, sql: Sql, settings: Settings
) -> None:
    issuer = database_issuer(manager.store)
    await issuer.create(TokenOrder(principal="root", kind=Kind.ADMIN, scope=Scope()))
    issued = await issuer.create(TokenOrder(principal="eve", kind=Kind.OPERATOR, scope=Scope()))
    if not settings.db.startswith("sqlite"):
        await sql("ALTER TABLE principals DROP CONSTRAINT principals_kind_known")
    await sql("UPDATE principals SET kind = 'auditor' WHERE id = 'eve'")
    credential = await manager.store.credential(issued.id)
    assert credential.principal is not None
    assert (credential.principal.kind, credential.principal.scope) == (Kind.VIEWER, NOTHING_SCOPE)
    listed = await call("tokens.list")
    assert {"root", "eve"} <= {one["principal"] for one in listed}


@pytest.mark.parametrize("commands", ["{", "{}", "[1]", '[{"verb":"work"}]'])
async def test_an_executor_whose_commands_cannot_be_read_hinders_no_create(
    call: Calls, executor: HandExecutor, sql: Sql, commands: str
) -> None:
    await sql(f"UPDATE executors SET commands = '{commands}'")
    created = await call.create("work", id="good")
    assert created["warnings"] == []
    assert (await executor.take()).id == "good"
    await call.create("other", id="next", delay=3600)
    assert await call("tasks.explain", id="next")
    assert await call("executors.commands") == []
    assert [one["id"] for one in await call("executors.list")] == ["hand"]


async def test_an_error_of_a_child_that_cannot_be_read_ends_its_parent(
    call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    for id in ("one", "two"):
        await call.create("work", id=id)
    waits = {"method": "_TASKS_", "params": {"ids": ["one", "two"], "on_error": "continue"}}
    await call.create(waits, id="parent")
    await call.create("work", id="other", delay=3600)
    first, second = await executor.take(), await executor.take()
    await executor.fail(first)
    await call.until(first.id, "FAILED")
    await sql("UPDATE children SET error = '[' WHERE error IS NOT NULL")
    await executor.finish(second)
    parent = await call.until("parent", "FINISHED")
    errors = {one["id"]: one["error"] for one in parent["result"][0]}
    assert errors[first.id]["message"] == "the stored error cannot be read"


async def test_a_schedule_whose_zone_is_gone_hides_no_coming_fires_of_others(
    call: Calls, sql: Sql, manager: Manager
) -> None:
    bad = await call.create("work", id="bad", cron="0 0 1 1 *", timezone="Europe/Berlin")
    await call.create("work", id="good", every=3600)
    await sql("UPDATE definitions SET body = replace(body, 'Berlin', 'Atlantis')")
    manager.committer.states.definitions.forget("bad")
    now = bad["next_run"] - 10
    coming = await call("schedules.upcoming", start=now, end=now + 7200)
    assert [one["id"] for one in coming["data"]].count("bad") == 1
    assert {one["id"] for one in coming["data"]} == {"bad", "good"}
