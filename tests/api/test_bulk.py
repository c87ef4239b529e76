"""One action for all tasks that match."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import InvalidParams, Unavailable
from kaiju_tasks.lifecycle import Cancel, Event, Step, TaskState, advance
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.bulk import run
from kaiju_tasks.manager.writing.committer import Recorder
from kaiju_tasks.rights import Principal
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until

AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}
NEVER = {"method": "_MESSAGE_", "params": {}}
ALL = {"id": {"like": "%"}}


async def make(call: Calls, count: int, *commands: Any, **fields: Any) -> None:
    """Tasks t0000, t0001, …"""
    sent = [{"method": one} if isinstance(one, str) else one for one in commands]
    for first in range(0, count, 1000):
        data = [
            {"id": f"t{index:04}", "commands": sent, **fields}
            for index in range(first, min(first + 1000, count))
        ]
        await call("tasks.m_create", data=data)


async def listed(call: Calls, **conditions: Any) -> list[dict[str, Any]]:
    page = await call("tasks.list", conditions=conditions, sort=["id"], limit=1000)
    return list(page["data"])


def only(result: dict[str, Any], *names: str) -> list[Any]:
    return [result[name] for name in names]


COUNTS = ("matched", "done", "refused", "pending")


async def test_a_dry_run_counts_and_shows_a_sample_and_changes_nothing(call: Calls) -> None:
    await make(call, 25, "a", delay=3600)
    await call.create("a", id="other", delay=3600, group="g")
    before = await listed(call)
    for action in ("m_reset", "m_cancel", "m_suspend", "m_resume"):
        result = await call(f"tasks.{action}", conditions={"group": None}, dry_run=True)
        refused = 25 if action == "m_resume" else 0
        assert only(result, *COUNTS) == [25, 0, refused, 25 - refused]
        assert result["sample"] == [f"t{index:04}" for index in range(20)]
        assert [one["id"] for one in result["errors"]] == (result["sample"] if refused else [])
        assert only(result, "bulk_id", "state") == [None, None]
    none = await call("tasks.m_reset", conditions={"id": "nope"}, dry_run=True)
    assert (none["matched"], none["sample"]) == (0, [])
    assert await listed(call) == before
    assert (await call("audit.list"))["count"] == 0
    assert (await call("bulk.list"))["count"] == 0


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "conditions"),
        ({"conditions": {}}, "conditions"),
        ({"conditions": None}, "conditions"),
        ({"conditions": {"status": {}}}, "conditions.status"),
        ({"conditions": {"status": "LOST"}}, "conditions.status"),
        ({"conditions": {"kws": 1}}, "conditions.kws"),
        ({"conditions": ALL, "rate": 0}, "rate"),
        ({"conditions": ALL, "rate": 0.09}, "rate"),
        ({"conditions": ALL, "wait": 61}, "wait"),
        ({"conditions": ALL, "wait_stage": True}, "wait_stage"),
    ],
)
async def test_wrong_parameters_are_named_and_nothing_is_changed(
    call: Calls, params: dict[str, Any], field: str
) -> None:
    await make(call, 1, "a", delay=3600)
    with pytest.raises(InvalidParams) as refused:
        await call("tasks.m_cancel", **params)
    assert refused.value.data["field"] == field
    assert (await call.get("t0000"))["status"] == "IDLE"


async def test_empty_conditions_are_refused_with_how_to_mean_all(call: Calls) -> None:
    with pytest.raises(InvalidParams, match=r'\{"id": \{"like": "%"\}\}'):
        await call("tasks.m_reset", conditions={})


async def test_tasks_that_do_not_allow_it_are_refused_and_the_others_done(
    call: Calls, executor: HandExecutor
) -> None:
    group = {"group": "g"}
    await call.create("a", id="executed", **group)
    await executor.take()
    await call.create("a", id="idle", delay=3600, **group)
    await call.create("a", id="queued", app_name="nobody", **group)
    await call.create(NEVER, id="waiting", **group)
    await call.create(AT_ONCE, id="ended", **group)
    await call.create("a", id="stranger", delay=3600)

    held = await call("tasks.m_suspend", conditions=group)
    assert only(held, *COUNTS) == [5, 4, 1, 0]
    (refusal,) = held["errors"]
    assert (refusal["id"], refusal["status"]) == ("ended", "FINISHED")
    assert held["sample"] == ["ended", "executed", "idle", "queued", "waiting"]
    statuses = {task["id"]: task["status"] for task in await listed(call)}
    assert statuses == {
        "ended": "FINISHED",
        "executed": "SUSPENDED",
        "idle": "SUSPENDED",
        "queued": "SUSPENDED",
        "waiting": "SUSPENDED",
        "stranger": "IDLE",
    }
    assert [lease.id for lease in executor.revoked] == ["executed"]

    resumed = await call("tasks.m_resume", conditions={**group, "status": "SUSPENDED"})
    assert only(resumed, *COUNTS) == [4, 4, 0, 0]
    cancelled = await call("tasks.m_cancel", conditions=group)
    assert only(cancelled, *COUNTS) == [5, 4, 1, 0]
    assert {task["exit_code"] for task in await listed(call, status="FAILED")} == {130}
    reset = await call("tasks.m_reset", conditions={"status": ["FAILED"]})
    assert only(reset, *COUNTS) == [4, 4, 0, 0]
    assert await listed(call, status="FAILED") == []


async def test_a_running_stage_may_end_before_the_hold(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", "b", id="t")
    task = await executor.take()
    result = await call("tasks.m_suspend", conditions={"id": "t"}, wait_stage=True)
    assert result["done"] == 1
    assert (await call.get("t"))["status"] == "EXECUTED"
    await executor.finish(task, 1)
    assert only(await call.get("t"), "status", "stage") == ["SUSPENDED", 1]


@pytest.mark.slow
async def test_5000_tasks_are_taken_in_bounded_batches(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(call, 5000, "a", delay=3600)
    apply_recorded = manager.committer.apply_recorded
    sizes: list[int] = []

    async def counted(pairs: Sequence[Any], record: Recorder) -> bool:
        sizes.append(len(pairs))
        return await apply_recorded(pairs, record)

    monkeypatch.setattr(manager.committer, "apply_recorded", counted)
    result = await call("tasks.m_cancel", conditions={"status": "IDLE"})
    assert only(result, *COUNTS) == [5000, 5000, 0, 0]
    assert (max(sizes), sum(sizes)) == (200, 5000)
    assert (len(result["sample"]), result["errors"]) == (20, [])
    assert (await call("tasks.count", conditions={"status": "FAILED"}))["count"] == 5000
    again = await call("tasks.m_cancel", conditions={"status": "FAILED"})
    assert only(again, *COUNTS) == [5000, 0, 5000, 0]
    assert (len(again["errors"]), again["errors"][0]["status"]) == (20, "FAILED")
    (counted_refusals,) = again["refusals"]
    assert only(counted_refusals, "reason", "status", "count") == ["status", "FAILED", 5000]


async def test_a_task_that_ends_again_meanwhile_is_reset_once(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SLICE_ROWS", 2)
    await make(call, 7, AT_ONCE)
    result = await call("tasks.m_reset", conditions={"status": "FINISHED"})
    assert only(result, *COUNTS) == [7, 7, 0, 0]
    for task in await listed(call):
        assert task["status"] == "FINISHED"
        assert len(await call("tasks.runs", id=task["id"])) == 2


async def test_what_changes_between_the_look_and_the_act_is_refused(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(call, 4, "a", app_name="nobody")
    matching = manager.store.matching
    looks: list[int] = []

    async def changed_after_the_look(*args: Any) -> list[tuple[str, int, int]]:
        found = await matching(*args)
        if not looks:
            await call("tasks.cancel", id="t0001")
            await call("tasks.update", id="t0002", data={"priority": 7})
            await call("tasks.delete", id="t0003")
        looks.append(len(found))
        return found

    monkeypatch.setattr(manager.store, "matching", changed_after_the_look)
    result = await call("tasks.m_reset", conditions={"status": "QUEUED", "priority": 0})
    assert only(result, *COUNTS) == [4, 1, 3, 0]
    assert [(one["id"], one["status"]) for one in result["errors"]] == [
        ("t0001", "FAILED"),
        ("t0002", "QUEUED"),
        ("t0003", None),
    ]
    assert "no longer matches" in result["errors"][0]["message"]
    assert [one["reason"] for one in result["refusals"]] == ["changed", "changed", "not_found"]
    assert (await call.get("t0001"))["status"] == "FAILED"
    assert len(await call("tasks.runs", id="t0002")) == 1


async def test_one_task_that_cannot_be_written_stops_no_other(
    call: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def advance_or_fail(state: TaskState, event: Event, now: float) -> Step:
        if state.row.id == "t0001" and isinstance(event, Cancel):
            raise RuntimeError("a fault of ours")
        return advance(state, event, now)

    monkeypatch.setattr("kaiju_tasks.manager.writing.states.advance", advance_or_fail)
    await make(call, 3, "a", delay=3600)
    result = await call("tasks.m_cancel", conditions={"status": "IDLE"})
    assert only(result, *COUNTS) == [3, 2, 1, 0]
    (refusal,) = result["errors"]
    assert (refusal["id"], "see its log" in refusal["message"]) == ("t0001", True)
    assert "a fault of ours" in caplog.text


async def test_a_call_goes_on_when_the_database_is_back(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SLICE_ROWS", 10)
    monkeypatch.setattr(run, "RETRY_SECONDS", 0.01)
    await make(call, 30, "a", delay=3600)
    apply_recorded = manager.committer.apply_recorded
    slices = []

    async def away_at_the_second(pairs: Sequence[Any], record: Recorder) -> bool:
        slices.append([task_id for task_id, _ in pairs])
        if len(slices) == 2:
            raise Unavailable("the database cannot be reached")
        return await apply_recorded(pairs, record)

    monkeypatch.setattr(manager.committer, "apply_recorded", away_at_the_second)
    result = await call("tasks.m_cancel", conditions={"status": "IDLE"})
    assert only(result, *COUNTS) == [30, 30, 0, 0]
    assert slices[1] == slices[2]
    assert [len(one) for one in slices] == [10, 10, 10, 10]


async def test_a_rate_spreads_the_runs(call: Calls) -> None:
    await make(call, 30, "a", app_name="nobody", delay=3600)
    result = await call("tasks.m_reset", conditions={"status": "IDLE"}, rate=20)
    assert only(result, *COUNTS) == [30, 30, 0, 0]
    queued = [task["queued_at"] for task in await listed(call, status="QUEUED")]
    assert len(queued) == 30
    assert queued == sorted(queued)
    assert queued[-1] - queued[0] >= 28 / 20 * 0.9
    assert all(later - earlier >= 0.3 for earlier, later in zip(queued, queued[10:], strict=False))


def record_complete(call: Calls) -> Callable[[], Any]:
    async def complete() -> dict[str, Any] | None:
        (record,) = (await call("audit.list"))["data"]
        return record if "done" in record["data"] else None

    return complete


def held_at_the_second(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let a call wait after its first slice, of 10 tasks at most, until this is set."""
    monkeypatch.setattr(run, "SLICE_ROWS", 10)
    apply_recorded, go_on, slices = manager.committer.apply_recorded, asyncio.Event(), []

    async def held(pairs: Sequence[Any], record: Recorder) -> bool:
        slices.append(pairs)
        if len(slices) > 1:
            await go_on.wait()
        return await apply_recorded(pairs, record)

    monkeypatch.setattr(manager.committer, "apply_recorded", held)
    return go_on


async def begun(call: Calls) -> dict[str, Any]:
    """The only call, after its first slice."""

    async def looked_at() -> dict[str, Any]:
        found: list[dict[str, Any]] = (await call("bulk.list"))["data"]
        return found[0] if found and found[0]["done"] else {}

    return await wait_until(looked_at, "the first slice is done")


async def test_a_long_call_is_answered_and_goes_on(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = held_at_the_second(manager, monkeypatch)
    ann = Calls(manager, Caller(Principal("ann", kind=None), remote="10.0.0.9"))
    await make(call, 20, "a", delay=3600)
    result = await ann("tasks.m_suspend", conditions={"status": "IDLE"}, rate=25, wait=0.1)
    assert (result["matched"], result["state"]) == (20, "RUNNING")
    assert result["done"] + result["refused"] + result["pending"] == 20
    running = await begun(call)
    assert running["pending"] == 20 - running["done"] > 0
    go_on.set()
    record = await wait_until(record_complete(call), "the record is complete")
    assert len(await listed(call, status="SUSPENDED")) == 20
    assert only(record, "action", "target", "user_id", "remote") == [
        "tasks.m_suspend", None, "ann", "10.0.0.9",
    ]  # fmt: skip
    assert record["data"] == {
        "bulk_id": result["bulk_id"],
        "conditions": {"status": "IDLE"},
        "rate": 25.0,
        "wait_stage": False,
        "state": "FINISHED",
        "done": 20,
        "refused": 0,
    }


async def test_a_caller_that_goes_away_ends_nothing(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = held_at_the_second(manager, monkeypatch)
    await make(call, 20, "a", delay=3600)
    caller = asyncio.create_task(call("tasks.m_cancel", conditions={"status": "IDLE"}))
    await begun(call)
    assert caller.cancel(), "it had its answer already"
    go_on.set()
    await wait_until(record_complete(call), "the record is complete")
    assert len(await listed(call, status="FAILED")) == 20


async def test_a_call_goes_on_when_its_manager_has_stopped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(settings.db)
    await store.open()
    try:
        async with Manager(store, settings).running() as manager:
            call = Calls(manager)
            await make(call, 30, AT_ONCE)
            held_at_the_second(manager, monkeypatch)
            finished = {"status": "FINISHED"}
            result = await call("tasks.m_reset", conditions=finished, wait=0.1)
            assert result["state"] == "RUNNING"
            assert (await begun(call))["pending"] == 20
        async with Manager(store, settings).running() as manager:
            call = Calls(manager)

            async def ended() -> dict[str, Any]:
                found: dict[str, Any] = await call("bulk.get", id=result["bulk_id"])
                return found if found["state"] != "RUNNING" else {}

            found = await wait_until(ended, "the call has ended")
            assert found["manager_id"] == manager.id
            assert only(found, "state", *COUNTS) == ["FINISHED", 30, 30, 0, 0]
            for task in await listed(call):
                assert len(await call("tasks.runs", id=task["id"])) == 2
            (record,) = (await call("audit.list"))["data"]
            assert (record["data"]["done"], record["data"]["state"]) == (30, "FINISHED")
    finally:
        await store.close()


async def test_long_conditions_stand_in_the_audit_by_their_columns(call: Calls) -> None:
    await make(call, 1, "a", delay=3600)
    ids = [f"t{index:04}" for index in range(1000)]
    assert (await call("tasks.m_cancel", conditions={"id": ids}))["done"] == 1
    (record,) = (await call("audit.list"))["data"]
    assert record["data"]["conditions"] == {"id": "…"}
