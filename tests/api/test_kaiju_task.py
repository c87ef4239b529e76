"""A task as kaiju-tasks has it is accepted, wherever a task is given."""

from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams
from tests.manager.hand import Calls

REQUEST: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": "do.echo", "params": None}
TASK: dict[str, Any] = {"commands": [REQUEST], "group": 3, "group_id": 7, "delay": 3600}
KEPT: dict[str, Any] = {
    "commands": [{"method": "do.echo", "params": {}}],
    "group": "3",
    "group_id": "7",
}


def kept(task: dict[str, Any]) -> dict[str, Any]:
    return {name: task[name] for name in KEPT}


async def test_create_drops_what_is_not_a_commands(call: Calls) -> None:
    assert kept(await call("tasks.create", data=TASK)) == KEPT


async def test_create_redefines_a_task_with_it(call: Calls) -> None:
    await call.create("other", id="a", delay=3600)
    replaced = await call("tasks.create", data={"id": "a", **TASK}, on_conflict="replace")
    assert kept(replaced) == KEPT


async def test_many_are_created(call: Calls) -> None:
    made = await call("tasks.m_create", data=[TASK, TASK])
    assert [kept(task) for task in made] == [KEPT, KEPT]


async def test_it_is_valid(call: Calls) -> None:
    assert (await call("tasks.validate", data=TASK))["valid"] is True


async def test_a_task_is_updated_with_it(call: Calls) -> None:
    await call.create({"method": "_MESSAGE_"}, "other", id="a", delay=3600)
    changes = {name: TASK[name] for name in ("commands", "group", "group_id")}
    await call("tasks.cancel", id="a")
    assert kept(await call("tasks.update", id="a", data=changes)) == KEPT


async def test_stages_create_it(call: Calls) -> None:
    child = {**TASK, "id": "child"}
    await call.create({"method": "_TASKS_", "params": {"create": [child]}}, id="parent")
    await call.until("parent", "WAITING")
    assert kept(await call.get("child")) == KEPT


async def test_a_command_without_params_may_be_a_hook(call: Calls) -> None:
    waiting = await call.create({**REQUEST, "method": "_MESSAGE_"})
    assert waiting["commands"] == [{"method": "_MESSAGE_", "params": {}}]
    with pytest.raises(InvalidParams) as error:
        await call.create({**REQUEST, "method": "_TIMER_"})
    assert error.value.data["field"] == "data.commands.0.params"


@pytest.mark.parametrize("column", ["group", "group_id"])
@pytest.mark.parametrize("wanted", [7, "7", [7], ["7", 8], {"ge": 7, "le": 7}])
async def test_integers_filter_groups(call: Calls, column: str, wanted: Any) -> None:
    await call.create("a", id="seven", delay=3600, **{column: 7})
    await call.create("a", id="nine", delay=3600, **{column: 9})
    found = await call("tasks.list", conditions={column: wanted})
    assert [task["id"] for task in found["data"]] == ["seven"]
    assert (await call("tasks.count", conditions={column: wanted}))["count"] == 1


@pytest.mark.parametrize("wrong", [True, 7.5, [], {}])
async def test_other_groups_are_refused(call: Calls, wrong: Any) -> None:
    with pytest.raises(InvalidParams, match="or an integer") as error:
        await call.create("a", group_id=wrong)
    assert error.value.data["field"] == "data.group_id"


async def test_a_pause_holds_the_group_of_an_integer(call: Calls) -> None:
    pause = await call("pauses.add", reason="r", group_id=7, group=3)
    assert (pause["group_id"], pause["group"]) == ("7", "3")
    await call.create("a", id="held", group_id=7, group=3)
    held = await call.until("held", "QUEUED")
    assert held["status_reason"] == "paused"


@pytest.mark.parametrize("extra", [{"idd": 1}, {"id": []}, {"jsonrpc": 2}, {"params": []}])
async def test_other_members_of_a_command_are_refused(call: Calls, extra: Any) -> None:
    (name,) = extra
    with pytest.raises(InvalidParams) as error:
        await call.create({"method": "a", **extra})
    assert error.value.data["field"] == f"data.commands.0.{name}"
