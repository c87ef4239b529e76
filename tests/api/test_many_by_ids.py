"""`tasks.m_exists` and `tasks.m_update`."""

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import Conflict, InvalidParams, NotFound
from kaiju_tasks.rights import Principal
from tests.manager.hand import Calls

WRONG = [
    ({"priority": "high"}, "data.priority"),
    ({"nope": 1}, "data.nope"),
    ({"id": "z"}, "data.id"),
    ({"status": "IDLE"}, "data.status"),
    ({"next_task": "nobody"}, "data.next_task"),
    ({"cron": "x"}, "data.cron"),
]


async def some(call: Calls) -> None:
    for task_id in ("a", "b", "c"):
        await call.create("work", id=task_id, delay=3600)


async def test_m_exists_gives_the_ids_that_are_there_once_and_in_order(call: Calls) -> None:
    await some(call)
    assert await call("tasks.m_exists", ids=["c", "nope", "a", "c"]) == ["c", "a"]
    assert await call("tasks.m_exists", ids=[]) == []


async def test_m_update_changes_the_tasks_that_are_there(call: Calls) -> None:
    await some(call)
    data = {"priority": 5, "kws": {"x": 1}}
    changed = await call("tasks.m_update", ids=["c", "nope", "a", "c"], data=data)
    assert [(t["id"], t["priority"], t["kws"]) for t in changed] == [
        ("c", 5, {"x": 1}),
        ("a", 5, {"x": 1}),
    ]
    assert (await call.get("b"))["priority"] == 0
    assert await call.get("a") == changed[1]


async def test_m_update_changes_nothing_where_one_task_refuses(call: Calls) -> None:
    await some(call)
    await call("tasks.run_now", id="b")
    await call.until("b", "QUEUED")
    with pytest.raises(Conflict) as error:
        await call("tasks.m_update", ids=["a", "b"], data={"kws": {"x": 1}, "app_name": "other"})
    assert error.value.data["id"] == "b"
    assert (await call.get("a"))["app_name"] == "default"
    assert (await call("audit.list", conditions={"action": "tasks.m_update"}))["count"] == 0


@pytest.mark.parametrize(("data", "field"), WRONG)
async def test_m_update_names_the_wrong_field_and_changes_nothing(
    call: Calls, data: dict[str, object], field: str
) -> None:
    await some(call)
    with pytest.raises(InvalidParams) as error:
        await call("tasks.m_update", ids=["a", "b"], data={"priority": 9, **data})
    assert error.value.data["field"] == field
    assert {t["priority"] for t in await call("tasks.m_get", ids=["a", "b"])} == {0}


@pytest.mark.parametrize(("data", "field"), WRONG)
@pytest.mark.parametrize("ids", [[], ["unknown"]])
async def test_m_update_checks_the_data_also_when_no_task_exists(
    call: Calls, ids: list[str], data: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidParams) as error:
        await call("tasks.m_update", ids=ids, data=data)
    assert error.value.data["field"] == field


@pytest.mark.parametrize(
    "data",
    [
        {"jitter": 5},
        {"misfire": "last"},
        {"timezone": "Europe/Berlin"},
        {"retry_max_delay": 9},
        {"restart_policy": "FIRST"},
        {"enabled": False, "group_id": 1},
        {"unique": None, "every": None},
        {"app_name": "manager"},
    ],
)
async def test_m_update_of_no_task_changes_nothing(call: Calls, data: dict[str, object]) -> None:
    assert await call("tasks.m_update", ids=["unknown"], data=data) == []


async def test_m_update_leaves_a_record_for_each_task(call: Calls) -> None:
    await some(call)
    ann = call.by(Caller(Principal("ann", kind=None)))
    await ann("tasks.m_update", ids=["b", "nope", "a"], data={"priority": 1})
    page = await call("audit.list", conditions={"action": "tasks.m_update"})
    assert sorted((one["target"], one["user_id"]) for one in page["data"]) == [
        ("a", "ann"),
        ("b", "ann"),
    ]
    assert [one["data"] for one in page["data"]] == [{"fields": ["priority"]}] * 2


async def test_m_update_of_a_next_task_may_name_one_of_its_own(call: Calls) -> None:
    await some(call)
    changed = await call("tasks.m_update", ids=["b", "c"], data={"next_task": "a"})
    assert [task["next_task"] for task in changed] == ["a", "a"]


async def test_unknown_ids_alone_change_nothing(call: Calls) -> None:
    assert await call("tasks.m_update", ids=["nope"], data={"priority": 1}) == []
    with pytest.raises(NotFound):
        await call("tasks.update", id="nope", data={"priority": 1})
