"""Runs and attempts as users read them."""

import pytest
from msgspec.structs import replace

from kaiju_tasks.errors import InvalidParams
from tests.manager.hand import Calls, HandExecutor, executors_are_lost_soon, pinging


async def test_runs_are_limited_to_the_newest_the_open_one_included(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="t")
    jobs: list[str] = []
    for _ in range(3):
        task = await executor.take()
        jobs.insert(0, task.job_id)
        if len(jobs) < 3:
            await executor.finish(task)
            await call("tasks.reset", id="t")

    async def listed(limit: int) -> list[str]:
        return [run["job_id"] for run in await call("tasks.runs", id="t", limit=limit)]

    assert [run["job_id"] for run in await call("tasks.runs", id="t")] == jobs
    assert [await listed(limit) for limit in (1, 2, 3, 1000)] == [jobs[:1], jobs[:2], jobs, jobs]
    await executor.finish(task)
    assert await listed(2) == jobs[:2]


@pytest.mark.parametrize("limit", [0, 1001, "5"])
async def test_a_wrong_limit_is_named(call: Calls, limit: object) -> None:
    await call.create("a", id="t", delay=3600)
    with pytest.raises(InvalidParams) as refused:
        await call("tasks.runs", id="t", limit=limit)
    assert refused.value.data["field"] == "limit"


@executors_are_lost_soon
async def test_attempts_tell_executor_times_and_outcome_and_which_were_rescued(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="t", max_retries=1)
    task = await executor.take()
    await executor.cut()
    other = HandExecutor(executor.manager, "other")
    await other.connect()
    async with pinging(other):
        await other.fail(await other.take())
        await other.finish(await other.take(), 1)
    records = await call("tasks.stages", job_id=task.job_id)
    assert [
        (one["attempt"], one["executor_id"], one["outcome"], one["rescued"]) for one in records
    ] == [
        (1, "hand", "LOST", True),
        (2, "other", "FAILED", False),
        (3, "other", "FINISHED", False),
    ]
    for one in records:
        assert one["queued_at"] <= one["started_at"] <= one["ended_at"]
    (run,) = await call("tasks.runs", id="t")
    assert (run["status"], run["retries"], run["executor_id"]) == ("FINISHED", 1, "other")
    assert run["queued_at"] <= run["started_at"] <= run["ended_at"]


async def test_a_list_shows_where_tasks_failed_and_why(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", "b", id="t")
    task = await executor.take()
    await executor.finish(task)
    await executor.fail(replace(task, stage=1), "abort", "the card has expired")
    await call.until("t", "FAILED")
    await call.create("a", id="other", delay=600)
    why = ["error.message", "error.stage", "error.type", "id", "method"]
    for conditions in ({"error.type": "abort"}, {"method": ["b"]}, {"status": "FAILED"}):
        page = await call("tasks.list", conditions=conditions, columns=why, sort=["-error.type"])
        assert page["data"] == [
            {
                "error.message": "the card has expired",
                "error.stage": 1,
                "error.type": "abort",
                "id": "t",
                "method": "b",
            }
        ]
    page = await call("tasks.list", conditions={"id": "other"}, columns=why)
    assert page["data"] == [dict.fromkeys(why[:3]) | {"id": "other", "method": "a"}]


async def test_what_selects_a_task_by_its_error_also_selects_it_in_bulk(
    call: Calls, executor: HandExecutor
) -> None:
    for id in ("a", "b"):
        await call.create("work", id=id)
        await executor.fail(await executor.take(), "abort" if id == "a" else "execution_error")
        await call.until(id, "FAILED")
    chosen = {"error.type": "abort", "method": "work", "every": None}
    done = await call("tasks.m_reset", conditions=chosen)
    assert (done["done"], done["sample"]) == (1, ["a"])


ODD_TYPES = ['a"b', "c\\d", "e\nf\x00", "Ωμέγα", "x" * 300, "a%b_c", "a b", '"']


async def test_any_type_of_an_error_selects_and_sorts_what_shows_it(
    call: Calls, executor: HandExecutor
) -> None:
    for n, kind in enumerate(ODD_TYPES):
        await call.create("work", id=f"t{n}")
        await executor.fail(await executor.take(), kind)
        await call.until(f"t{n}", "FAILED")
    more: dict[str, dict[str, object]] = {
        "tasks.list": {"columns": ["id", "error"]},
        "runs.list": {},
    }
    for method, params in more.items():
        for order in ("error.type", "-error.type"):
            whole = (await call(method, sort=[order], **params))["data"]
            types = [one["error"]["type"] for one in whole]
            assert types == sorted(types, reverse=order.startswith("-"))
            pages: list[object] = []
            cursor: dict[str, object] = {}
            for _ in whole:
                page = await call(method, sort=[order], limit=1, **params, **cursor)
                pages += page["data"]
                cursor = {"cursor": page["cursor"]}
            assert pages == whole
        assert len(set(types)) == len(ODD_TYPES)
        for one in whole:
            found = await call(method, conditions={"error.type": one["error"]["type"]}, **params)
            assert found["data"] == [one]


ODD_METHODS = ['a"b', "c\\d", "Ωμέγα", "x" * 255, "a%b_c", "[0]", ",", "\u2028"]


async def test_any_method_selects_and_sorts_its_tasks(call: Calls, executor: HandExecutor) -> None:
    for n, method in enumerate(ODD_METHODS):
        await call.create({"method": "_TIMER_", "params": {"timer": 0}}, method, "z", id=f"t{n}")
        await executor.fail(await executor.take())
        await call.until(f"t{n}", "FAILED")
    await call.create({"method": "_TIMER_", "params": {"timer": 0}}, id="ended")
    for order in ("method", "-method"):
        whole = (await call("tasks.list", sort=[order], columns=["id", "method"]))["data"]
        methods = [one["method"] for one in whole]
        assert methods == [*sorted(ODD_METHODS, reverse=order.startswith("-")), None]
        pages: list[object] = []
        cursor: dict[str, object] = {}
        for _ in whole:
            page = await call(
                "tasks.list", sort=[order], limit=1, columns=["id", "method"], **cursor
            )
            pages += page["data"]
            cursor = {"cursor": page["cursor"]}
        assert pages == whole
    for n, method in enumerate(ODD_METHODS):
        found = await call("tasks.list", conditions={"method": method, "status": "FAILED"})
        assert [one["id"] for one in found["data"]] == [f"t{n}"]
    assert (await call("tasks.count", conditions={"method": None})) == {"count": 1}
