"""Versions of a definition: their numbers, who made them, and what happens to lost updates."""

import asyncio
from typing import Any

import pytest

from kaiju_tasks.errors import Conflict, NotFound
from kaiju_tasks.rights import ALL_SIGHT, Kind
from tests.api.test_rights import as_, failure
from tests.manager.hand import Calls, HandExecutor

LATER = {"method": "_TIMER_", "params": {"timer": 600}}


async def test_each_change_makes_a_version_with_its_author_and_fields(call: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    operator = await as_(call, "olga", Kind.OPERATOR)
    created = await ann.create(LATER, id="t", kws={"n": 1})
    assert created["rev"] == 1
    updated = await ann("tasks.update", id="t", data={"priority": 1, "description": "x"})
    assert updated["rev"] == 2
    await operator("tasks.update", id="t", data={"enabled": False}, reason="too loud")
    assert (await call.get("t"))["rev"] == 3
    third, second, first = await ann("tasks.versions", id="t")
    assert [one["rev"] for one in (first, second, third)] == [1, 2, 3]
    assert [one["user_id"] for one in (first, second, third)] == ["ann", "ann", "olga"]
    assert first["changed"] == []
    assert second["changed"] == ["description", "priority"]
    assert (third["changed"], third["reason"]) == (["enabled"], "too loud")
    assert first["at"] <= second["at"] <= third["at"]
    assert first["definition"]["priority"] == 0
    assert third["definition"]["priority"] == 1
    assert first["definition"]["kws"] == {"n": 1}


@pytest.mark.parametrize(
    "data", [{}, {"priority": 0}, {"enabled": True}, {"commands": [LATER]}, {"kws": {}}], ids=str
)
async def test_an_update_that_changes_nothing_makes_no_version(
    call: Calls, data: dict[str, Any]
) -> None:
    await call.create(LATER, id="t", delay=600)
    assert (await call("tasks.update", id="t", data=data))["rev"] == 1
    await call("tasks.update", id="t", data={"description": "x"})
    assert (await call("tasks.update", id="t", data=data))["rev"] == 2
    (second, _) = await call("tasks.versions", id="t")
    assert (second["rev"], second["changed"]) == (2, ["description"])


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "update": ("tasks.update", {"id": "t", "data": {"priority": 1}}),
    "update of the first run": ("tasks.update", {"id": "t", "data": {"delay": 900}}),
    "m_update": ("tasks.m_update", {"ids": ["t"], "data": {"group": "g"}}),
    "replace": (
        "tasks.create",
        {"data": {"id": "t", "commands": [{"method": "other"}]}, "on_conflict": "replace"},
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_every_way_to_change_a_task_makes_a_version(
    call: Calls, change: tuple[str, dict[str, Any]]
) -> None:
    ann = await as_(call, "ann", Kind.ADMIN)
    await call.create(LATER, id="t", delay=600)
    method, params = change
    await ann(method, **params)
    new, old = await call("tasks.versions", id="t")
    assert (new["rev"], new["user_id"], old["user_id"]) == (2, "ann", None)
    assert new["changed"]


async def test_a_child_that_is_created_once_more_with_other_values_is_a_new_version(
    call: Calls, executor: HandExecutor
) -> None:
    child = {"id": "c", "commands": [{"method": "work"}], "kws": {"n": "[0.n]"}}
    tasks = {"method": "_TASKS_", "params": {"create": [child]}}
    await call.create("count", tasks, id="p", max_retries=1, restart_policy="FIRST")
    await executor.finish(await executor.take(), {"n": 1})
    await executor.fail(await executor.take())
    await executor.finish(await executor.take(), {"n": 2})
    await executor.finish(await executor.take(), None)
    await call.until("p", "FINISHED")
    new, old = await call("tasks.versions", id="c")
    assert (new["changed"], new["definition"]["kws"]) == (["kws"], {"n": 2})
    assert (old["rev"], old["definition"]["kws"]) == (1, {"n": 1})


async def test_an_update_of_another_version_is_refused_with_what_happened(call: Calls) -> None:
    ann = await as_(call, "ann", Kind.ADMIN)
    bob = await as_(call, "bob", Kind.ADMIN)
    read = await ann.create(LATER, id="t")
    await bob("tasks.update", id="t", data={"priority": 5}, if_rev=read["rev"])
    refused = await failure(
        ann, "tasks.update", {"id": "t", "data": {"priority": 7}, "if_rev": read["rev"]}
    )
    assert refused.code == Conflict.code
    assert refused.data["rev"] == 2
    assert refused.data["user_id"] == "bob"
    assert refused.data["changed"] == ["priority"]
    assert refused.data["status"] == "WAITING"
    assert refused.data["at"] == (await ann("tasks.versions", id="t"))[0]["at"]
    assert "'bob' has changed" in str(refused)
    task = await ann("tasks.get", id="t")
    assert (task["priority"], task["rev"]) == (5, 2)
    again = await ann("tasks.update", id="t", data={"priority": 7}, if_rev=task["rev"])
    assert (again["priority"], again["rev"]) == (7, 3)


async def test_one_of_two_updates_of_the_same_version_wins(call: Calls, other_manager: Any) -> None:
    await call.create(LATER, id="t")
    other = Calls(other_manager)
    both = await asyncio.gather(
        call("tasks.update", id="t", data={"priority": 1}, if_rev=1),
        other("tasks.update", id="t", data={"priority": 2}, if_rev=1),
        return_exceptions=True,
    )
    refused = [one for one in both if isinstance(one, BaseException)]
    assert len(refused) == 1
    assert (await call.get("t"))["rev"] == 2


async def test_who_does_not_see_a_task_is_not_told_its_version(call: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    bob = await as_(call, "bob", Kind.USER)
    await ann.create(LATER, id="t")
    for method, more in (("tasks.update", {"data": {}, "if_rev": 9}), ("tasks.versions", {})):
        assert (await failure(bob, method, {"id": "t", **more})).code == NotFound.code


async def test_versions_hide_the_data_of_a_task_from_those_who_may_not_see_it(call: Calls) -> None:
    ann = await as_(call, "ann", Kind.ADMIN)
    viewer = await as_(call, "vic", Kind.VIEWER)
    secret = {"method": "work", "params": {"password": 1}}
    await ann.create(secret, id="t", kws={"secret": 1}, meta={"a": 1}, delay=600)
    await ann("tasks.update", id="t", data={"kws": {"secret": 2}})
    for version in await viewer("tasks.versions", id="t"):
        shown = version["definition"]
        assert (shown["kws"], shown["meta"], shown["commands"][0]["params"]) == ({}, {}, {})
    assert [one["changed"] for one in await viewer("tasks.versions", id="t")] == [["kws"], []]


async def test_versions_of_a_stream_that_is_not_seen_are_left_out(call: Calls) -> None:
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("open",))
    operator = await as_(call, "olga", Kind.OPERATOR, streams=("open",))
    admin = await as_(call, "ann", Kind.ADMIN)
    await admin.create("work", id="t", app_name="open", delay=600)
    for app_name in ("secret", "secret", "open", "secret", "open"):
        data = {"app_name": app_name, "description": f"in {app_name}"}
        await admin("tasks.update", id="t", data=data)
    seen = [one["rev"] for one in await viewer("tasks.versions", id="t")]
    everything = [one["rev"] for one in await admin("tasks.versions", id="t")]
    assert (seen, everything) == ([5, 3, 1], [5, 4, 3, 2, 1])
    for before, found in ((5, [3]), (4, [3]), (3, [1]), (2, [1])):
        page = await viewer("tasks.versions", id="t", before=before, limit=1)
        assert [one["rev"] for one in page] == found
    restart = {"id": "t", "stage": 0, "version": 4}
    assert (await failure(operator, "tasks.restart_from", restart)).data["field"] == "version"


async def test_a_secret_of_a_webhook_is_never_shown(call: Calls) -> None:
    webhook = {"url": "https://example.com/", "secret": "s3cret"}
    await call.create(LATER, id="t", webhook=webhook)
    await call("tasks.update", id="t", data={"priority": 1})
    for version in await call("tasks.versions", id="t"):
        assert version["definition"]["webhook"]["secret"] == "***"


async def test_runs_and_attempts_know_the_version_that_they_ended_with(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("one", "two", id="t")
    assignment = await executor.take()
    await executor.finish(assignment, None, 0)
    open_run = await call("runs.get", job_id=assignment.job_id)
    assert open_run["rev"] == 1
    await call("tasks.update", id="t", data={"priority": 1})
    await executor.finish(assignment, None, 1)
    await call.until("t", "FINISHED")
    ended = await call("runs.get", job_id=assignment.job_id)
    listed = (await call("runs.list", conditions={"task_id": "t", "rev": 2}))["data"]
    (of_task,) = await call("tasks.runs", id="t")
    assert [one["rev"] for one in (ended, *listed, of_task)] == [2, 2, 2]
    assert (await call("runs.list", conditions={"rev": 1}))["data"] == []
    attempts = await call("tasks.stages", job_id=assignment.job_id)
    assert [one["rev"] for one in attempts] == [1, 2]


async def test_versions_are_listed_in_parts(call: Calls) -> None:
    await call.create(LATER, id="t")
    for number in range(1, 6):
        await call("tasks.update", id="t", data={"priority": number})
    newest = await call("tasks.versions", id="t", limit=2)
    rest = await call("tasks.versions", id="t", before=newest[-1]["rev"])
    assert [one["rev"] for one in newest] == [6, 5]
    assert [one["rev"] for one in rest] == [4, 3, 2, 1]
    assert [one["definition"]["priority"] for one in rest] == [3, 2, 1, 0]
    assert await call("tasks.versions", id="t", before=1) == []


async def test_a_deleted_task_leaves_no_versions(call: Calls) -> None:
    await call.create(LATER, id="t")
    await call("tasks.update", id="t", data={"priority": 1})
    await call("tasks.delete", id="t")
    await call.create(LATER, id="t")
    assert [one["rev"] for one in await call("tasks.versions", id="t")] == [1]
    assert await call.manager.store.versions("t", ALL_SIGHT, before=9, limit=9) == []
