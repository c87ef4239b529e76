"""Uniqueness: a create finds the task that is there, however many create at once."""

import asyncio
from typing import Any

import pytest

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.manager import Manager
from tests.manager.hand import Calls, HandExecutor

BY_KEY = {"key": "order-[kws.order]"}


async def test_a_second_task_of_the_key_is_the_first_one(call: Calls) -> None:
    first = await call.create("work", id="a", unique=BY_KEY, kws={"order": 1})
    second = await call.create("work", id="b", unique=BY_KEY, kws={"order": 1})
    other = await call.create("work", id="c", unique=BY_KEY, kws={"order": 2})
    assert (first["created"], second["created"], other["created"]) == (True, False, True)
    assert second["id"] == "a"
    assert await call("tasks.exists", id="b") is False


async def test_a_conflict_can_be_an_error_that_names_the_task(call: Calls) -> None:
    unique = {**BY_KEY, "on_conflict": "error"}
    await call.create("work", id="a", unique=unique, kws={"order": 1})
    with pytest.raises(Conflict) as caught:
        await call.create("work", unique=unique, kws={"order": 1})
    data = caught.value.data
    assert (data["id"], data["status"], data["field"]) == ("a", "QUEUED", "data.unique")


async def test_the_key_is_free_again_when_the_task_is_over(
    call: Calls, executor: HandExecutor
) -> None:
    unique = {"key": "task"}
    await call.create("work", id="a", unique=unique)
    task = await executor.take()
    assert (await call.create("work", id="b", unique=unique))["id"] == "a"
    await executor.finish(task)
    assert (await call.create("work", id="c", unique=unique))["created"] is True
    await call("tasks.cancel", id="c")
    assert (await call.create("work", id="d", unique=unique))["created"] is True
    await call("tasks.delete", id="d")
    assert (await call.create("work", id="e", unique=unique))["created"] is True


async def test_the_scope_queued_ends_when_the_task_starts(
    call: Calls, executor: HandExecutor
) -> None:
    unique = {"key": "task", "scope": "queued"}
    await executor.call("executors.drain", id="hand")
    await call.create("work", id="a", unique=unique)
    assert (await call.create("work", id="b", unique=unique))["id"] == "a"
    await executor.call("executors.resume", id="hand")
    await executor.take()
    assert (await call.create("work", id="c", unique=unique))["created"] is True


async def test_the_same_arguments_are_the_same_whatever_their_order(call: Calls) -> None:
    unique = {"key": "arguments"}
    work = {"method": "work", "params": {"a": 1, "b": [{"c": 2, "d": 3}]}}
    same = {"method": "work", "params": {"b": [{"d": 3, "c": 2}], "a": 1}}
    other = {"method": "work", "params": {"a": 2, "b": []}}
    await call.create(work, id="a", unique=unique, kws={"x": 1, "y": 2})
    made = await call.create(same, unique=unique, kws={"y": 2, "x": 1})
    assert made["id"] == "a"
    assert (await call.create(other, unique=unique, kws={"x": 1, "y": 2}))["created"]
    assert (await call.create(same, unique=unique, kws={"x": 1}))["created"]
    assert (await call.create(same, unique=unique, kws={"x": 1, "y": 2}, app_name="b"))["created"]


async def test_the_key_task_is_stream_and_methods(call: Calls) -> None:
    unique = {"key": "task"}
    await call.create({"method": "work", "params": {"a": 1}}, id="a", unique=unique)
    assert (await call.create({"method": "work", "params": {"a": 2}}, unique=unique))["id"] == "a"
    assert (await call.create("work", "work", unique=unique))["created"]


async def test_a_run_that_begins_anew_takes_its_key_again_if_it_is_free(call: Calls) -> None:
    unique = {"key": "task"}
    await call.create("work", id="a", unique=unique)
    await call("tasks.cancel", id="a")
    await call("tasks.reset", id="a")
    assert (await call.create("work", unique=unique))["id"] == "a"
    await call("tasks.cancel", id="a")
    assert (await call.create("work", id="b", unique=unique))["created"]
    await call("tasks.reset", id="a")
    assert (await call.create("work", unique=unique))["id"] == "b"
    await call("tasks.cancel", id="b")
    assert (await call.create("work", id="c", unique=unique))["created"]


async def test_a_schedule_holds_its_key_between_its_fires(call: Calls) -> None:
    unique = {"key": "nightly"}
    await call.create("work", id="a", unique=unique, cron="0 3 * * *")
    assert (await call.create("work", unique=unique, cron="0 4 * * *"))["id"] == "a"


async def test_many_are_created_all_or_none(call: Calls) -> None:
    def task(id: str, order: int, **unique: Any) -> dict[str, Any]:
        commands = [{"method": "work"}]
        return {
            "id": id, "commands": commands, "unique": BY_KEY | unique, "kws": {"order": order}
        }  # fmt: skip

    made = await call("tasks.m_create", data=[task("a", 1), task("b", 1), task("c", 2)])
    assert [(t["id"], t["created"]) for t in made] == [("a", True), ("a", False), ("c", True)]
    with pytest.raises(Conflict) as caught:
        await call("tasks.m_create", data=[task("d", 3), task("e", 2, on_conflict="error")])
    assert (caught.value.data["index"], caught.value.data["id"]) == (1, "c")
    assert await call("tasks.exists", id="d") is False
    made = await call("tasks.m_create", data=[task("d", 3)])
    assert made[0]["created"]


async def test_an_id_that_is_taken_leaves_no_key_behind(call: Calls) -> None:
    await call.create("work", id="a")
    with pytest.raises(Conflict):
        await call.create("work", id="a", unique={"key": "k"})
    assert (await call.create("work", id="b", unique={"key": "k"}))["created"]


async def test_the_same_create_twice_is_one_task(call: Calls) -> None:
    first = await call.create("work", id="a", unique={"key": "k"})
    again = await call.create("work", id="a", unique={"key": "k"})
    assert (first["created"], again["created"], again["id"]) == (True, False, "a")
    await call("tasks.cancel", id="a")
    with pytest.raises(Conflict) as caught:
        await call.create("work", id="a", unique={"key": "k"})
    assert caught.value.data["field"] == "data.id"


async def test_a_taken_id_beside_the_same_key_misleads_nobody(call: Calls) -> None:
    await call.create("work", id="a")
    made = await asyncio.gather(
        call.create("work", id="a", unique={"key": "k"}),
        call.create("work", id="b", unique={"key": "k"}),
        return_exceptions=True,
    )
    assert isinstance(made[0], Conflict)
    assert not isinstance(made[1], BaseException)
    assert (made[1]["id"], made[1]["created"]) == ("b", True)


async def test_a_task_that_ends_at_once_holds_nothing(call: Calls) -> None:
    skipped = {"method": "_TIMER_", "params": {"timer": 0}}
    for id in ("a", "b"):
        assert (await call.create(skipped, id=id, unique={"key": "k"}))["created"]


async def test_an_edit_moves_the_claim(call: Calls) -> None:
    await call.create("work", id="a", unique=BY_KEY, kws={"order": 1}, delay=3600)
    await call("tasks.update", id="a", data={"kws": {"order": 2}})
    assert (await call.create("work", id="b", unique=BY_KEY, kws={"order": 1}))["created"]
    assert (await call.create("work", unique=BY_KEY, kws={"order": 2}))["id"] == "a"


async def test_an_edit_cannot_take_a_key_that_is_held(call: Calls) -> None:
    await call.create("work", id="a", unique={"key": "k"}, delay=3600)
    await call.create("work", id="b", unique={"key": "l"}, delay=3600)
    with pytest.raises(Conflict) as caught:
        await call("tasks.update", id="b", data={"unique": {"key": "k"}})
    assert (caught.value.data["id"], caught.value.data["field"]) == ("a", "data.unique")
    assert (await call.get("b"))["unique"]["key"] == "l"
    assert (await call.create("work", unique={"key": "l"}))["id"] == "b"
    await call("tasks.cancel", id="a")
    await call("tasks.update", id="b", data={"unique": {"key": "k"}})
    assert (await call.create("work", unique={"key": "k"}))["id"] == "b"
    assert (await call.create("work", unique={"key": "l"}))["created"]


@pytest.mark.parametrize("key", ["[kws.missing]", "[kws.list]", "[kws.empty]", "[", "[0]"])
async def test_a_key_that_cannot_be_filled_is_refused(call: Calls, key: str) -> None:
    kws = {"list": [1], "empty": ""}
    for name, more in (("unique", {}), ("concurrency", {"limit": 1})):
        with pytest.raises(InvalidParams) as caught:
            await call.create("work", kws=kws, **{name: {"key": key, **more}})
        assert caught.value.data["field"] == f"data.{name}.key"
        assert str(caught.value).count(f"data.{name}.key") == 1


async def test_of_creates_at_once_through_several_managers_one_makes_the_task(
    call: Calls, other_manager: Manager
) -> None:
    await race([call, Calls(other_manager)])


async def race(callers: list[Calls]) -> None:
    """Ten keys, thirty creates of each at once, half of them in other orders and batches."""

    def task(key: int, n: int) -> dict[str, Any]:
        return {
            "id": f"t{key}.{n}",
            "commands": [{"method": "work"}],
            "unique": {"key": f"k{key}"},
        }

    async def one_by_one(n: int) -> list[dict[str, Any]]:
        call = callers[n % len(callers)]
        keys = range(10) if n % 2 else reversed(range(10))
        made = [call("tasks.create", data=task(key, n)) for key in keys]
        return list(await asyncio.gather(*made))

    async def as_batch(n: int) -> list[dict[str, Any]]:
        keys = list(range(10)) if n % 2 else list(reversed(range(10)))
        data = [task(key, n) for key in keys]
        made: list[dict[str, Any]] = await callers[n % len(callers)]("tasks.m_create", data=data)
        return made

    answers = await asyncio.gather(*(one_by_one(n) if n % 3 else as_batch(n) for n in range(30)))
    made = [task for answer in answers for task in answer]
    assert len(made) == 300
    assert sum(task["created"] for task in made) == 10
    assert len({task["id"] for task in made}) == 10
    assert (await callers[0]("tasks.count"))["count"] == 10


async def test_a_create_that_finds_its_id_takes_no_key_for_it(
    call: Calls, executor: HandExecutor
) -> None:
    unique = {"key": "task", "scope": "queued"}
    await call.create("work", id="a", unique=unique)
    await executor.take()
    again = {"id": "a", "commands": [{"method": "work"}], "unique": unique}
    await call("tasks.create", data=again, on_conflict="ignore")
    assert (await call.create("work", id="b", unique=unique))["created"] is True


async def test_a_create_that_finds_its_id_leaves_that_task_its_own_key(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="a", unique=BY_KEY, kws={"order": 1})
    with pytest.raises(Conflict):
        await call.create("work", id="a", unique=BY_KEY, kws={"order": 2})
    assert (await call.create("work", unique=BY_KEY, kws={"order": 1}))["id"] == "a"
    assert (await call.create("work", unique=BY_KEY, kws={"order": 2}))["created"] is True


async def test_a_child_that_cannot_be_made_leaves_others_their_keys(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="a", unique=BY_KEY, kws={"order": 1})
    child = {"id": "a", "commands": [{"method": "work"}], "unique": BY_KEY, "kws": {"order": 2}}
    hook = {"method": "_TASKS_", "params": {"create": [child]}}
    assert (await call.create(hook))["status"] == "FAILED"
    assert (await call.create("work", unique=BY_KEY, kws={"order": 1}))["id"] == "a"
    assert (await call.create("work", unique=BY_KEY, kws={"order": 2}))["created"] is True


# -- the task that is there is another one --------------------------------------------------

SHARED = {"key": "shared"}
SHARED_STRICT = {"key": "shared", "on_conflict": "error_if_different"}


async def test_a_create_warns_of_what_is_different_in_the_task_that_is_there(call: Calls) -> None:
    await call.create("work", id="a", unique=SHARED, kws={"x": 1, "y": [2]})
    same = await call.create("work", unique=SHARED, kws={"y": [2], "x": 1})
    assert not [said for said in same["warnings"] if "unique" in said]
    other = await call.create("other", unique=SHARED, kws={"x": 2})
    assert (other["id"], other["created"], other["kws"]) == ("a", False, {"x": 1, "y": [2]})
    said = [text for text in other["warnings"] if "holds the unique key" in text]
    assert [text.partition(" ")[0] for text in said] == ["data.commands", "data.kws"]
    assert all("'a'" in text for text in said)


async def test_a_different_task_can_be_an_error(call: Calls) -> None:
    await call.create("work", id="a", unique=SHARED, kws={"x": 1})
    same = await call.create("work", unique=SHARED_STRICT, kws={"x": 1})
    assert (same["id"], same["created"]) == ("a", False)
    for method, kws in (("work", {"x": 2}), ("other", {"x": 1})):
        with pytest.raises(Conflict) as caught:
            await call.create(method, id="b", unique=SHARED_STRICT, kws=kws)
        assert (caught.value.data["id"], caught.value.data["field"]) == ("a", "data.unique")
    assert await call("tasks.exists", id="b") is False


async def test_many_creates_warn_and_refuse_item_by_item(call: Calls) -> None:
    def task(id: str, x: int, unique: dict[str, Any]) -> dict[str, Any]:
        return {"id": id, "commands": [{"method": "work"}], "unique": unique, "kws": {"x": x}}

    made = await call(
        "tasks.m_create", data=[task("a", 1, SHARED), task("b", 2, SHARED), task("c", 1, SHARED)]
    )
    said = [[text for text in one["warnings"] if "holds the unique key" in text] for one in made]
    assert [len(texts) for texts in said] == [0, 1, 0]
    assert said[1][0].startswith("data.1.kws ")
    same = await call("tasks.m_create", data=[task("d", 1, SHARED_STRICT)])
    assert (same[0]["id"], same[0]["created"]) == ("a", False)
    with pytest.raises(Conflict) as caught:
        await call("tasks.m_create", data=[task("e", 1, {"key": "e"}), task("f", 2, SHARED_STRICT)])
    data = caught.value.data
    assert (data["index"], data["id"], data["field"]) == (1, "a", "data.1.unique")
    assert await call("tasks.exists", id="e") is False


async def test_an_item_that_differs_from_one_of_the_same_call_is_refused(call: Calls) -> None:
    def task(id: str, x: int) -> dict[str, Any]:
        commands = [{"method": "work"}]
        return {"id": id, "commands": commands, "unique": SHARED_STRICT, "kws": {"x": x}}

    with pytest.raises(Conflict) as caught:
        await call("tasks.m_create", data=[task("a", 1), task("b", 1), task("c", 2)])
    data = caught.value.data
    assert (data["index"], data["id"], data["field"]) == (2, "a", "data.2.unique")
    assert await call("tasks.exists", id="a") is False


@pytest.mark.parametrize(("x", "status"), [(1, "WAITING"), (2, "FAILED")])
async def test_a_stage_waits_for_the_same_task_and_refuses_a_different_one(
    call: Calls, executor: HandExecutor, x: int, status: str
) -> None:
    await call.create("work", id="a", unique=SHARED, kws={"x": 1})
    commands = [{"method": "work"}]
    child = {"id": "kid", "commands": commands, "unique": SHARED_STRICT, "kws": {"x": x}}
    parent = await call.create({"method": "_TASKS_", "params": {"create": [child]}})
    assert parent["status"] == status
    assert await call("tasks.exists", id="kid") is False
