"""Bulk calls: how they go on, end, and are shown."""

from collections.abc import Sequence
from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import Conflict, InvalidParams, NotFound, TooLarge, TooManyRequests
from kaiju_tasks.lifecycle import Cause, TaskState
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.manager.bulk import run
from kaiju_tasks.manager.bulk.task_matcher import TaskMatcher
from kaiju_tasks.manager.writing.batch import Batch
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.entries import Entry
from kaiju_tasks.rights import Kind, Scope
from kaiju_tasks.store.base import StoreUnavailable, Transaction
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until

AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}
MESSAGE = {"method": "_MESSAGE_", "params": {"name": "go"}}
ALL = {"id": {"like": "%"}}
COUNTS = ("matched", "done", "refused", "pending")
SLOW = {"rate": 5, "wait": 0.05}


async def make(call: Calls, count: int, *commands: Any, **fields: Any) -> None:
    """Tasks t000, t001, …"""
    sent = [{"method": one} if isinstance(one, str) else one for one in commands]
    data = [{"id": f"t{index:03}", "commands": sent, **fields} for index in range(count)]
    await call("tasks.m_create", data=data)


def only(result: dict[str, Any], *names: str) -> list[Any]:
    return [result[name] for name in names]


async def as_(call: Calls, name: str, kind: Kind, **scope: Any) -> tuple[Calls, str]:
    """Calls with a new token, and the id of the token."""
    auth = call.manager.auth
    order = TokenOrder(principal=name, kind=kind, scope=Scope(**scope))
    issued = await database_issuer(call.manager.store).create(order)
    auth.changed()
    admission = await auth.admit(issued.token)
    return call.by(Caller(admission.principal, remote="10.0.0.1")), issued.id


async def ended(call: Calls, bulk_id: str) -> dict[str, Any]:
    async def over() -> dict[str, Any]:
        found: dict[str, Any] = await call("bulk.get", id=bulk_id)
        return found if found["state"] != "RUNNING" else {}

    return await wait_until(over, "the bulk call has ended")


async def in_every_situation(call: Calls, executor: HandExecutor) -> None:
    """Tasks in every status, some of which have failed before."""
    await call.create("a", id="executed")
    await executor.take()
    await call.create("a", id="idle", delay=3600)
    await call.create("a", id="queued", app_name="nobody")
    await call.create(MESSAGE, id="waiting")
    await call.create("a", id="suspended", delay=3600)
    await call("tasks.suspend", id="suspended")
    await call.create(AT_ONCE, id="finished")
    await call.create(AT_ONCE, "a", id="failed", app_name="nobody")
    await call("tasks.cancel", id="failed")
    await call.create("a", id="between", cron="0 0 1 1 *", app_name="nobody")
    await call.create(AT_ONCE, "a", id="between-failed", cron="0 0 1 1 *", app_name="nobody")
    await call("tasks.run_now", id="between-failed")
    await call.until("between-failed", "QUEUED")
    await call("tasks.cancel", id="between-failed")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("m_reset", {}),
        ("m_cancel", {}),
        ("m_suspend", {}),
        ("m_resume", {}),
        ("m_run_now", {}),
        ("m_restart_from", {"stage": "failed"}),
        ("m_restart_from", {"stage": 0}),
        ("m_restart_from", {"stage": 1}),
        ("m_delete", {}),
    ],
)
async def test_a_dry_run_foresees_what_the_call_refuses(
    call: Calls, executor: HandExecutor, method: str, params: dict[str, Any]
) -> None:
    await in_every_situation(call, executor)
    dry = await call(f"tasks.{method}", conditions=ALL, dry_run=True, **params)
    real = await call(f"tasks.{method}", conditions=ALL, **params)
    assert (dry["matched"], dry["done"]) == (9, 0)
    assert (dry["refused"], dry["pending"]) == (real["refused"], real["done"])
    assert dry["errors"] == real["errors"]
    assert sorted(dry["refusals"], key=str) == sorted(real["refusals"], key=str)
    assert sum(one["count"] for one in dry["refusals"]) == dry["refused"]


async def test_tasks_restart_from_the_stage_that_has_failed(
    call: Calls, executor: HandExecutor
) -> None:
    for task_id in ("one", "two"):
        await call.create("charge", "mail", id=task_id)
        await executor.finish(await executor.take(), "charged", 0)
    await call("tasks.cancel", id="one")
    await call("tasks.cancel", id="two")
    await call.create("charge", "mail", id="idle", delay=3600)
    result = await call("tasks.m_restart_from", conditions=ALL, stage="failed")
    assert only(result, *COUNTS) == [3, 2, 1, 0]
    (refusal,) = result["errors"]
    assert (refusal["id"], refusal["reason"]) == ("idle", "status")
    assert "has not failed" in refusal["message"]
    for _ in ("one", "two"):
        task = await executor.take()
        assert task.stage == 1
    assert (await call.get("one"))["result"] == ["charged"]


SOON = {"method": "_MESSAGE_", "params": {}, "max_timeout": 0.05}
FAILING_HOOKS: dict[str, dict[str, Any]] = {
    "message": SOON,
    "children": {"method": "_TASKS_", "params": {"create": [{"commands": [SOON]}]}},
    "template": {"method": "_TIMER_", "params": {"timer": "[0.nothing]"}},
}


async def test_tasks_restart_from_the_hook_that_has_failed(
    call: Calls, executor: HandExecutor
) -> None:
    for task_id, hook in FAILING_HOOKS.items():
        await call.create("charge", hook, id=task_id, group="g")
        await executor.finish(await executor.take(), "charged", 0)
        await call.until(task_id, "FAILED")
    errors = {task_id: (await call.get(task_id))["error"] for task_id in FAILING_HOOKS}
    result = await call("tasks.m_restart_from", conditions={"group": "g"}, stage="failed")
    assert only(result, *COUNTS) == [3, 3, 0, 0]
    for task_id in FAILING_HOOKS:
        task = await call.until(task_id, "FAILED")
        again, _ = await call("tasks.runs", id=task_id)
        assert (again["job_id"], again["stage"], task["result"]) == (task["job_id"], 1, ["charged"])
        assert task["error"]["type"] == errors[task_id]["type"]
    assert executor.assigned.empty()


async def test_a_message_goes_to_every_run_that_takes_it_once(call: Calls) -> None:
    await make(call, 3, MESSAGE, "a", app_name="nobody")
    await call.create("a", id="deaf", app_name="nobody")
    await call.create(MESSAGE, id="over")
    await call("tasks.cancel", id="over")
    dry = await call("tasks.m_message", conditions=ALL, data={"ok": True}, dry_run=True)
    assert only(dry, *COUNTS) == [5, 0, 1, 4]
    result = await call("tasks.m_message", conditions=ALL, data={"ok": True}, name="go")
    assert only(result, *COUNTS) == [5, 3, 2, 0]
    assert {(one["id"], one["reason"]) for one in result["errors"]} == {
        ("deaf", "rejected"),
        ("over", "rejected"),
    }
    assert (await call.get("t001"))["result"] == [{"ok": True}]
    again = await call(
        "tasks.m_message",
        conditions={"id": {"like": "t%"}},
        data=2,
        message_id=result["bulk_id"],
    )
    assert only(again, "done", "changed", "refused") == [3, 0, 0]
    shown = await call("bulk.get", id=result["bulk_id"])
    assert shown["args"] == {"name": "go"}


async def test_tasks_are_deleted_by_conditions(call: Calls) -> None:
    await make(call, 5, "a", delay=3600)
    await call.create("a", id="kept", delay=3600)
    result = await call("tasks.m_delete", conditions={"id": {"like": "t%"}}, reason="old")
    assert only(result, "deleted", "not_found", *COUNTS) == [5, [], 5, 5, 0, 0]
    assert [one["id"] for one in (await call("tasks.list"))["data"]] == ["kept"]
    (record,) = (await call("audit.list"))["data"]
    assert (record["action"], record["data"]["reason"]) == ("tasks.m_delete", "old")


@pytest.mark.parametrize(
    "params",
    [{}, {"ids": ["a"], "conditions": ALL}, {"ids": ["a"], "dry_run": True}],
    ids=str,
)
async def test_a_delete_is_by_ids_or_by_conditions(call: Calls, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("tasks.m_delete", **params)
    assert refused.value.data["field"] == "ids"


async def test_tasks_are_selected_by_label_and_by_what_has_failed(
    call: Calls, executor: HandExecutor
) -> None:
    for task_id, label in (("one", "acme"), ("two", "acme"), ("three", "other")):
        await call.create("charge", "mail", id=task_id, labels={"customer": label})
        await executor.finish(await executor.take(), 1, 0)
    for task_id in ("one", "three"):
        await call("tasks.cancel", id=task_id)
    chosen = {"label.customer": "acme", "error.type": "cancelled", "method": ["mail", "x"]}
    dry = await call("tasks.m_restart_from", conditions=chosen, stage="failed", dry_run=True)
    assert (dry["sample"], dry["pending"]) == (["one"], 1)
    result = await call("tasks.m_restart_from", conditions=chosen, stage="failed")
    assert only(result, *COUNTS) == [1, 1, 0, 0]
    assert (await call("bulk.get", id=result["bulk_id"]))["conditions"] == chosen


# progress, stop, bounds


async def test_a_call_is_shown_while_it_goes_on_and_can_be_stopped(call: Calls) -> None:
    await make(call, 50, "a", delay=3600)
    begun = await call("tasks.m_cancel", conditions=ALL, reason="too many", **SLOW)
    assert (begun["state"], begun["pending"] > 0) == ("RUNNING", True)
    (listed,) = (await call("bulk.list", conditions={"state": "RUNNING"}))["data"]
    assert only(listed, "id", "method", "reason", "rate") == [
        begun["bulk_id"], "tasks.m_cancel", "too many", 5.0,
    ]  # fmt: skip
    assert not {"sample", "errors"} & listed.keys()

    stopped = await call("bulk.stop", id=begun["bulk_id"], reason="enough")
    assert (stopped["state"], stopped["pending"] > 0) == ("STOPPED", True)
    assert stopped["done"] + stopped["pending"] == stopped["matched"] == 50
    await wait_until(lambda: not call.manager.bulks.own, "the manager has noticed it")
    cancelled = await call("tasks.count", conditions={"status": "FAILED"})
    assert cancelled["count"] == stopped["done"]
    records = (await call("audit.list"))["data"]
    assert {(one["action"], one["target"]) for one in records} == {
        ("bulk.stop", begun["bulk_id"]),
        ("tasks.m_cancel", None),
    }
    by_action = {one["action"]: one["data"] for one in records}
    assert by_action["bulk.stop"] == {"reason": "enough"}
    assert by_action["tasks.m_cancel"]["state"] == "STOPPED"
    with pytest.raises(Conflict) as refused:
        await call("bulk.stop", id=begun["bulk_id"])
    assert refused.value.data["status"] == "STOPPED"
    for method in ("bulk.get", "bulk.stop"):
        with pytest.raises(NotFound):
            await call(method, id="nope")


async def test_a_principal_has_a_bounded_number_of_calls(call: Calls) -> None:
    await make(call, 30, "a", delay=3600)
    begun = [await call("tasks.m_suspend", conditions=ALL, **SLOW) for _ in range(4)]
    with pytest.raises(TooManyRequests):
        await call("tasks.m_suspend", conditions=ALL, **SLOW)
    assert (await call("tasks.m_suspend", conditions=ALL, dry_run=True))["matched"] == 30
    await call("bulk.stop", id=begun[0]["bulk_id"])
    assert (await call("tasks.m_suspend", conditions=ALL, **SLOW))["state"] == "RUNNING"
    for one in (await call("bulk.list", conditions={"state": "RUNNING"}))["data"]:
        await call("bulk.stop", id=one["id"])


async def test_a_rate_at_which_a_call_would_last_too_long_is_refused(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaiju_tasks.api.bulk.LASTS_SECONDS_MAX", 60.0)
    await make(call, 30, "a", delay=3600)
    with pytest.raises(InvalidParams, match=r"use a rate of at least 0\.5") as refused:
        await call("tasks.m_cancel", conditions=ALL, rate=0.1)
    assert refused.value.data["field"] == "rate"


async def test_a_call_that_lasts_too_long_fails(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LASTS_SECONDS_MAX", 0.3)
    await make(call, 30, "a", delay=3600)
    begun = await call("tasks.m_cancel", conditions=ALL, **SLOW)
    found = await ended(call, begun["bulk_id"])
    assert (found["state"], found["pending"] > 0) == ("FAILED", True)
    assert "has not ended within" in found["error"]


async def test_a_repeated_call_with_its_id_is_one_call(call: Calls) -> None:
    await make(call, 3, AT_ONCE)
    for _ in range(2):
        result = await call("tasks.m_reset", conditions=ALL, bulk_id="mine")
        assert only(result, "bulk_id", "state", *COUNTS) == ["mine", "FINISHED", 3, 3, 0, 0]
    assert len(await call("tasks.runs", id="t000")) == 2
    for other in ({"conditions": {"status": "FINISHED"}}, {"conditions": ALL}):
        method = "tasks.m_reset" if other["conditions"] != ALL else "tasks.m_cancel"
        with pytest.raises(Conflict):
            await call(method, bulk_id="mine", **other)


@pytest.mark.parametrize(
    ("method", "params", "other"),
    [
        ("m_message", {"data": 1}, {"data": 2}),
        ("m_message", {"data": 1}, {"data": 1, "name": "go"}),
        ("m_restart_from", {"stage": 0}, {"stage": "failed"}),
        ("m_suspend", {}, {"wait_stage": True}),
    ],
)
async def test_a_call_with_other_parameters_is_another_call(
    call: Calls, method: str, params: dict[str, Any], other: dict[str, Any]
) -> None:
    await make(call, 2, MESSAGE)
    for _ in range(2):
        await call(f"tasks.{method}", conditions=ALL, bulk_id="mine", **params)
    with pytest.raises(Conflict):
        await call(f"tasks.{method}", conditions=ALL, bulk_id="mine", **other)


# rights


async def test_a_call_ends_with_the_token_that_began_it(call: Calls) -> None:
    ann, token_id = await as_(call, "ann", Kind.USER)
    root, _ = await as_(call, "root", Kind.ADMIN)
    await make(ann, 30, "a", delay=3600)
    begun = await ann("tasks.m_cancel", conditions=ALL, **SLOW)
    await root("tokens.revoke", id=token_id)
    found = await ended(root, begun["bulk_id"])
    assert (found["state"], found["user_id"], found["pending"] > 0) == ("FAILED", "ann", True)
    assert "token" in found["error"]


async def test_a_call_of_a_stage_ends_with_its_owner_and_not_with_a_token(call: Calls) -> None:
    ann, token_id = await as_(call, "ann", Kind.USER)
    root, _ = await as_(call, "root", Kind.ADMIN)
    await make(ann, 40, "a", delay=3600)
    cause = Cause(by="parent", root="job", depth=0)
    stage = call.by(Caller(ann.caller.principal, remote="task:parent/job/0", cause=cause))
    begun = await stage("tasks.m_suspend", conditions=ALL, **SLOW)
    await root("tokens.revoke", id=token_id)
    before = await root("bulk.get", id=begun["bulk_id"])

    async def goes_on() -> bool:
        found = await root("bulk.get", id=begun["bulk_id"])
        return bool(found["done"] > before["done"] + 1)

    await wait_until(goes_on, "the call goes on")
    await root("principals.update", id="ann", data={"disabled": True})
    found = await ended(root, begun["bulk_id"])
    assert (found["state"], found["pending"] > 0) == ("FAILED", True)
    assert "rights of the caller have ended" in found["error"]


async def test_callers_see_and_stop_their_own_calls(call: Calls) -> None:
    ann, _ = await as_(call, "ann", Kind.USER)
    bob, _ = await as_(call, "bob", Kind.USER)
    scoped, _ = await as_(call, "op", Kind.OPERATOR, streams=("orders",))
    wide, _ = await as_(call, "wide", Kind.OPERATOR)
    await make(ann, 30, "a", delay=3600)
    begun = await ann("tasks.m_cancel", conditions=ALL, **SLOW)
    for stranger in (bob, scoped):
        assert (await stranger("bulk.list"))["data"] == []
        for method in ("bulk.get", "bulk.stop"):
            with pytest.raises(NotFound):
                await stranger(method, id=begun["bulk_id"])
    for one in (ann, wide):
        assert [found["id"] for found in (await one("bulk.list"))["data"]] == [begun["bulk_id"]]
    assert (await wide("bulk.stop", id=begun["bulk_id"]))["stopped_by"] == "wide"


# nothing twice, nothing left out


async def test_a_slice_whose_commit_is_in_doubt_is_handled_once(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SLICE_ROWS", 4)
    await make(call, 10, AT_ONCE)
    transaction = manager.store.transaction
    doubted: list[bool] = []

    class Doubtful:
        def __init__(self) -> None:
            self._inner = transaction()
            self._slice = False

        async def __aenter__(self) -> Transaction:
            tx = await self._inner.__aenter__()
            save_bulk = tx.save_bulk

            async def noted(bulk: Any) -> None:
                self._slice = bulk.running
                await save_bulk(bulk)

            monkeypatch.setattr(tx, "save_bulk", noted)
            return tx

        async def __aexit__(self, *error: Any) -> Any:
            result = await self._inner.__aexit__(*error)
            if self._slice and error[0] is None and len(doubted) < 2:
                doubted.append(True)
                raise StoreUnavailable("the answer was lost", unknown=True)
            return result

    monkeypatch.setattr(manager.store, "transaction", Doubtful)
    result = await call("tasks.m_reset", conditions={"status": "FINISHED"})
    assert only(result, *COUNTS) == [10, 10, 0, 0]
    assert len(doubted) == 2
    for index in range(10):
        assert len(await call("tasks.runs", id=f"t{index:03}")) == 2


async def test_tasks_that_cannot_be_written_together_are_written_apart(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Batch.write

    async def at_most_two(self: Batch, tx: Transaction, entries: Sequence[Entry]) -> Written[None]:
        ids = {entry.task_id for entry in entries}
        if len(entries) > 2:
            raise InvalidParams("too many together", field="data")
        if "t003" in ids:
            raise RuntimeError("a fault of ours")
        return await write(self, tx, entries)

    await make(call, 9, AT_ONCE)
    monkeypatch.setattr(Batch, "write", at_most_two)
    result = await call("tasks.m_reset", conditions={"id": {"like": "t%"}})
    monkeypatch.setattr(Batch, "write", write)
    assert only(result, *COUNTS) == [9, 8, 1, 0]
    (refusal,) = result["errors"]
    assert (refusal["id"], refusal["reason"]) == ("t003", "internal_error")
    runs = [len(await call("tasks.runs", id=f"t{index:03}")) for index in range(9)]
    assert runs == [2, 2, 2, 1, 2, 2, 2, 2, 2]


async def test_conditions_are_not_tested_again_for_tasks_that_have_not_changed(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: TaskMatcher, state: TaskState, *, same_definition: bool = False) -> bool:
        raise AssertionError("a long pattern on a long text would stop the loop")

    await make(call, 5, "a", delay=3600, description="a" * 65_536)
    monkeypatch.setattr(TaskMatcher, "matches", never)
    pattern = "%" + "a" * 990 + "%"
    result = await call("tasks.m_cancel", conditions={"description": {"like": pattern}})
    assert only(result, *COUNTS) == [5, 5, 0, 0]


async def test_costly_conditions_on_changed_definitions_are_decided_by_the_database(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(call, 8, "a", delay=3600, description="a long story")
    matching = manager.store.matching
    sizes: list[int] = []

    async def changed_after_the_look(*args: Any) -> list[tuple[str, int, int]]:
        found = await matching(*args)
        sizes.append(len(found))
        if len(sizes) == 1:
            await call("tasks.update", id="t001", data={"description": "another long story"})
            await call("tasks.update", id="t002", data={"description": "short"})
        return found

    monkeypatch.setattr(manager.store, "matching", changed_after_the_look)
    monkeypatch.setattr(run, "SLICE_ROWS", 4)
    story = {"description": {"like": "%long%"}}
    result = await call("tasks.m_cancel", conditions=story)
    assert only(result, "done", "refused", "pending") == [7, 0, 0]
    assert sizes[:2] == [4, 2]
    assert (await call.get("t002"))["status"] == "IDLE"


async def test_a_task_whose_definition_changes_again_and_again_is_handled_too(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(call, 2, "a", delay=3600, description="a long story")
    matching = manager.store.matching

    async def changed_after_each_look(*args: Any) -> list[tuple[str, int, int]]:
        found = await matching(*args)
        for task_id, rev, _ in found:
            await call("tasks.update", id=task_id, data={"description": f"long {rev}"})
        return found

    monkeypatch.setattr(manager.store, "matching", changed_after_each_look)
    result = await call("tasks.m_suspend", conditions={"description": {"like": "%long%"}})
    assert only(result, *COUNTS) == [2, 2, 0, 0]


async def test_a_selection_that_takes_too_long_is_made_smaller(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(call, 10, "a", delay=3600)
    matching, most = manager.store.matching, [3]
    sizes: list[int] = []

    async def slow(conditions: Any, limit: int, after: str | None) -> list[tuple[str, int, int]]:
        if limit > most[0]:
            raise TooLarge("this was read for more than 10 seconds", limit=10.0)
        sizes.append(limit)
        return await matching(conditions, limit, after)

    monkeypatch.setattr(manager.store, "matching", slow)
    result = await call("tasks.m_cancel", conditions=ALL)
    assert only(result, *COUNTS) == [10, 10, 0, 0]
    assert set(sizes) == {3}
    most[0] = 0
    with pytest.raises(TooLarge):
        await call("tasks.m_cancel", conditions=ALL)
    (newest, _) = (await call("bulk.list"))["data"]
    assert (newest["state"], newest["done"], newest["pending"]) == ("FAILED", 0, 10)
