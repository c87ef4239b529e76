"""`manager.declare`: schedules that executors declare."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import Forbidden, InvalidParams, InvalidRequest, NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.rights import Kind, Scope, Verb
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until

Json = dict[str, Any]
GRANT: Json = {"verbs": (Verb.SERVE, Verb.CREATE), "methods": ("report.*",)}


def nightly(**fields: Any) -> Json:
    return {
        "id": "nightly",
        "app_name": "default",
        "cron": "0 3 * * *",
        "commands": [{"method": "report.write"}],
        **fields,
    }


async def declare(executor: HandExecutor, task: Json, version: str = "1") -> str:
    """Declare one schedule. Returns its state."""
    schedule = {"task": task, "version": version}
    (outcome,) = (await executor.call("manager.declare", schedules=[schedule]))["schedules"]
    if outcome["state"] in ("older", "differs", "busy", "refused"):
        assert outcome["message"]
    return str(outcome["state"])


async def holding_a_token(
    manager: Manager, executor: HandExecutor, name: str = "deploy", **scope: Any
) -> HandExecutor:
    """The executor, connected with a token."""
    order = TokenOrder(principal=name, kind=Kind.EXECUTOR, scope=Scope(**scope))
    issued = await database_issuer(manager.store).create(order)
    manager.auth.changed()
    executor.caller.principal = (await manager.auth.admit(issued.token)).principal
    await executor.connect()
    return executor


async def root(manager: Manager, call: Calls) -> Calls:
    issued = await database_issuer(manager.store).create(
        TokenOrder(principal="root", kind=Kind.ADMIN, scope=Scope())
    )
    manager.auth.changed()
    return call.by(Caller((await manager.auth.admit(issued.token)).principal, remote="10.0.0.1"))


async def test_a_schedule_is_created_once(call: Calls, executor: HandExecutor) -> None:
    assert await declare(executor, nightly()) == "created"
    task = await call.get("nightly")
    assert (task["status"], task["cron"], task["rev"]) == ("IDLE", "0 3 * * *", 1)
    written = call.manager.committer.written
    assert await declare(executor, nightly()) == "unchanged"
    assert await declare(executor, nightly(), "") == "unchanged"
    assert call.manager.committer.written == written
    assert (await call("audit.list", conditions={"action": "manager.declare"}))["data"] == []


async def test_a_newer_version_replaces_an_older_one_and_not_the_other_way(
    call: Calls, executor: HandExecutor
) -> None:
    await declare(executor, nightly(), "1.9")
    assert await declare(executor, nightly(cron="0 4 * * *"), "1.10") == "replaced"
    assert await declare(executor, nightly(), "1.9") == "older"
    assert await declare(executor, nightly(cron="0 4 * * *"), "1.10") == "unchanged"
    assert await declare(executor, nightly(cron="0 5 * * *"), "1.10") == "differs"
    task = await call.get("nightly")
    assert (task["cron"], task["rev"]) == ("0 4 * * *", 2)
    (record,) = (await call("audit.list", conditions={"action": "manager.declare"}))["data"]
    assert (record["target"], record["data"]) == ("nightly", {"version": "1.10"})


async def test_an_unchanged_definition_of_a_newer_version_raises_the_version(
    call: Calls, executor: HandExecutor
) -> None:
    await declare(executor, nightly(), "1")
    assert await declare(executor, nightly(), "3") == "unchanged"
    written = call.manager.committer.written
    assert await declare(executor, nightly(), "3") == "unchanged"
    assert await declare(executor, nightly(), "1") == "unchanged"
    assert call.manager.committer.written == written
    assert await declare(executor, nightly(cron="0 4 * * *"), "2") == "older"
    task = await call.get("nightly")
    assert (task["cron"], task["rev"]) == ("0 3 * * *", 1)
    assert await declare(executor, nightly(cron="0 5 * * *"), "4") == "replaced"


async def test_an_open_run_does_not_keep_the_version_from_being_raised(
    call: Calls, executor: HandExecutor
) -> None:
    await declare(executor, nightly(), "1")
    await call("tasks.run_now", id="nightly")
    run = await executor.take()
    assert await declare(executor, nightly(), "3") == "unchanged"
    assert (await call.get("nightly"))["job_id"] == run.job_id
    await executor.finish(run)
    await call.until("nightly", "IDLE")
    assert await declare(executor, nightly(cron="0 4 * * *"), "2") == "older"


async def test_versions_without_an_order_do_not_fight(call: Calls, executor: HandExecutor) -> None:
    await declare(executor, nightly(), "")
    assert await declare(executor, nightly(every=60, cron=None), "") == "differs"
    assert await declare(executor, nightly(cron="0 4 * * *"), "abcdef") == "differs"
    assert await declare(executor, nightly(cron="0 4 * * *"), "1") == "replaced"


async def test_what_somebody_has_changed_stays_until_a_newer_version(
    call: Calls, executor: HandExecutor
) -> None:
    await declare(executor, nightly(), "1")
    await call("tasks.update", id="nightly", data={"cron": "0 6 * * *", "enabled": False})
    assert await declare(executor, nightly(), "1") == "differs"
    assert await declare(executor, nightly(), "2") == "replaced"
    task = await call.get("nightly")
    assert (task["cron"], task["enabled"]) == ("0 3 * * *", False)
    await call("tasks.delete", id="nightly")
    assert await declare(executor, nightly(), "2") == "created"


async def test_two_executors_of_different_versions_agree(
    manager: Manager, other_manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    second = HandExecutor(other_manager, "second")
    await second.connect(app="others")
    for _ in range(3):
        await asyncio.gather(
            declare(executor, nightly(cron="1 3 * * *"), "1"),
            declare(second, nightly(cron="2 3 * * *"), "2"),
        )
    task = await call.get("nightly")
    assert task["cron"] == "2 3 * * *"
    assert task["rev"] <= 2


async def test_commands_change_when_the_open_run_has_ended(
    call: Calls, executor: HandExecutor
) -> None:
    await declare(executor, nightly())
    await call("tasks.run_now", id="nightly")
    run = await executor.take()
    changed = nightly(commands=[{"method": "report.send"}])
    assert await declare(executor, changed, "2") == "busy"
    await executor.finish(run)
    await call.until("nightly", "IDLE")
    assert await declare(executor, changed, "2") == "replaced"


async def test_a_task_that_nobody_declared_is_left_alone(
    call: Calls, executor: HandExecutor
) -> None:
    await call("tasks.create", data=nightly())
    assert await declare(executor, nightly(cron="0 4 * * *"), "9") == "refused"
    assert (await call.get("nightly"))["cron"] == "0 3 * * *"


@pytest.mark.parametrize(
    "task",
    [
        {},
        {"id": "x", "commands": [{"method": "a"}]},
        {"id": "x", "cron": "@daily", "commands": []},
        {"id": "x", "cron": "never", "commands": [{"method": "a"}]},
        nightly(unique={"key": "task"}),
        nightly(next_task="nobody"),
        nightly(invented=1),
        {"id": 7},
    ],
    ids=str,
)
async def test_a_wrong_schedule_is_refused_and_the_others_are_not(
    call: Calls, executor: HandExecutor, task: Json
) -> None:
    schedules = [{"task": task}, {"task": nightly(id="good")}]
    outcomes = (await executor.call("manager.declare", schedules=schedules))["schedules"]
    assert [outcome["state"] for outcome in outcomes] == ["refused", "created"]


async def test_an_executor_needs_a_grant(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    with pytest.raises(InvalidRequest):
        await call("manager.declare", schedules=[])
    admin = await root(manager, call)
    await holding_a_token(manager, executor)
    with pytest.raises(Forbidden, match="the verb `create`"):
        await executor.call("manager.declare", schedules=[{"task": nightly()}])
    await holding_a_token(manager, executor, **GRANT)
    assert await declare(executor, nightly()) == "created"
    assert (await admin.get("nightly"))["user_id"] == "deploy"
    for beyond in (
        nightly(id="a", commands=[{"method": "mail.send"}]),
        nightly(id="b", app_name="manager", commands=[{"method": "tasks.list"}]),
        nightly(id="c", webhook={"url": "https://example.org"}),
        nightly(id="d", system=True),
        nightly(id="e", priority=900),
    ):
        assert await declare(executor, beyond) == "refused"
    with pytest.raises(Forbidden):
        await executor.call("tasks.create", data=nightly(id="f"))
    await holding_a_token(manager, executor, streams=("default",), **GRANT)
    assert await declare(executor, nightly(id="g", app_name="other")) == "refused"


async def test_the_schedule_of_another_owner_is_left_alone(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    await holding_a_token(manager, executor, **GRANT)
    await declare(executor, nightly())
    other = await holding_a_token(manager, HandExecutor(manager, "other"), "others", **GRANT)
    assert await declare(other, nightly(cron="0 4 * * *"), "9") == "refused"


async def test_a_run_of_a_declared_schedule_reaches_its_executor(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    admin = await root(manager, call)
    await holding_a_token(manager, executor, **GRANT)
    await declare(executor, nightly())
    await admin("tasks.run_now", id="nightly")
    assert (await executor.take()).id == "nightly"


async def test_too_many_schedules_are_refused(executor: HandExecutor) -> None:
    schedules = [{"task": nightly(id=f"n{n}")} for n in range(101)]
    with pytest.raises(InvalidParams):
        await executor.call("manager.declare", schedules=schedules)


async def test_a_run_of_a_declared_schedule_calls_the_manager_as_its_token_grants(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    admin = await root(manager, call)
    await admin.create("report.write", id="of-root", app_name="elsewhere")
    await holding_a_token(
        manager,
        executor,
        verbs=(Verb.SERVE, Verb.CREATE, Verb.READ),
        methods=("report.*",),
        stages=("tasks.*",),
    )
    await declare(executor, nightly())
    await admin("tasks.run_now", id="nightly")
    stage = stage_of(executor, await executor.take())
    data = {"id": "child", "app_name": "default", "commands": [{"method": "report.write"}]}
    child = await stage("tasks.create", data=data)
    assert (child["parent_id"], child["user_id"]) == ("nightly", "deploy")
    assert (await stage("tasks.get", id="child"))["id"] == "child"
    with pytest.raises(NotFound):
        await stage("tasks.get", id="of-root")
    with pytest.raises(Forbidden):
        await stage("tasks.cancel", id="child")  # without the verb `operate`
    with pytest.raises(Forbidden):
        await stage("tasks.create", data={**data, "commands": [{"method": "mail.send"}]})
    with pytest.raises(Forbidden):
        await executor.call("tasks.get", id="child")


@pytest.mark.parametrize("verbs", [(), (Verb.READ,)], ids=["without", "with"])
async def test_a_run_of_a_declared_schedule_waits_for_tasks_of_its_owner_if_it_may_read(
    manager: Manager, call: Calls, executor: HandExecutor, verbs: tuple[Verb, ...]
) -> None:
    scope = {**GRANT, "verbs": (*GRANT["verbs"], *verbs)}
    await holding_a_token(manager, executor, **scope)
    waits = {"method": "_TASKS_", "params": {"ids": ["first"]}}
    await declare(executor, nightly(id="first"))
    await declare(executor, nightly(commands=[waits, {"method": "report.write"}]))
    as_root = await root(manager, call)
    await as_root("tasks.run_now", id="nightly")
    if verbs:
        await as_root.until("nightly", "WAITING")
        return

    async def ended() -> list[Json]:
        runs: list[Json] = (await as_root("runs.list", conditions={"task_id": "nightly"}))["data"]
        return [run for run in runs if run["status"] != "RUNNING"]

    (run,) = await wait_until(ended, "the run has ended")
    assert (run["status"], run["error"]["message"]) == ("FAILED", "there is no task 'first'")


async def test_a_run_of_a_declared_schedule_calls_nothing_without_a_grant(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    admin = await root(manager, call)
    await holding_a_token(manager, executor, **GRANT)
    await declare(executor, nightly())
    await admin("tasks.run_now", id="nightly")
    stage = stage_of(executor, await executor.take())
    with pytest.raises(Forbidden, match="the rights of the task"):
        await stage("tasks.create", data=nightly(id="child"))


def stage_of(executor: HandExecutor, assigned: Assignment) -> Callable[..., Awaitable[Any]]:
    """Make calls of the stage that an executor runs."""

    async def stage(method: str, **params: Any) -> Any:
        token = {name: getattr(assigned, name) for name in ("id", "job_id", "epoch", "nonce")}
        asked = {"call_id": uuid4().hex, "method": method, "params": params}
        return await executor.call("manager.call", **token, stage=assigned.stage, **asked)

    return stage
