"""What one call reads is bounded: lists end early with a cursor, and other reads are refused."""

from typing import Any

import pytest

from kaiju_tasks.errors import TooLarge
from kaiju_tasks.store import query
from tests.manager.hand import Calls, HandExecutor

LIMIT = 30_000
DATA = "x" * 10_000


@pytest.fixture(autouse=True)
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "READ_BYTES_MAX", LIMIT)


async def pages(call: Calls, method: str, **params: Any) -> list[list[str]]:
    """The ids of each page of a list."""
    cursor, found = None, []
    while True:
        page = await call(method, cursor=cursor, **params)
        found.append([one["id"] for one in page["data"]])
        cursor = page["cursor"]
        if cursor is None:
            return found


async def make(call: Calls, count: int, size: int = 10_000) -> list[str]:
    ids = [f"t{number}" for number in range(count)]
    for id in ids:
        await call.create("work", id=id, kws={"data": "x" * size}, delay=3600)
    return ids


async def test_a_page_of_large_tasks_ends_early(call: Calls) -> None:
    ids = await make(call, 7)
    found = await pages(call, "tasks.list", sort=["id"], limit=5)
    assert found == [["t0", "t1"], ["t2", "t3"], ["t4", "t5"], ["t6"]]
    page = await call("tasks.list", sort=["-id"], columns=["id", "kws"], limit=5)
    assert ([one["id"] for one in page["data"]], page["count"]) == (["t6", "t5"], 7)
    assert await call("tasks.m_exists", ids=ids) == ids


async def test_a_task_larger_than_that_has_a_page_of_its_own(call: Calls) -> None:
    await make(call, 3, LIMIT + 1)
    assert await pages(call, "tasks.list", sort=["id"]) == [["t0"], ["t1"], ["t2"]]
    assert len((await call.get("t1"))["kws"]["data"]) == LIMIT + 1


async def test_results_count_where_they_are_read(call: Calls, executor: HandExecutor) -> None:
    ids = ["t0", "t1", "t2", "t3"]
    for id in ids:
        await call.create("work", id=id, notify=True)
        await executor.finish(await executor.take(), DATA)
        await call.until(id, "FINISHED")
    assert await pages(call, "tasks.list", sort=["id"]) == [ids]
    with_results = await pages(call, "tasks.list", sort=["id"], columns=["id", "result"])
    assert with_results == [["t0", "t1"], ["t2", "t3"]]
    assert len(await pages(call, "notifications.list")) == 2
    assert [one["id"] for one in await call("tasks.m_get", ids=ids[:2])] == ids[:2]
    with pytest.raises(TooLarge):
        await call("tasks.m_get", ids=ids)
    assert [one["id"] for one in (await call("tasks.list"))["data"]] == ids[::-1]


async def test_the_attempts_of_a_run_are_refused_if_they_are_too_large(
    call: Calls, executor: HandExecutor
) -> None:
    stages = 4
    task = await call.create(*["work"] * stages, id="t")
    assigned = await executor.take()
    for stage in range(stages):
        await executor.finish(assigned, DATA, stage)
    await call.until("t", "FINISHED")
    assert len((await call.get("t"))["result"]) == stages
    with pytest.raises(TooLarge):
        await call("tasks.stages", job_id=task["job_id"])
