"""Notifications: written with the final outcome, listed, dismissed, deleted."""

from datetime import datetime
from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams, NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.types import Notification
from tests.manager.hand import Calls, HandExecutor

AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}
DAY_SECONDS = 86_400.0


async def listed(call: Calls, **params: Any) -> list[dict[str, Any]]:
    page = await call("notifications.list", **params)
    return list(page["data"])


async def test_a_retry_tells_nothing_and_the_final_outcome_all(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", "b", id="t", notify=True, max_retries=2, kws={"k": [1]})
    for _ in range(2):
        await executor.fail(await executor.take())
        assert await listed(call) == []
    task = await executor.take()
    await executor.finish(task, {"first": True}, stage=0)
    assert await listed(call) == []
    await executor.finish(task, 5, stage=1)
    (note,) = await listed(call)
    assert set(note) == set(Notification.__struct_fields__)
    assert (note["task_id"], note["status"], note["exit_code"]) == ("t", "FINISHED", 0)
    assert (note["result"], note["kws"], note["error"]) == ([{"first": True}, 5], {"k": [1]}, None)
    assert note["job_id"] == (await call.get("t"))["job_id"]


async def test_a_notification_has_the_moment_of_the_end(call: Calls) -> None:
    await call.create(AT_ONCE, id="t", notify=True)
    (note,) = await listed(call)
    (run,) = await call("tasks.runs", id="t")
    task = await call.get("t")
    assert datetime.fromisoformat(note["created"]).timestamp() == pytest.approx(run["ended_at"])
    assert task["created"] == note["created"]
    assert task["status_change"] == run["queued_at"] == run["started_at"] == run["ended_at"]


async def test_a_schedule_tells_of_each_run_once_and_with_all_its_results(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", AT_ONCE, "b", id="c", notify=True, cron="0 0 1 1 *", misfire="last")
    received = []
    for number in range(3):
        await call("tasks.run_now", id="c")
        await executor.finish(await executor.take(), number)
        last = await executor.take()
        assert len(await listed(call)) == number
        if number < 2:
            await executor.finish(last, [number])
        else:
            await executor.fail(last, message="no luck")
        assert (await call.get("c"))["status"] == "IDLE"
        received.append((await listed(call))[0])
    assert [note["result"] for note in received] == [[0, None, [0]], [1, None, [1]], [2, None]]
    assert [(note["status"], note["exit_code"]) for note in received] == [
        ("FINISHED", 0), ("FINISHED", 0), ("FAILED", 1),
    ]  # fmt: skip
    assert received[-1]["error"]["message"] == "no luck"
    runs = await call("tasks.runs", id="c")
    assert {note["job_id"] for note in received} == {run["job_id"] for run in runs}


async def test_results_before_a_restart_stand_in_the_notification_too(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", "b", id="r", notify=True)
    task = await executor.take()
    await executor.finish(task, "kept", stage=0)
    await executor.finish(task, "old", stage=1)
    await call("tasks.restart_from", id="r", stage=1)
    await executor.finish(await executor.take(), "new")
    newest, first = await listed(call)
    assert (first["result"], newest["result"]) == (["kept", "old"], ["kept", "new"])


async def test_a_notification_is_dismissed_taken_back_and_deleted(call: Calls) -> None:
    await call.create(AT_ONCE, id="t", notify=True)
    (note,) = await listed(call)
    assert note["enabled"] is True
    dismissed = await call("notifications.update", id=note["id"], data={"enabled": False})
    assert dismissed == {**note, "enabled": False}
    assert await call("notifications.get", id=note["id"]) == dismissed
    assert await listed(call, conditions={"enabled": True}) == []
    await call("notifications.update", id=note["id"], data={"enabled": True})
    assert await listed(call, conditions={"enabled": True}) == [note]
    assert await call("notifications.delete", id=note["id"]) == {"deleted": True}
    assert await call("notifications.delete", id=note["id"]) == {"deleted": False}
    assert await listed(call) == []


@pytest.mark.parametrize(
    ("method", "more"),
    [("get", {}), ("update", {"data": {"enabled": False}})],
)
async def test_a_notification_that_is_not_there_is_a_404(
    call: Calls, method: str, more: dict[str, Any]
) -> None:
    with pytest.raises(NotFound, match="no notification 'nope'"):
        await call(f"notifications.{method}", id="nope", **more)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"message": "mine"}, "data.message"),
        ({"enabled": True, "status": "FINISHED"}, "data.status"),
        ({"enabled": "no"}, "data.enabled"),
        ({}, "data.enabled"),
    ],
)
async def test_nothing_else_of_a_notification_can_be_changed(
    call: Calls, data: dict[str, Any], field: str
) -> None:
    await call.create(AT_ONCE, id="t", notify=True)
    (note,) = await listed(call)
    with pytest.raises(InvalidParams) as refused:
        await call("notifications.update", id=note["id"], data=data)
    assert refused.value.data["field"] == field
    assert await listed(call) == [note]


@pytest.mark.parametrize("sort", [None, ["task_id"], ["-exit_code", "created"], ["user_id"]])
async def test_pages_by_cursor_are_the_whole_list(call: Calls, sort: list[str] | None) -> None:
    for index in range(5):
        await call.create(AT_ONCE, id=f"t{index}", notify=True)
    more = {} if sort is None else {"sort": sort}
    whole = [note["task_id"] for note in await listed(call, **more)]
    if sort is None:
        assert whole == ["t4", "t3", "t2", "t1", "t0"]
    paged: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await call("notifications.list", limit=2, **more, **cursor)
        assert page["count"] == 5
        paged += [note["task_id"] for note in page["data"]]
        if page["cursor"] is None:
            break
        cursor = {"cursor": page["cursor"]}
    assert paged == whole
    offset = await call("notifications.list", offset=3, limit=9, **more)
    assert [note["task_id"] for note in offset["data"]] == whole[3:]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"conditions": {"kws": 1}}, "conditions.kws"),
        ({"conditions": {"enabled": "yes"}}, "conditions.enabled"),
        ({"sort": ["result"]}, "sort.0"),
        ({"cursor": "x"}, "cursor"),
        ({"limit": 0}, "limit"),
    ],
)
async def test_a_wrong_parameter_of_a_list_is_named(
    call: Calls, params: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("notifications.list", **params)
    assert refused.value.data["field"] == field


async def test_notifications_are_pruned_with_the_runs(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create(AT_ONCE, id="t", notify=True)
    await manager.retention.prune()
    assert len(await listed(call)) == 1
    later = await manager.store.now() + manager.settings.retention_days * DAY_SECONDS + 60

    async def now() -> float:
        return later

    monkeypatch.setattr(manager.store, "now", now)
    await manager.retention.prune()
    assert await listed(call) == []
