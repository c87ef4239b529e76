"""`next_task`, started by whatever ends a run."""

import asyncio

import pytest

from kaiju_tasks.errors import InvalidParams
from tests.manager.hand import Calls, HandExecutor, finished
from tests.support.wait import PATIENCE_SECONDS

SOON = {"method": "_TIMER_", "params": {"timer": 0}}


async def test_tasks_made_together_start_the_next_when_one_ends_at_once(
    call: Calls, executor: HandExecutor
) -> None:
    first = {"id": "first", "commands": [SOON], "next_task": "second"}
    second = {"id": "second", "commands": [{"method": "a"}], "delay": 3600}
    await call("tasks.m_create", data=[first, second])
    assert (await executor.take()).id == "second"


async def test_two_ends_in_one_transaction_are_two_starts(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="target", delay=3600)
    for name in ("one", "two"):
        await call.create("a", id=name, next_task="target")
    one, two = await executor.take(), await executor.take()
    await executor.report(finished(one), finished(two))
    for _ in range(2):
        task = await executor.take()
        assert task.id == "target"
        await executor.finish(task)
    assert (await call.get("target"))["status"] == "FINISHED"
    assert len(await call("tasks.runs", id="target")) == 2


async def test_many_ends_during_a_run_are_one_start_after_it(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="target")
    running = await executor.take()
    names = [f"t{i}" for i in range(8)]
    await call(
        "tasks.m_create",
        data=[{"id": n, "commands": [{"method": "a"}], "next_task": "target"} for n in names],
    )
    await executor.report(*[finished(await executor.take()) for _ in names])
    await executor.finish(running)
    again = await executor.take()
    await executor.finish(again)
    assert (await call.get("target"))["status"] == "FINISHED"
    assert len(await call("tasks.runs", id="target")) == 2


async def test_a_task_that_follows_itself_at_once_does_not_stop_the_manager(call: Calls) -> None:
    await call.create(SOON, id="loop", delay=3600)
    await call("tasks.update", id="loop", data={"next_task": "loop"})
    async with asyncio.timeout(PATIENCE_SECONDS):
        await call("tasks.run_now", id="loop")
        await call.create(SOON, id="other")
        assert (await call.get("other"))["status"] == "FINISHED"
        assert (await call("tasks.delete", id="loop"))["deleted"] is True


@pytest.mark.parametrize("method", ["create", "m_create", "update"])
async def test_an_unknown_next_task_is_refused_by_field(call: Calls, method: str) -> None:
    await call.create("a", id="x", delay=3600)
    data: dict = {"commands": [{"method": "a"}], "next_task": "nobody"}
    calls: dict[str, dict] = {
        "create": {"data": data},
        "m_create": {"data": [data]},
        "update": {"id": "x", "data": {"next_task": "nobody"}},
    }
    with pytest.raises(InvalidParams, match="no task 'nobody'") as error:
        await call(f"tasks.{method}", **calls[method])
    assert error.value.data["field"] == (
        "data.0.next_task" if method == "m_create" else "data.next_task"
    )
