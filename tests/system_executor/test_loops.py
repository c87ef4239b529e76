"""Stages of the stream `manager` that start or create what started or created them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaiju_tasks.embedded import Embedded, embedded
from kaiju_tasks.settings import Settings
from tests.support.wait import wait_until
from tests.system_executor.inprocess import Inside, Json, command

SOON = {"method": "_TIMER_", "params": {"timer": 0}}
SHORT = {"method": "_TIMER_", "params": {"timer": 0.05}}
"""Long enough that a task has ended before the one that it started acts."""


@pytest.fixture
def settings(store_url: str) -> Settings:
    return Settings(db=store_url, poll_interval=0.2, max_family_tasks=40)


@pytest.fixture
async def embedded_manager(settings: Settings) -> AsyncIterator[Embedded]:
    async with embedded(settings) as made:
        yield made


async def count(inside: Inside) -> int:
    total: int = (await inside.call("tasks.count"))["count"]
    return total


async def all_ended(inside: Inside) -> None:
    async def ended() -> bool:
        left = await inside.call("tasks.count", conditions={"status": ["QUEUED", "EXECUTED"]})
        waiting = await inside.call("tasks.count", conditions={"status": ["WAITING", "IDLE"]})
        return left["count"] + waiting["count"] == 0

    await wait_until(ended, "all tasks have ended")


def itself(times: int = 1, **fields: Any) -> Json:
    """A task that creates itself, under new ids."""
    data = {"app_name": "manager", "commands": "[kws.again]", "kws": "[kws]", **fields}
    again = [command("tasks.create", data=data)] * times
    return {"commands": again, "kws": {"again": again}}


async def test_a_pipeline_that_creates_itself_ends_at_the_depth_of_its_family(
    inside: Inside,
) -> None:
    first = await inside.create(**{**itself(), "id": "first"})
    await wait_until(lambda: _failed(inside), "the last one has failed")
    await all_ended(inside)
    assert await count(inside) == 17
    (last,) = (await inside.call("tasks.list", conditions={"status": "FAILED"}))["data"]
    assert last["error"]["type"] == "too_many_tasks"
    assert last["error"]["data"]["root_id"] == first["job_id"]
    assert "`max_family_depth` is 16" in last["error"]["message"]
    chain = [last]
    while (parent_id := chain[-1]["parent_id"]) is not None:
        chain.append(await inside.get(parent_id))
    assert len(chain) == 17


async def _failed(inside: Inside) -> int:
    found: int = (await inside.call("tasks.count", conditions={"status": "FAILED"}))["count"]
    return found


@pytest.mark.parametrize("method", ["tasks.create", "tasks.m_create"])
async def test_a_pipeline_that_multiplies_ends_at_the_number_of_its_family(
    inside: Inside, method: str
) -> None:
    task = itself(2)
    if method == "tasks.m_create":
        data = {"app_name": "manager", "commands": "[kws.again]", "kws": "[kws]"}
        again = [command(method, data=[data, data])]
        task = {"commands": again, "kws": {"again": again}}
    await inside.create(**task, id="first", max_retries=10)
    await wait_until(lambda: _failed(inside), "one has failed")
    await all_ended(inside)
    assert await count(inside) == 41
    page = await inside.call("tasks.list", conditions={"status": "FAILED"}, limit=100)
    assert {task["error"]["type"] for task in page["data"]} == {"too_many_tasks"}
    assert {task["retries"] for task in page["data"]} == {0}


async def test_a_delay_does_not_make_a_family_endless(inside: Inside) -> None:
    """A task that a deep one creates is as deep when it runs later, and when a client runs it."""
    await inside.create(**itself(delay=3600), id="t0")
    last = "t0"
    for _ in range(16):
        await inside.ended(last)
        (child,) = await _children(inside, last)
        last = child["id"]
        await inside.call("tasks.run_now", id=last)
    task = await inside.ended(last)
    assert task["error"]["type"] == "too_many_tasks"


async def _children(inside: Inside, parent_id: str) -> list[Json]:
    page = await inside.call("tasks.list", conditions={"parent_id": parent_id})
    found: list[Json] = page["data"]
    return found


async def test_what_exists_already_is_not_counted(inside: Inside) -> None:
    data = {"id": "there", "commands": [SOON]}
    again = [command("tasks.create", data=data, on_conflict="ignore")] * 60
    task = await inside.run(*again)
    assert task["status"] == "FINISHED"


CALLS: dict[str, tuple[str, Json]] = {
    "reset": ("tasks.reset", {}),
    "run_now": ("tasks.run_now", {}),
    "restart_from": ("tasks.restart_from", {"stage": 0}),
    "update": ("tasks.update", {"data": {"next_run": 0}}),
}


async def stopped(inside: Inside) -> None:
    """Wait until one of a and b is refused to start the other, and neither runs any more."""
    await wait_until(lambda: _failed(inside), "one has been refused")
    await all_ended(inside)
    failed = [t for t in [await inside.get(id) for id in "ab"] if t["status"] == "FAILED"]
    assert all(t["error"]["data"]["code"] == 409 for t in failed)
    runs = [run for id in "ab" for run in await inside.call("tasks.runs", id=id)]
    assert len(runs) <= 8


@pytest.mark.parametrize("name", CALLS)
async def test_two_tasks_that_start_each_other_are_stopped(inside: Inside, name: str) -> None:
    method, params = CALLS[name]
    for id, other in (("a", "b"), ("b", "a")):
        await inside.create(SHORT, command(method, id=other, **params), id=id, delay=3600)
    await inside.call("tasks.run_now", id="a")
    await stopped(inside)


async def test_two_tasks_that_create_each_other_again_are_stopped(inside: Inside) -> None:
    def create(id: str) -> Json:
        data = {"id": id, "app_name": "manager", "commands": f"[kws.{id}]", "kws": "[kws]"}
        return command("tasks.create", data=data, on_conflict="replace")

    kws = {"a": [SHORT, create("b")], "b": [SHORT, create("a")]}
    for id in "ab":
        await inside.create(SOON, id=id)
    await inside.create(*kws["b"], id="c", kws=kws)
    await stopped(inside)


@pytest.mark.parametrize(
    "stage",
    [
        command("tasks.reset", id="[id]"),
        command("tasks.restart_from", id="[id]", stage=0),
        command("tasks.m_reset", conditions={"id": "self"}),
    ],
)
async def test_a_task_that_starts_itself_is_stopped(inside: Inside, stage: Json) -> None:
    await inside.create(stage, id="self")
    task = await inside.ended("self")
    if stage["method"] == "tasks.m_reset":
        assert task["result"][0]["refused"] == 1
    else:
        assert "circle without a wait" in task["error"]["message"]
    assert len(await inside.call("tasks.runs", id="self")) == 2
