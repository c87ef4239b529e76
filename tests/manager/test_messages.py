"""A message is delivered once, however often it is sent."""

import pytest

from kaiju_tasks.lifecycle import RunNow
from kaiju_tasks.manager import Manager
from tests.manager.hand import Calls
from tests.store.making import happen
from tests.support.doubt import in_doubt

HOOK = {"method": "_MESSAGE_", "params": {}}
LATER = {"method": "_TIMER_", "params": {"timer": 3600}}


async def send(call: Calls, task_id: str, message_id: str, **more: object) -> str:
    receipt = await call("tasks.message", id=task_id, data=1, message_id=message_id, **more)
    return str(receipt["state"])


async def consumed(call: Calls, task_id: str) -> int:
    """The number of Message stages of a task that have finished."""
    runs = await call("tasks.runs", id=task_id)
    stages = [one for run in runs for one in await call("tasks.stages", job_id=run["job_id"])]
    return sum(one["method"] == "_MESSAGE_" and one["outcome"] == "FINISHED" for one in stages)


async def test_a_repeat_to_a_schedule_is_not_taken_by_the_next_run(call: Calls) -> None:
    await call.create(HOOK, id="t", cron="0 0 1 1 *")
    await call("tasks.run_now", id="t")
    assert [await send(call, "t", "m"), await send(call, "t", "m")] == ["delivered", "duplicate"]
    await call("tasks.run_now", id="t")
    assert (await call("tasks.get", id="t"))["status"] == "WAITING"
    assert await send(call, "t", "m") == "duplicate"
    assert await consumed(call, "t") == 1


async def test_the_same_id_is_a_different_message_for_another_task(call: Calls) -> None:
    for name in ("t", "u"):
        await call.create(HOOK, id=name)
        assert [await send(call, name, "m") for _ in range(2)] == ["delivered", "duplicate"]


async def test_a_task_created_again_with_the_same_id_knows_no_message(call: Calls) -> None:
    for _ in range(2):
        await call.create(HOOK, id="t")
        assert await send(call, "t", "m") == "delivered"
        await call("tasks.delete", id="t")


async def test_an_id_that_the_manager_generated_is_remembered(call: Calls) -> None:
    await call.create(HOOK, id="t", cron="0 0 1 1 *")
    await call("tasks.run_now", id="t")
    receipt = await call("tasks.message", id="t", data=1)
    assert await send(call, "t", receipt["message_id"]) == "duplicate"


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("commands", [[HOOK], [HOOK, LATER], [LATER, HOOK]], ids=len)
@pytest.mark.parametrize("schedule", [{}, {"cron": "0 0 1 1 *"}], ids=["one-off", "cron"])
async def test_a_commit_in_doubt_delivers_a_message_once(
    call: Calls,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    commands: list[dict],
    schedule: dict,
    committed: bool,
) -> None:
    await call.create(*commands, id="t", **schedule)
    if schedule:
        await call("tasks.run_now", id="t")
    in_doubt(manager, monkeypatch, committed=committed)
    first = "delivered" if commands[0] is HOOK else "buffered"
    assert await send(call, "t", "m") == first
    assert await send(call, "t", "m") == "duplicate"
    if schedule and commands == [HOOK]:
        await call("tasks.run_now", id="t")
        assert (await call("tasks.get", id="t"))["status"] == "WAITING"
    assert await consumed(call, "t") == (first == "delivered")


async def test_a_message_in_doubt_is_delivered_though_the_task_has_changed_since(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create(HOOK, id="t", cron="0 0 1 1 *")
    await call("tasks.run_now", id="t")

    async def begin_another_run() -> None:
        await happen(manager.store, "t", RunNow(job_id="another"))

    in_doubt(manager, monkeypatch, committed=True, then=begin_another_run)
    assert await send(call, "t", "m") == "delivered"
    assert (await call("tasks.get", id="t"))["status"] == "WAITING"
    assert await consumed(call, "t") == 1
