"""A reader of some streams does not learn of tasks in other streams that refer to what it sees."""

import json
from typing import Any

import pytest

from kaiju_tasks.api import Caller, parents
from kaiju_tasks.errors import Forbidden
from kaiju_tasks.rights import Kind
from kaiju_tasks.store.base import StoreUnavailable
from tests.api.test_rights import as_
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until

PARENT, HIDDEN = "hidden-parent", "hidden-child"
CHILDREN = [
    {"id": "c", "app_name": "open", "commands": [{"method": "work"}]},
    {"id": HIDDEN, "app_name": "secret", "commands": [{"method": "work"}]},
]
GRANDCHILD = {"id": "g", "app_name": "open", "commands": [{"method": "work"}]}
READS: list[tuple[str, dict[str, Any]]] = [
    ("tasks.get", {"id": "c"}),
    ("tasks.m_get", {"ids": ["c", PARENT]}),
    ("tasks.list", {}),
    ("tasks.list", {"columns": ["id", "parent_id", "next_task"]}),
    ("tasks.wait", {"id": "c", "timeout": 0}),
    ("tasks.runs", {"id": "c"}),
    ("tasks.versions", {"id": "c"}),
    ("tasks.family", {"id": "c"}),
    ("tasks.explain", {"id": "c"}),
    ("tasks.m_explain", {"ids": ["c", PARENT]}),
    ("tasks.inbox", {"id": "c"}),
    ("runs.list", {}),
    ("notifications.list", {}),
    ("pauses.list", {}),
]
READERS = [(Kind.USER, {}), (Kind.VIEWER, {"see_data": True}), (Kind.OPERATOR, {})]


@pytest.fixture
async def ann(call: Calls) -> Calls:
    """A user whose task on the stream `secret` has created one on `open`, and waits for it."""
    ann = await as_(call, "ann", Kind.USER)
    await ann.create(
        {"method": "_TASKS_", "params": {"create": CHILDREN}}, id=PARENT, app_name="secret"
    )
    await ann.until("c", "QUEUED")
    return ann


async def reader_of(call: Calls, kind: Kind, scope: dict[str, Any]) -> Calls:
    name = "ann" if kind is Kind.USER else kind.value
    return await as_(call, name, kind, streams=("open",), **scope)


@pytest.mark.parametrize(("kind", "scope"), READERS)
async def test_no_read_names_a_parent_of_another_stream(
    call: Calls, ann: Calls, kind: Kind, scope: dict[str, Any]
) -> None:
    assert (await ann.get("c"))["parent_id"] == PARENT
    reader = await reader_of(call, kind, scope)
    for method, params in READS:
        answer = json.dumps(await reader(method, **params))
        assert "hidden" not in answer, method
    assert (await reader.get("c"))["parent_id"] is None
    assert [one["id"] for one in (await reader("tasks.family", id="c"))["data"]] == ["c"]


@pytest.mark.parametrize("change", ["update", "suspend", "cancel"])
async def test_no_answer_to_a_change_names_it(call: Calls, ann: Calls, change: str) -> None:
    reader = await reader_of(call, Kind.USER, {})
    data = {"data": {"description": "x"}} if change == "update" else {}
    assert (await reader(f"tasks.{change}", id="c", **data))["parent_id"] is None
    if change == "update":
        [task] = await reader("tasks.m_update", ids=["c"], **data)
        assert task["parent_id"] is None


async def test_an_ended_run_does_not_name_it(call: Calls, ann: Calls) -> None:
    executor = HandExecutor(call.manager, "e")
    await executor.connect(app="open")
    task = await executor.take()
    assert (await ann("runs.get", job_id=task.job_id))["parent_id"] == PARENT
    reader = await reader_of(call, Kind.USER, {})
    assert (await reader("runs.get", job_id=task.job_id))["parent_id"] is None
    await executor.finish(task, 1)
    await ann.until("c", "FINISHED")
    assert (await ann("runs.get", job_id=task.job_id))["parent_id"] == PARENT
    assert (await reader("runs.get", job_id=task.job_id))["parent_id"] is None
    [run] = (await reader("runs.list"))["data"]
    assert (run["task_id"], run["parent_id"]) == ("c", None)


@pytest.mark.parametrize(("streams", "parent"), [(("open",), None), (("*",), PARENT)])
async def test_events_do_not_name_it(
    call: Calls, ann: Calls, streams: tuple[str, ...], parent: str | None
) -> None:
    reader = await as_(call, "ann", Kind.USER, streams=streams)
    listener = HandExecutor(call.manager, "listener")
    listener.caller.principal = reader.caller.principal
    await listener.call("events.subscribe", conditions={"id": "c"})
    await ann("tasks.suspend", id="c")
    await wait_until(lambda: "task.suspended" in listener.notified, "the event has come")
    [event] = [one["params"] for one in listener.heard if one["method"] == "task.suspended"]
    assert event["parent_id"] == parent


async def test_a_parent_in_sight_is_named(call: Calls, ann: Calls) -> None:
    await ann.create(
        {"method": "_TASKS_", "params": {"create": [GRANDCHILD]}}, id="p", app_name="open"
    )
    await ann.until("g", "QUEUED")
    reader = await reader_of(call, Kind.USER, {})
    assert (await reader.get("g"))["parent_id"] == "p"
    assert [one["id"] for one in (await reader("tasks.family", id="g"))["data"]] == ["p", "g"]


async def test_an_explanation_counts_children_that_it_does_not_name(
    call: Calls, ann: Calls
) -> None:
    create = [{**CHILDREN[0], "id": "c2"}, {**CHILDREN[1], "id": f"{HIDDEN}-2"}]
    await ann.create({"method": "_TASKS_", "params": {"create": create}}, id="p", app_name="open")
    await ann.until("p", "WAITING")
    reader = await reader_of(call, Kind.USER, {})
    [reason] = (await reader("tasks.explain", id="p"))["reasons"]
    assert "2 of 2 have not ended ('c2')" in reason["message"]
    assert (reason["data"]["left"], reason["data"]["left_count"]) == (["c2"], 2)
    [reason] = (await ann("tasks.explain", id="p"))["reasons"]
    assert reason["data"]["left"] == ["c2", f"{HIDDEN}-2"]


async def test_an_audit_record_does_not_name_the_task_whose_stage_called(
    call: Calls, ann: Calls
) -> None:
    operator = await as_(call, "root", Kind.OPERATOR)
    for origin, method in ((f"task:{PARENT}/job/0", "suspend"), ("10.0.0.1", "resume")):
        caller = Caller(operator.caller.principal, remote=origin)
        await call.by(caller)(f"tasks.{method}", id="c")
    reader = await reader_of(call, Kind.OPERATOR, {})
    remotes = [one["remote"] for one in (await reader("audit.list"))["data"]]
    assert remotes == ["10.0.0.1", "task"]
    of_child = {"target": "c"}
    found = await operator("audit.list", conditions=of_child)
    remotes = [one["remote"] for one in found["data"]]
    assert remotes == ["10.0.0.1", f"task:{PARENT}/job/0"]


async def test_a_change_is_answered_although_parents_cannot_be_read(
    call: Calls, ann: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> set[str]:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(parents, "ids_in_sight", fail)
    for reader in (ann, await reader_of(call, Kind.USER, {})):
        task = await reader("tasks.update", id="c", data={"description": "x"})
        assert task["description"] == "x"
        assert task["parent_id"] == (PARENT if reader is ann else None)


RANGES: list[dict[str, Any]] = [
    {"like": "hidden%"},
    {"gt": "a"},
    {"ge": "a"},
    {"lt": "z"},
    {"le": "z"},
]
FILTERED = ["tasks.list", "tasks.count", "runs.list", "schedules.upcoming"]


@pytest.mark.parametrize(("kind", "scope"), READERS)
async def test_neither_order_nor_comparisons_reveal_a_parent_of_another_stream(
    call: Calls, ann: Calls, kind: Kind, scope: dict[str, Any]
) -> None:
    await ann.create(
        {"method": "_TASKS_", "params": {"create": [GRANDCHILD]}}, id="p", app_name="open"
    )
    await ann.until("g", "QUEUED")
    reader = await reader_of(call, kind, scope)
    for method in ("tasks.list", "runs.list"):
        for sort in (["parent_id"], ["-parent_id"], ["status", {"desc": "parent_id"}]):
            with pytest.raises(Forbidden) as refused:
                await reader(method, sort=sort, limit=1)
            assert refused.value.data["field"] == f"sort.{len(sort) - 1}"
    for method in FILTERED:
        for compared in RANGES:
            with pytest.raises(Forbidden):
                await reader(method, conditions={"parent_id": compared})
    found = {}
    for name, value in (("hidden", PARENT), ("none", "no-such"), ("both", [PARENT, "p"])):
        found[name] = await reader("tasks.list", conditions={"parent_id": value})
        counted = await reader("tasks.count", conditions={"parent_id": value})
        assert counted["count"] == found[name]["count"]
    assert found["hidden"] == found["none"]
    assert [task["id"] for task in found["both"]["data"]] == ["g"]
    assert (await ann("tasks.count", conditions={"parent_id": {"like": "hidden%"}}))["count"] == 2
    assert len((await ann("tasks.list", sort=["parent_id"], limit=1))["data"]) == 1


async def test_bulk_calls_do_not_find_the_children_of_a_parent_of_another_stream(
    call: Calls, ann: Calls
) -> None:
    reader = await reader_of(call, Kind.OPERATOR, {})
    for dry_run in (True, False):
        done = await reader("tasks.m_suspend", conditions={"parent_id": PARENT}, dry_run=dry_run)
        assert done["matched"] == 0
        with pytest.raises(Forbidden):
            await reader("tasks.m_suspend", conditions={"parent_id": {"gt": "a"}}, dry_run=dry_run)
    assert (await ann.get("c"))["status"] == "QUEUED"


async def test_events_are_not_selected_by_parts_of_the_id_of_a_parent(
    call: Calls, ann: Calls
) -> None:
    reader = await reader_of(call, Kind.OPERATOR, {})
    listener = HandExecutor(call.manager, "listener")
    listener.caller.principal = reader.caller.principal
    with pytest.raises(Forbidden):
        await listener.call("events.subscribe", conditions={"parent_id": {"like": "h%"}})


async def test_audit_records_are_not_found_by_a_task_that_is_not_seen(
    call: Calls, ann: Calls
) -> None:
    operator = await as_(call, "root", Kind.OPERATOR)
    origin = f"task:{PARENT}/job/0"
    await call.by(Caller(operator.caller.principal, remote=origin))("tasks.suspend", id="c")
    reader = await reader_of(call, Kind.OPERATOR, {})
    assert len((await operator("audit.list", conditions={"remote": origin}))["data"]) == 1
    assert (await reader("audit.list", conditions={"remote": origin}))["data"] == []
    with pytest.raises(Forbidden):
        await reader("audit.list", conditions={"remote": {"like": "task:h%"}})
