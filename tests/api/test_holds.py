"""A hold is that of a user or that of an operator, and users do not lift the holds of operators."""

from typing import Any

import pytest

from kaiju_tasks.errors import Forbidden
from kaiju_tasks.lifecycle import Situation
from kaiju_tasks.manager.bulk.actions import ACTIONS
from kaiju_tasks.rights import Kind, Principal, Verb
from kaiju_tasks.store.bulks import BulkArgs
from tests.api.test_declarations import declare, holding_a_token
from tests.api.test_rights import as_
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until

LIFTS: dict[str, dict[str, Any]] = {
    "tasks.resume": {},
    "tasks.reset": {},
    "tasks.restart_from": {"stage": 0},
    "tasks.cancel": {},
    "tasks.run_now": {},
}
BULK = {
    "tasks.m_resume": {},
    "tasks.m_reset": {},
    "tasks.m_restart_from": {"stage": 0},
    "tasks.m_cancel": {},
    "tasks.m_run_now": {},
}
ONLY_T = {"id": "t"}


@pytest.fixture
async def bob(call: Calls) -> Calls:
    """A user who owns the task `t`, which waits for an executor."""
    bob = await as_(call, "bob", Kind.USER)
    await bob.create("work", "work", id="t")
    return bob


@pytest.mark.parametrize("kind", [Kind.OPERATOR, Kind.ADMIN])
async def test_a_user_does_not_lift_the_hold_of_an_operator(
    call: Calls, bob: Calls, kind: Kind
) -> None:
    operator = await as_(call, "op", kind)
    held = await operator("tasks.suspend", id="t")
    assert (held["status"], held["status_reason"]) == ("SUSPENDED", "operator")
    for method, params in LIFTS.items():
        with pytest.raises(Forbidden, match="an operator has suspended the task 't'"):
            await bob(method, id="t", **params)
    for method, params in BULK.items():
        dry = await bob(method, conditions=ONLY_T, dry_run=True, **params)
        done = await bob(method, conditions=ONLY_T, **params)
        assert (dry["refused"], dry["pending"], dry["errors"]) == (1, 0, done["errors"])
        assert [(one["reason"], one["count"]) for one in dry["refusals"]] == [("forbidden", 1)]
        assert (done["done"], [one["reason"] for one in done["refusals"]]) == (0, ["forbidden"])
    assert (await bob("tasks.suspend", id="t"))["status_reason"] == "operator"
    assert await bob.get("t") == held
    assert (await operator("tasks.resume", id="t"))["status"] == "QUEUED"


@pytest.mark.parametrize("call_name", ["update", "m_update", "replace"])
async def test_a_user_does_not_end_a_schedule_that_an_operator_has_suspended(
    call: Calls, bob: Calls, executor: HandExecutor, call_name: str
) -> None:
    await executor.take()
    await bob.create("work", id="s", cron="0 0 1 1 *", next_run=0)
    await executor.finish(await executor.take(), 1)
    await bob.until("s", "IDLE")
    operator = await as_(call, "op", Kind.OPERATOR)
    held = await operator("tasks.suspend", id="s")
    commands = [{"method": "work"}]
    changes: dict[str, tuple[str, dict[str, Any]]] = {
        "update": ("tasks.update", {"id": "s", "data": {"cron": None}}),
        "m_update": ("tasks.m_update", {"ids": ["s"], "data": {"cron": None}}),
        "replace": (
            "tasks.create",
            {"data": {"id": "s", "commands": commands}, "on_conflict": "replace"},
        ),
    }
    method, params = changes[call_name]
    with pytest.raises(Forbidden, match="an operator has suspended the task 's'"):
        await bob(method, **params)
    assert await bob.get("s") == held
    await bob("tasks.update", id="s", data={"cron": "0 0 2 1 *"})
    assert (await bob.get("s"))["status_reason"] == "operator"
    await operator("tasks.update", id="s", data={"cron": None})
    assert (await bob.get("s"))["status"] == "FINISHED"


@pytest.mark.parametrize("bulk", [False, True])
async def test_a_user_lifts_its_own_hold_until_an_operator_takes_it_over(
    call: Calls, bob: Calls, bulk: bool
) -> None:
    async def suspend(calls: Calls) -> str | None:
        if bulk:
            await calls("tasks.m_suspend", conditions=ONLY_T)
        else:
            await calls("tasks.suspend", id="t")
        reason: str | None = (await calls.get("t"))["status_reason"]
        return reason

    operator = await as_(call, "op", Kind.OPERATOR)
    assert await suspend(bob) == "user"
    assert (await bob("tasks.resume", id="t"))["status"] == "QUEUED"
    assert await suspend(bob) == "user"
    assert await suspend(operator) == "operator"
    with pytest.raises(Forbidden):
        await bob("tasks.resume", id="t")
    assert (await operator("tasks.resume", id="t"))["status"] == "QUEUED"


async def test_an_operator_lifts_the_hold_of_a_user(call: Calls, bob: Calls) -> None:
    operator = await as_(call, "op", Kind.OPERATOR)
    await bob("tasks.suspend", id="t")
    assert (await operator("tasks.resume", id="t"))["status"] == "QUEUED"


@pytest.mark.parametrize("by_operator", [False, True])
async def test_a_hold_that_waits_for_the_stage_is_that_of_who_set_it(
    call: Calls, bob: Calls, executor: HandExecutor, by_operator: bool
) -> None:
    operator = await as_(call, "op", Kind.OPERATOR)
    assigned = await executor.take()
    asked = await bob("tasks.suspend", id="t", wait_stage=True)
    assert (asked["status"], asked["status_reason"]) == ("EXECUTED", "user")
    if by_operator:
        asked = await operator("tasks.suspend", id="t", wait_stage=True)
        assert (asked["status"], asked["status_reason"]) == ("EXECUTED", None)
        with pytest.raises(Forbidden):
            await bob("tasks.reset", id="t")
        assert (await bob("tasks.suspend", id="t"))["status_reason"] == "operator"
    else:
        await executor.finish(assigned, 1)
        assert (await bob.until("t", "SUSPENDED"))["status_reason"] == "user"
        assert (await bob("tasks.resume", id="t"))["status"] in ("QUEUED", "EXECUTED")


async def test_without_tokens_everybody_lifts_every_hold(call: Calls) -> None:
    await call.create("work", id="t")
    assert (await call("tasks.suspend", id="t"))["status_reason"] == "operator"
    assert (await call("tasks.resume", id="t"))["status"] == "QUEUED"


def parent_of(*children: str) -> dict[str, Any]:
    """A command whose stage creates tasks and waits for them."""
    create = [{"id": child, "commands": [{"method": "work"}]} for child in children]
    return {"method": "_TASKS_", "params": {"create": create}}


OF_THE_PARENT: list[tuple[str, dict[str, Any]]] = [
    ("tasks.cancel", {"id": "parent"}),
    ("tasks.delete", {"id": "parent"}),
    ("tasks.reset", {"id": "parent"}),
    ("tasks.restart_from", {"id": "parent", "stage": 0}),
    ("tasks.suspend", {"id": "parent"}),
    ("tasks.m_cancel", {"conditions": {"id": "parent"}}),
    ("tasks.m_delete", {"ids": ["parent"]}),
    ("tasks.m_delete", {"conditions": {"id": "parent"}}),
    ("tasks.m_reset", {"conditions": {"id": "parent"}}),
    ("tasks.m_restart_from", {"conditions": {"id": "parent"}, "stage": 0}),
    ("tasks.m_suspend", {"conditions": {"id": "parent"}}),
]


@pytest.mark.parametrize(("method", "params"), OF_THE_PARENT)
async def test_a_user_does_not_lift_the_hold_of_a_child_through_its_parent(
    call: Calls, bob: Calls, method: str, params: dict[str, Any]
) -> None:
    await bob.create(parent_of("child", "free"), id="parent")
    await bob.until("free", "QUEUED")
    operator = await as_(call, "op", Kind.OPERATOR)
    held = await operator("tasks.suspend", id="child")
    await bob(method, **params)
    begun_again = "reset" in method or "restart" in method
    if begun_again:
        parent = await bob.until("parent", "FAILED")
        assert "an operator has suspended the task 'child'" in parent["error"]["message"]
    if "suspend" not in method:
        await bob.until("free", "FAILED")
    assert await bob.get("child") == held
    for lift, more in LIFTS.items():
        with pytest.raises(Forbidden):
            await bob(lift, id="child", **more)
    assert (await operator("tasks.resume", id="child"))["status"] == "QUEUED"
    if begun_again:
        await bob("tasks.reset", id="parent")
        await bob.until("free", "QUEUED")
        assert (await bob.get("child"))["job_id"] != held["job_id"]


async def test_a_deleted_parent_that_is_created_again_does_not_lift_it(
    call: Calls, bob: Calls
) -> None:
    await bob.create(parent_of("child"), id="parent")
    await bob.until("child", "QUEUED")
    operator = await as_(call, "op", Kind.OPERATOR)
    held = await operator("tasks.suspend", id="child")
    await bob("tasks.delete", id="parent")
    await bob.create(parent_of("child"), id="parent")
    parent = await bob.until("parent", "FAILED")
    assert "an operator has suspended the task 'child'" in parent["error"]["message"]
    assert await bob.get("child") == held


@pytest.mark.parametrize("method", ["tasks.cancel", "tasks.reset", "tasks.delete"])
async def test_the_hold_of_a_child_of_a_declared_schedule_stays(
    call: Calls, executor: HandExecutor, method: str
) -> None:
    create = [{"id": "child", "app_name": "elsewhere", "commands": [{"method": "work"}]}]
    parent = {"method": "_TASKS_", "params": {"create": create}}
    schedule = {"id": "s", "app_name": "default", "cron": "0 0 1 1 *", "commands": [parent]}
    grant: dict[str, Any] = {"verbs": (Verb.SERVE, Verb.CREATE), "methods": ("work",)}
    declaring = await holding_a_token(call.manager, executor, **grant)
    admin = await as_(call, "root", Kind.ADMIN)
    assert await declare(declaring, schedule) == "created"
    await admin("tasks.run_now", id="s")
    await admin.until("child", "QUEUED")
    operator = await as_(call, "op", Kind.OPERATOR)
    held = await operator("tasks.suspend", id="child")
    await admin(method, id="s")
    if method == "tasks.delete":
        assert await declare(declaring, schedule) == "created"
    if method != "tasks.reset":
        await admin("tasks.run_now", id="s")

    async def refused() -> bool:
        return "an operator has suspended the task 'child'" in str((await admin.get("s"))["error"])

    await wait_until(refused, "the schedule may not start its child")
    assert await admin.get("child") == held


@pytest.mark.parametrize("kind", list(Kind))
def test_a_dry_run_foresees_who_lifts_the_hold_of_an_operator(kind: Kind) -> None:
    situation = Situation("SUSPENDED", open=True, exit_code=None, last_stage=0, held=True)
    foreseen = ACTIONS["tasks.m_cancel"].foresee(situation, BulkArgs(), Principal("p", kind), "t")
    assert isinstance(foreseen, Forbidden) is (kind not in (Kind.OPERATOR, Kind.ADMIN))


@pytest.mark.parametrize("method", ["tasks.cancel", "tasks.delete", "tasks.reset"])
async def test_a_parent_decides_about_a_child_that_its_own_user_has_suspended(
    call: Calls, bob: Calls, method: str
) -> None:
    await bob.create(parent_of("child"), id="parent")
    await bob.until("child", "QUEUED")
    await bob("tasks.suspend", id="child")
    await bob(method, id="parent")
    await bob.until("child", "QUEUED" if method == "tasks.reset" else "FAILED")


async def test_an_operator_who_holds_the_parent_too_holds_the_family(
    call: Calls, bob: Calls
) -> None:
    create = [{"id": "child", "commands": [{"method": "work"}]}]
    await bob.create({"method": "_TASKS_", "params": {"create": create}}, id="parent")
    await bob.until("child", "QUEUED")
    operator = await as_(call, "op", Kind.OPERATOR)
    for task_id in ("parent", "child"):
        await operator("tasks.suspend", id=task_id)
    for method, params in LIFTS.items():
        with pytest.raises(Forbidden):
            await bob(method, id="parent", **params)
    assert (await bob.get("child"))["status_reason"] == "operator"


@pytest.mark.parametrize("wait_stage", [False, True])
async def test_a_dry_run_foresees_which_holds_a_user_cannot_lift(
    call: Calls, bob: Calls, executor: HandExecutor, wait_stage: bool
) -> None:
    operator = await as_(call, "op", Kind.OPERATOR)
    await executor.take()
    await bob.create("work", id="own")
    await executor.take()
    await bob.create("work", id="free")
    await executor.take()
    await operator("tasks.suspend", id="t", wait_stage=wait_stage)
    await bob("tasks.suspend", id="own", wait_stage=wait_stage)
    everything = {"id": ["t", "own", "free"]}
    for caller, refused in ((operator, 0), (bob, 1)):
        dry = await caller("tasks.m_cancel", conditions=everything, dry_run=True)
        assert (dry["refused"], dry["pending"]) == (refused, 3 - refused)
        assert [one["id"] for one in dry["errors"]] == ["t"] * refused
    real = await bob("tasks.m_cancel", conditions=everything)
    assert (real["refused"], real["errors"]) == (1, dry["errors"])
