"""Bulk calls as stages of the stream `manager`."""

import asyncio
from typing import Any

import pytest

from kaiju_tasks.rpc import Limits, Registry, dispatch
from tests.system_executor.inprocess import SECONDS, Inside, command

AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}
FINISHED = {"status": "FINISHED", "id": {"like": "t%"}}


async def make(inside: Inside, count: int) -> None:
    data = [{"id": f"t{index}", "commands": [AT_ONCE]} for index in range(count)]
    await inside.call("tasks.m_create", data=data)


async def test_a_bulk_call_of_a_stage_is_shown_with_its_task(inside: Inside) -> None:
    await make(inside, 3)
    task = await inside.run(command("tasks.m_reset", conditions=FINISHED, reason="nightly"))
    (result,) = task["result"]
    assert (result["done"], result["state"]) == (3, "FINISHED")
    found = await inside.call("bulk.get", id=result["bulk_id"])
    assert (found["reason"], found["method"]) == ("nightly", "tasks.m_reset")
    (record,) = (await inside.call("audit.list", conditions={"action": "tasks.m_reset"}))["data"]
    assert record["remote"] == f"task:{task['id']}/{task['job_id']}/0"


async def test_a_stage_that_runs_again_begins_no_second_call(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def hang_once(registry: Registry, body: bytes, caller: Any, limits: Limits) -> Any:
        """The first answer is lost."""
        answer = await dispatch(registry, body, caller, limits)
        if not answered.is_set():
            answered.set()
            await asyncio.Event().wait()
        return answer

    await make(inside, 3)
    monkeypatch.setattr("kaiju_tasks.api.run_calls.dispatch", hang_once)
    await inside.create(command("tasks.m_reset", conditions=FINISHED), id="twice")
    own = f"manager-{inside.manager.id}"
    async with asyncio.timeout(SECONDS):
        await answered.wait()
    await inside.call("executors.suspend", id=own)
    await inside.call("executors.resume", id=own)
    task = await inside.ended("twice")
    assert task["status"] == "FINISHED", task["error"]
    assert task["result"][0]["bulk_id"] == f"{task['job_id']}/0"
    assert (await inside.call("bulk.list"))["count"] == 1
    for index in range(3):
        assert len(await inside.call("tasks.runs", id=f"t{index}")) == 2
