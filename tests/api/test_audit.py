"""Who did which operator action when, from where."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kaiju_tasks.api import Caller, method_registry
from kaiju_tasks.errors import Conflict, InvalidParams, NotFound
from kaiju_tasks.lifecycle import Reset
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Principal, Verb, access
from kaiju_tasks.store import Transaction
from tests.manager.hand import Calls, HandExecutor
from tests.support.doubt import in_doubt

AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}
DAY_SECONDS = 86_400.0


@pytest.fixture
def ann(manager: Manager) -> Calls:
    """Calls of a named caller from a known address."""
    return Calls(manager, Caller(Principal("ann", kind=None), remote="10.0.0.9"))


async def audit(call: Calls, **params: Any) -> list[dict[str, Any]]:
    page = await call("audit.list", **params)
    return list(page["data"])


async def actions(call: Calls) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Action, target and data, the oldest first."""
    return [(one["action"], one["target"], one["data"]) for one in reversed(await audit(call))]


async def test_actions_on_a_task_are_recorded_with_who_what_and_from_where(ann: Calls) -> None:
    await ann.create("a", "b", id="t", delay=3600)
    await ann("tasks.update", id="t", data={"priority": 3, "kws": {"token": "s3cret"}})
    await ann("tasks.suspend", id="t", wait_stage=True)
    await ann("tasks.resume", id="t")
    await ann("tasks.run_now", id="t")
    await ann("tasks.cancel", id="t")
    await ann("tasks.reset", id="t")
    await ann("tasks.restart_from", id="t", stage=0)
    await ann("tasks.delete", id="t")
    assert await actions(ann) == [
        ("tasks.update", "t", {"fields": ["kws", "priority"]}),
        ("tasks.suspend", "t", {"wait_stage": True}),
        ("tasks.resume", "t", {}),
        ("tasks.run_now", "t", {}),
        ("tasks.cancel", "t", {}),
        ("tasks.reset", "t", {}),
        ("tasks.restart_from", "t", {"stage": 0}),
        ("tasks.delete", "t", {}),
    ]
    records = await audit(ann)
    assert {(one["user_id"], one["remote"]) for one in records} == {("ann", "10.0.0.9")}
    assert "s3cret" not in str(records)
    moments = [one["at"] for one in records]
    assert moments == sorted(moments, reverse=True)
    assert abs(moments[0] - await ann.manager.store.now()) < 60


async def test_creating_reading_and_messages_leave_no_record(ann: Calls) -> None:
    hook = {"method": "_MESSAGE_", "params": {}}
    await ann.create(hook, id="t")
    await ann("tasks.m_create", data=[{"commands": [{"method": "a"}], "delay": 60}])
    await ann("tasks.create", data={"id": "t", "commands": [hook]}, on_conflict="ignore")
    await ann("tasks.message", id="t", data=1)
    await ann("tasks.list")
    await ann("tasks.runs", id="t")
    assert await audit(ann) == []


async def test_a_task_that_is_replaced_was_changed(ann: Calls) -> None:
    await ann.create("a", id="t", delay=3600)
    data = {"id": "t", "commands": [{"method": "b"}], "delay": 3600}
    await ann("tasks.create", data=data, on_conflict="replace")
    assert await actions(ann) == [("tasks.create", "t", {"on_conflict": "replace"})]
    again = {**data, "priority": 3}
    await ann("tasks.create", data=again, on_conflict="replace", reason="a deploy")
    assert (await actions(ann))[-1][2] == {"on_conflict": "replace", "reason": "a deploy"}
    assert (await ann("tasks.versions", id="t"))[0]["reason"] == "a deploy"


async def test_what_is_refused_or_changes_nothing_leaves_no_record(
    ann: Calls, executor: HandExecutor
) -> None:
    await ann.create(AT_ONCE, id="ended")
    with pytest.raises(Conflict):
        await ann("tasks.cancel", id="ended")
    with pytest.raises(NotFound):
        await ann("tasks.reset", id="nope")
    with pytest.raises(InvalidParams):
        await ann("tasks.update", id="ended", data={"max_retries": 11})
    assert await ann("tasks.delete", id="nope") == {"deleted": False}
    with pytest.raises(NotFound):
        await ann("executors.drain", id="nope")
    await ann("executors.resume", id=executor.id)
    await ann.create("a", id="held", delay=3600)
    await ann("tasks.suspend", id="held")
    await ann("tasks.suspend", id="held")
    assert await actions(ann) == [("tasks.suspend", "held", {"wait_stage": False})]


async def test_actions_on_executors_are_recorded(ann: Calls, executor: HandExecutor) -> None:
    for action in ("drain", "resume", "suspend", "suspend", "resume"):
        await ann(f"executors.{action}", id=executor.id)
    assert await actions(ann) == [
        ("executors.drain", "hand", {}),
        ("executors.resume", "hand", {}),
        ("executors.suspend", "hand", {}),
        ("executors.resume", "hand", {}),
    ]


async def test_each_task_deleted_among_many_is_recorded(ann: Calls) -> None:
    for name in ("a", "b"):
        await ann.create("x", id=name, delay=3600)
    assert await ann("tasks.m_delete", ids=["a", "nope", "b"]) == {
        "deleted": 2,
        "not_found": ["nope"],
    }
    assert sorted(await actions(ann)) == [("tasks.m_delete", "a", {}), ("tasks.m_delete", "b", {})]


async def test_cleaning_is_one_record_with_its_count(ann: Calls) -> None:
    for name in ("a", "b", "c"):
        await ann.create(AT_ONCE, id=name)
    assert await ann("tasks.delete_old_tasks", interval_days=0) == {"deleted": 3}
    assert await actions(ann) == [
        ("tasks.delete_old_tasks", None, {"interval_days": 0.0, "deleted": 3})
    ]


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("action", ["reset", "suspend", "delete", "update"])
async def test_a_commit_in_doubt_leaves_one_record(
    ann: Calls,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    committed: bool,
) -> None:
    await ann.create("a", id="t", app_name="nobody")
    in_doubt(manager, monkeypatch, committed=committed)
    more = {"data": {"priority": 1}} if action == "update" else {}
    await ann(f"tasks.{action}", id="t", **more)
    assert [(name, target) for name, target, _ in await actions(ann)] == [(f"tasks.{action}", "t")]


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_in_doubt_leaves_one_record_of_an_executor(
    ann: Calls,
    manager: Manager,
    executor: HandExecutor,
    monkeypatch: pytest.MonkeyPatch,
    committed: bool,
) -> None:
    in_doubt(manager, monkeypatch, committed=committed)
    await ann("executors.drain", id=executor.id)
    assert await actions(ann) == [("executors.drain", "hand", {})]


async def test_the_record_is_in_the_transaction_of_the_action(
    ann: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ann.create("a", id="t", delay=3600)
    whole = manager.store.transaction

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Any]:
        async with whole() as tx:
            yield WithoutAudit(tx)

    monkeypatch.setattr(manager.store, "transaction", transaction)
    record = Caller().audit("a1", "tasks.reset", "t")
    with pytest.raises(RuntimeError, match="no room"):
        await manager.committer.apply("t", Reset(job_id="j2"), audit=record)
    monkeypatch.undo()
    assert (await ann.get("t"))["status"] == "IDLE"
    assert await audit(ann) == []


class WithoutAudit:
    """A transaction whose audit cannot be written."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def add_audit(self, records: object) -> None:
        raise RuntimeError("no room for it")


async def test_records_are_selected_and_paged(ann: Calls, call: Calls) -> None:
    for index in range(3):
        await ann.create("a", id=f"t{index}", delay=3600)
        await ann("tasks.suspend", id=f"t{index}")
    await call("tasks.resume", id="t1")
    assert [one["target"] for one in await audit(call, conditions={"user_id": "ann"})] == [
        "t2", "t1", "t0",
    ]  # fmt: skip
    assert len(await audit(call, conditions={"target": "t1"})) == 2
    assert len(await audit(call, conditions={"action": {"like": "tasks.%"}, "user_id": None})) == 1
    assert len(await audit(call, conditions={"remote": "10.0.0.9"})) == 3
    moment = (await audit(call))[1]["at"]
    assert len(await audit(call, conditions={"at": {"lt": moment}})) == 2
    first = await call("audit.list", limit=3)
    assert (first["count"], first["offset"]) == (4, 0)
    rest = await call("audit.list", limit=3, cursor=first["cursor"])
    assert rest["cursor"] is None
    paged = [one["id"] for one in first["data"] + rest["data"]]
    assert paged == [one["id"] for one in await audit(call)]
    assert [one["id"] for one in await audit(call, offset=3)] == paged[3:]
    with pytest.raises(InvalidParams) as refused:
        await call("audit.list", conditions={"data": "x"})
    assert refused.value.data["field"] == "conditions.data"


async def test_records_stay_longer_than_runs_and_are_pruned_too(
    ann: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ann.create("a", id="t", delay=3600)
    await ann("tasks.suspend", id="t")
    settings = manager.settings
    began = await manager.store.now()

    async def prune_after(days: float) -> None:
        async def now() -> float:
            return began + days * DAY_SECONDS + 60

        monkeypatch.setattr(manager.store, "now", now)
        await manager.retention.prune()

    await prune_after(settings.retention_days)
    assert len(await audit(ann)) == 1
    await prune_after(settings.audit_retention_days)
    assert await audit(ann) == []


@pytest.mark.parametrize("committed", [True, False])
async def test_a_pause_removed_by_a_commit_in_doubt_was_there(
    ann: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    pause = await ann("pauses.add", app_name="a", reason="a release")
    in_doubt(manager, monkeypatch, committed=committed)
    assert await ann("pauses.remove", id=pause["id"]) == {"removed": True}
    assert [name for name, _, _ in await actions(ann)] == ["pauses.add", "pauses.remove"]
    assert await ann("pauses.list") == []


async def _interrupted_call(ann: Calls) -> str:
    """A bulk call that its manager does not go on with; its id."""
    for index in range(30):
        await ann.create("a", id=f"t{index}", delay=3600)
    begun = await ann("tasks.m_suspend", conditions={"id": {"like": "%"}}, rate=1, wait=0)
    await ann.manager.bulks.stop()
    await ann.manager.committer.settle()
    return str(begun["bulk_id"])


@pytest.mark.parametrize("committed", [True, False])
async def test_a_bulk_call_stopped_by_a_commit_in_doubt_was_going_on(
    ann: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    bulk_id = await _interrupted_call(ann)
    in_doubt(manager, monkeypatch, committed=committed)
    assert (await ann("bulk.stop", id=bulk_id))["state"] == "STOPPED"
    assert [name for name, _, _ in await actions(ann)].count("bulk.stop") == 1


async def test_a_stop_that_was_not_committed_is_no_success_when_another_one_was(
    ann: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_id = await _interrupted_call(ann)
    eve = Calls(manager, Caller(Principal("eve", kind=None)))

    async def stop_first() -> None:
        await eve("bulk.stop", id=bulk_id)

    in_doubt(manager, monkeypatch, committed=False, then=stop_first)
    with pytest.raises(Conflict):
        await ann("bulk.stop", id=bulk_id)
    stops = [one for one in await audit(ann) if one["action"] == "bulk.stop"]
    assert [one["user_id"] for one in stops] == ["eve"]


OPERATIONS: dict[str, dict[str, Any]] = {
    "tasks.update": {"id": "t", "data": {"priority": 1}},
    "tasks.m_update": {"ids": ["t"], "data": {"priority": 2}},
    "tasks.suspend": {"id": "t"},
    "tasks.resume": {"id": "t"},
    "tasks.run_now": {"id": "t"},
    "tasks.cancel": {"id": "t"},
    "tasks.reset": {"id": "t"},
    "tasks.restart_from": {"id": "t", "stage": 0},
    "tasks.m_run_now": {"conditions": {"id": "t"}},
    "tasks.m_suspend": {"conditions": {"id": "t"}},
    "tasks.m_resume": {"conditions": {"id": "t"}},
    "tasks.m_cancel": {"conditions": {"id": "t"}},
    "tasks.m_reset": {"conditions": {"id": "t"}},
    "tasks.m_restart_from": {"conditions": {"id": "t"}, "stage": 0},
    "tasks.m_message": {"conditions": {"id": "t"}, "data": 1},
    "bulk.stop": {"id": "slow"},
    "tasks.m_delete": {"ids": ["t"]},
    "tasks.delete": {"id": "u"},
    "tasks.delete_old_tasks": {"interval_days": 0},
    "executors.drain": {"id": "hand"},
    "executors.suspend": {"id": "hand"},
    "executors.resume": {"id": "hand"},
    "pauses.add": {"id": "p", "app_name": "a"},
    "pauses.remove": {"id": "p"},
    "tokens.create": {"data": {"principal": "root", "kind": "admin"}},
    "tokens.rotate": {},
    "tokens.revoke": {},
    "principals.update": {"id": "root", "data": {"disabled": True}},
}
"""A call of each method that leaves a record, in an order in which each changes something."""


async def test_every_operation_takes_a_reason_for_the_audit(
    ann: Calls, executor: HandExecutor
) -> None:
    for name in ("t", "u"):
        await ann.create("a", id=name, delay=3600)
    slow = {"conditions": {"group": "slow"}, "rate": 0.1, "bulk_id": "slow", "wait": 0}
    await ann("tasks.m_create", data=[{"commands": [{"method": "a"}], "group": "slow"}] * 9)
    await ann("tasks.m_cancel", **slow)
    token: str | None = None
    for method, params in OPERATIONS.items():
        given = {"id": token} if method in ("tokens.rotate", "tokens.revoke") else {}
        result = await ann(method, **params, **given, reason=f"because of {method}")
        token = result["id"] if method == "tokens.create" else token
    expected = [(method, f"because of {method}") for method in OPERATIONS]
    records = [(name, data["reason"]) for name, _, data in await actions(ann) if "reason" in data]
    assert records == expected


def test_every_method_that_changes_what_others_see_takes_a_reason() -> None:
    """Creations, single messages, notifications and marks leave no record."""
    silent = re.compile(r"tasks\.(m_)?create|tasks\.validate|notifications\.|marks\.")
    verbs = {Verb.CREATE, Verb.OPERATE, Verb.MANAGE}
    changing = {
        method.name
        for method in method_registry()
        if (method.access.verb in verbs or method.access is access.OWN_TOKEN)
        and not silent.match(method.name)
        and not method.name.endswith(".list")
    }
    assert changing | {"tasks.m_message"} == OPERATIONS.keys()
