"""`next_task`, started by whatever ends a run."""

from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams
from tests.manager.hand import Calls, HandExecutor, finished
from tests.support.wait import wait_until

SOON = {"method": "_TIMER_", "params": {"timer": 0}}
LATER_UNLESS = {
    "method": "_TIMER_",
    "params": {"timer": 3600},
    "condition": {"kws.wait:false": {"eq": True}},
}
"""A wait that its condition skips, which is not known before the task runs."""


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


async def skips(call: Calls, *ids: str) -> list[str]:
    """The notes of the starts that were skipped."""
    runs = [run for id in ids for run in await call("tasks.runs", id=id)]
    return [run["note"] for run in runs if run["status"] == "MISSED"]


async def runs_of(call: Calls, *ids: str) -> int:
    runs = [run for id in ids for run in await call("tasks.runs", id=id)]
    return sum(run["status"] == "FINISHED" for run in runs)


async def test_a_task_that_follows_itself_at_once_is_stopped_and_its_history_says_so(
    call: Calls,
) -> None:
    await call.create(LATER_UNLESS, SOON, id="loop", delay=3600)
    await call("tasks.update", id="loop", data={"next_task": "loop"})
    await call("tasks.run_now", id="loop")
    await wait_until(lambda: skips(call, "loop"), "the circle is broken")
    assert await skips(call, "loop") == [
        "skipped: next_task of loop, but the tasks form a circle without a wait of 1 second"
    ]
    assert (await call.get("loop"))["status"] == "FINISHED"
    assert await runs_of(call, "loop") == 2


@pytest.mark.parametrize("started", [["t0"], ["t0", "t3"], ["t0", "t1", "t2", "t3", "t4"]])
async def test_a_circle_of_tasks_that_do_not_wait_is_stopped_wherever_it_begins(
    call: Calls, executor: HandExecutor, started: list[str]
) -> None:
    ids = [f"t{i}" for i in range(5)]
    data = [
        {
            "id": id,
            "commands": [{"method": "work"}, LATER_UNLESS],
            "next_task": next_id,
            "delay": 3600,
        }
        for id, next_id in zip(ids, [*ids[1:], ids[0]], strict=True)
    ]
    await call("tasks.m_create", data=data)
    for id in started:
        await call("tasks.run_now", id=id)
    ran = 0
    while not all([(await call.get(id))["status"] in ("FINISHED", "IDLE") for id in ids]):
        task = await executor.take()
        await executor.finish(task)
        ran += 1
        assert ran < 20 * len(started)
    assert await skips(call, *ids)


async def test_a_chain_of_many_different_tasks_runs_to_its_end(call: Calls) -> None:
    ids = [f"t{i}" for i in range(40)]
    data = [{"id": id, "commands": [SOON], "delay": 3600} for id in ids]
    for item, next_id in zip(data, ids[1:], strict=False):
        item["next_task"] = next_id
    await call("tasks.m_create", data=data)
    await call("tasks.run_now", id="t0")
    await call.until("t39", "FINISHED")
    assert await skips(call, *ids) == []


CLOSING = [
    {"id": "self", "next_task": "self"},
    {"id": "c", "next_task": "a"},
    {"id": "c", "next_task": "a", "every": 60},
    {"id": "c", "next_task": "a", "retry_delay": 60, "max_retries": 10},
    {"id": "c", "next_task": "a", "enabled": False},
    {"id": "c", "next_task": "a", "commands": [{"method": "_TIMER_", "params": {"timer": 0.05}}]},
]


@pytest.mark.parametrize(
    ("method", "data"),
    [("create", data) for data in CLOSING]
    + [
        (method, data)
        for method in ("m_create", "update", "m_update", "replace")
        for data in CLOSING[:2]
    ],
)
async def test_what_closes_a_circle_without_a_wait_is_refused(
    call: Calls, method: str, data: dict[str, Any]
) -> None:
    """a → b → c; the circle is named, and nothing has changed."""
    data = {"commands": [{"method": "work"}], "delay": 3600, **data}
    made, changes = data["id"], {k: v for k, v in data.items() if k not in ("id", "delay")}
    unclosed = {**data, "next_task": None}
    if method in ("create", "m_create"):
        await call.create("work", id=made, delay=3600)
    else:
        await call("tasks.create", data=unclosed)
    if made == "c":
        await call.create("work", id="b", next_task="c", delay=3600)
        await call.create("work", id="a", next_task="b", delay=3600)
    if method in ("create", "m_create"):
        await call("tasks.delete", id=made)
    calls: dict[str, dict[str, Any]] = {
        "create": {"data": data},
        "m_create": {"data": [{"commands": [SOON]}, data]},
        "update": {"id": made, "data": changes},
        "m_update": {"ids": [made], "data": changes},
        "replace": {"data": data, "on_conflict": "replace"},
    }
    name = "create" if method == "replace" else method
    with pytest.raises(InvalidParams, match="form a circle that never waits") as error:
        await call(f"tasks.{name}", **calls[method])
    circle = error.value.data["circle"]
    assert sorted(circle) == (["self"] if made == "self" else ["a", "b", "c"])
    field = "data.1.next_task" if method == "m_create" else "data.next_task"
    assert error.value.data["field"] == field
    if method == "m_create":
        assert error.value.data["index"] == 1
    there = await call("tasks.m_get", ids=[made])
    assert all(task["next_task"] is None for task in there)


async def test_a_whole_circle_in_one_call_is_refused(call: Calls) -> None:
    data = [
        {"id": "a", "commands": [SOON], "next_task": "b"},
        {"id": "b", "commands": [SOON], "next_task": "a"},
    ]
    with pytest.raises(InvalidParams, match="'a' → 'b' → 'a'"):
        await call("tasks.m_create", data=data)
    assert (await call("tasks.count"))["count"] == 0


@pytest.mark.parametrize("method", ["update", "m_update"])
async def test_the_only_wait_of_a_circle_cannot_be_taken_away(call: Calls, method: str) -> None:
    wait = {"method": "_TIMER_", "params": {"timer": 60}}
    data = [
        {"id": "a", "commands": [wait], "next_task": "b", "delay": 3600},
        {"id": "b", "commands": [SOON], "next_task": "a", "delay": 3600},
    ]
    await call("tasks.m_create", data=data)
    whom = {"id": "a"} if method == "update" else {"ids": ["a"]}
    with pytest.raises(InvalidParams, match="form a circle that never waits") as error:
        await call(f"tasks.{method}", **whom, data={"commands": [SOON]})
    assert error.value.data["field"] == "data.commands"
    await call(f"tasks.{method}", **whom, data={"commands": [SOON], "next_task": None})


async def test_a_circle_that_may_wait_is_accepted(call: Calls) -> None:
    for id, hook in (
        ("a", {"method": "_TIMER_", "params": {"timer": 1}}),
        ("b", {"method": "_TIMER_", "params": {"timer": "[0.pause]"}}),
        ("c", {"method": "_MESSAGE_"}),
    ):
        assert (await call.create("work", hook, id=id, next_task=id, delay=3600))["created"]


async def test_validate_names_a_circle(call: Calls) -> None:
    data = {"id": "a", "commands": [SOON], "next_task": "a"}
    (problem,) = (await call("tasks.validate", data=data))["errors"]
    assert problem["field"] == "data.next_task"
    assert "'a' → 'a'" in problem["message"]


async def test_children_that_form_a_circle_are_refused(call: Calls) -> None:
    create = [
        {"id": "a", "commands": [SOON], "next_task": "b"},
        {"id": "b", "commands": [SOON], "next_task": "a"},
    ]
    hook = {"method": "_TASKS_", "params": {"create": create}}
    task = await call.create(hook, id="p")
    assert (task["status"], task["error"]["type"]) == ("FAILED", "invalid_params")
    assert "form a circle that never waits" in task["error"]["message"]
    assert (await call("tasks.count"))["count"] == 1


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
