"""`runs.*`: what ran, over all tasks."""

from typing import Any

import pytest

from kaiju_tasks.api.params import RUN_SORTED
from kaiju_tasks.errors import InvalidParams, NotFound
from tests.manager.hand import Calls, HandExecutor


async def ran(call: Calls, executor: HandExecutor) -> None:
    """One finished and one failed run, and a cancelled one that never began to execute."""
    await call.create("a", id="ok", group="night")
    await executor.finish(await executor.take(), 1)
    await call.create("a", id="bad", group="night")
    await executor.fail(await executor.take(), "abort", "no luck")
    await call.create("a", id="gone", delay=600)
    await call("tasks.cancel", id="gone")


async def test_the_runs_of_all_tasks_are_listed_last_ended_first(
    call: Calls, executor: HandExecutor
) -> None:
    await ran(call, executor)
    page = await call("runs.list")
    assert (page["count"], page["offset"], page["cursor"]) == (3, 0, None)
    assert [run["task_id"] for run in page["data"]] == ["gone", "bad", "ok"]
    bad = page["data"][1]
    assert (bad["status"], bad["app_name"], bad["group"]) == ("FAILED", "default", "night")
    assert (bad["error"]["type"], bad["executor_id"]) == ("abort", "hand")
    for conditions, found in (
        ({"status": "FAILED"}, ["gone", "bad"]),
        ({"status": ["FINISHED", "MISSED"]}, ["ok"]),
        ({"error.type": "abort"}, ["bad"]),
        ({"group": "night", "status": "FINISHED"}, ["ok"]),
        ({"ended_at": {"ge": "2020-01-01"}}, ["gone", "bad", "ok"]),
        ({"ended_at": {"lt": "2020-01-01"}}, []),
    ):
        page = await call("runs.list", conditions=conditions)
        assert [run["task_id"] for run in page["data"]] == found, conditions


async def test_runs_are_paged_by_cursors_in_every_order(
    call: Calls, executor: HandExecutor
) -> None:
    await ran(call, executor)
    for column in (*RUN_SORTED, *(f"-{name}" for name in RUN_SORTED)):
        whole = (await call("runs.list", sort=[column]))["data"]
        found: list[Any] = []
        more: dict[str, Any] = {}
        for _ in whole:
            page = await call("runs.list", sort=[column], limit=1, **more)
            found += page["data"]
            more = {"cursor": page["cursor"]}
        assert found == whole, column
        assert len(found) == 3


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"conditions": {"nope": 1}}, "conditions.nope"),
        ({"conditions": {"status": "IDLE"}}, "conditions.status"),
        ({"sort": ["user_id"]}, "sort.0"),
        ({"cursor": "x"}, "cursor"),
        ({"limit": 0}, "limit"),
    ],
)
async def test_what_is_wrong_is_named(call: Calls, params: Any, field: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("runs.list", **params)
    assert refused.value.field == field


async def test_a_run_is_found_by_its_id_while_it_is_open_and_when_it_has_ended(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="t", group="g")
    task = await executor.take()
    run = await call("runs.get", job_id=task.job_id)
    assert (run["task_id"], run["status"], run["ended_at"]) == ("t", "EXECUTED", None)
    assert (run["app_name"], run["group"]) == ("default", "g")
    await executor.finish(task)
    run = await call("runs.get", job_id=task.job_id)
    assert (run["status"], run["exit_code"]) == ("FINISHED", 0)
    for unknown in ("nope", "missed:t:1.0"):
        with pytest.raises(NotFound):
            await call("runs.get", job_id=unknown)
